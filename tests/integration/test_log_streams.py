"""The topic ``log_streams`` of the live channel, on the real server and over real sockets."""

import contextlib
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from simple_websocket import Client

from control_plane.auth.permissions import Actor, Role
from control_plane.console import build_console
from control_plane.live.messages import FrameCheck
from control_plane.live.topics import TOPICS
from control_plane.log_streams import TOPIC
from control_plane.settings import load_settings

CHECK = FrameCheck({**TOPICS, TOPIC.name: TOPIC})
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    home: Path
    port: int
    token: str

    @property
    def log(self) -> Path:
        return self.home / "log" / "line1.log"

    def write(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def get(self, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found

    @contextlib.contextmanager
    def live(self) -> Iterator["Viewer"]:
        headers = {"Authorization": f"Bearer {self.token}"}
        ws = Client(f"ws://127.0.0.1:{self.port}/ws", subprotocols=["daq.v1"], headers=headers)
        try:
            yield Viewer(ws)
        finally:
            ws.close()


class Viewer:
    """One connection that watches logs."""

    def __init__(self, ws: Client) -> None:
        self._ws = ws
        self.texts: list[str] = []
        self.skipped = 0
        self.raw = ""
        self.newest: dict[str, Any] = {}

    def subscribe(self, wanted: dict[str, object], **more: object) -> dict[str, Any]:
        """Return the answer."""
        request = {"id": 1, "op": "subscribe", "topic": "log_streams", "filter": wanted, **more}
        self._ws.send(json.dumps(request))
        while True:
            message = self._next()
            if message["type"] in ("ack", "error"):
                return message

    def until(self, text: str) -> None:
        """Take messages until a line is seen."""
        while text not in self.texts:
            self._next()

    def until_counted(self, lines: int) -> None:
        """Take messages until so many lines were seen or told as skipped."""
        while len(self.texts) + self.skipped < lines:
            self._next()

    def _next(self) -> dict[str, Any]:
        text = self._ws.receive(timeout=10)
        assert text is not None, "nothing came"
        self.raw += text
        CHECK(text)
        message: dict[str, Any] = json.loads(text)
        if message.get("topic") == "log_streams" and "data" in message:
            self.skipped += message.get("skipped", 0)
            parts = message["data"] if message["kind"] == "snapshot" else [message["data"]]
            for data in parts:
                self.newest = data
                self.skipped += data["skipped"]
                self.texts += [entry["message"] for entry in data["entries"]]
        return message


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    (home / "collectors.d").mkdir()
    (home / "collectors.d" / "line1.toml").write_text('name = "line1"\nprotocol = "x"')
    variables = {"DAQ_HOME": str(home), "DAQ_HTTP_PORT": str(port)}
    commands = build_console(load_settings(variables)).account_commands
    running = Running(home=home, port=port, token=commands.create_token(ME, "test", Role.VIEWER))
    with (home / "server.log").open("wb") as log:
        code = "from control_plane.server import serve\n"
        code += "from control_plane.settings import load_settings\nserve(load_settings())"
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | variables, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if "line1" in str(running.get("/api/v1/processes")):
                    break
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_lines_arrive_as_they_are_written(server: Running) -> None:
    server.write("before")
    with server.live() as viewer:
        assert viewer.subscribe({"name": "line1"}, tail=1)["ok"]
        viewer.until("before")
        server.write('{"event": "pump", "password": "CANARY7secret"}', "INFO: after")
        viewer.until("after")
        assert viewer.texts == ["before", "pump", "after"]
        assert "CANARY7" not in viewer.raw
        place = viewer.newest["entries"][-1]["cursor"]
    around = server.get(f"/api/v1/processes/line1/logs/around?at={place}&context=1")
    assert [entry["message"] for entry in around["entries"]][1] == "after"


def test_filters_are_applied_by_the_server(server: Running) -> None:
    with server.live() as viewer:
        wanted = {"name": ["line1"], "level": "ERROR", "regex": "valve|pump"}
        assert viewer.subscribe(wanted)["ok"]
        viewer.until_counted(0)
        time_limit = time.monotonic() + 10
        while not viewer.texts and time.monotonic() < time_limit:
            server.write("INFO: pump", "ERROR: door", "ERROR: valve 7")
            viewer._next()
        assert set(viewer.texts) == {"valve 7"}
        assert "door" not in viewer.raw


def test_who_watches_is_in_the_audit_trail(server: Running) -> None:
    for _ in range(2):
        with server.live() as viewer:
            assert viewer.subscribe({"name": "line1", "text": "somebody looks"})["ok"]
    rows: list[tuple[str, ...]] = []
    deadline = time.monotonic() + 10
    while not rows and time.monotonic() < deadline:
        with contextlib.closing(sqlite3.connect(server.home / "state.db")) as database:
            rows = database.execute(
                "SELECT actor, target, outcome FROM audit"
                " WHERE action = 'log.watch' AND detail LIKE '%somebody looks%'"
            ).fetchall()
    assert rows == [("token:test", "line1", "done")]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "bad_request"),
        ({"name": []}, "bad_request"),
        ({"name": "line1", "level": "LOUD"}, "bad_request"),
        ({"name": "line1", "regex": "("}, "bad_request"),
        ({"name": "line1", "after": {"line1": "7"}}, "bad_request"),
        ({"name": "line1", "colour": "red"}, "bad_request"),
        ({"name": "nobody"}, "unknown_process"),
        ({"name": "../../etc/passwd"}, "unknown_process"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    server: Running, wanted: dict[str, object], code: str
) -> None:
    with server.live() as viewer:
        assert viewer.subscribe(wanted)["code"] == code


def test_a_viewer_goes_on_where_it_was(server: Running) -> None:
    with server.live() as viewer:
        assert viewer.subscribe({"name": "line1"}, tail=0)["ok"]
        viewer.until_counted(0)
        while not viewer.newest:
            viewer._next()
        place = viewer.newest["cursor"]
    server.write("missed 1")
    server.log.replace(server.log.with_name("line1.log.1"))
    server.write("missed 2")
    with server.live() as viewer:
        assert viewer.subscribe({"name": "line1", "after": {"line1": place}})["ok"]
        viewer.until("missed 2")
        assert viewer.texts == ["missed 1", "missed 2"]


def test_what_is_too_much_for_a_viewer_is_counted(server: Running) -> None:
    with server.live() as viewer:
        assert viewer.subscribe({"name": "line1", "text": "flood"})["ok"]
        while not viewer.newest:
            viewer._next()
        server.write(*(f"flood {number}" for number in range(20_000)))
        viewer.until_counted(20_000)
        assert viewer.skipped > 10_000
        assert len(viewer.texts) + viewer.skipped == 20_000
        assert viewer.texts[-1] == "flood 19999"
