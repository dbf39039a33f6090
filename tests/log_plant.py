"""Programs that write logs under a real supervisord, and a control plane over the same directory.

The control plane is a process of its own, so that it can be killed while supervisord goes on.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simple_websocket import Client, ConnectionClosed

from control_plane.auth.permissions import Actor, Role
from control_plane.console import build_console
from control_plane.settings import load_settings

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
_WRITER = """
import sys, time
count, per_s, begin = int(sys.argv[1]), float(sys.argv[2]), time.monotonic()
number, pad = 0, "x" * int(sys.argv[3])
while number < count:
    due = min(count, int((time.monotonic() - begin) * per_s) + 1)
    now = "%.6f" % time.time()
    sys.stdout.write("".join(f'{{"event": "line {n}", "at": {now}, "pad": "{pad}"}}\\n'
                             for n in range(number, due)))
    sys.stdout.flush()
    number = max(number, due)
    time.sleep(0.01)
time.sleep(3600)
"""
_MAIN = """
[unix_http_server]
file={home}/run/supervisor.sock
[supervisord]
nodaemon=true
silent=true
logfile={home}/log/supervisord.log
pidfile={home}/run/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """
[program:{name}]
command={python} {home}/writer.py {count} {per_s} {pad}
redirect_stderr=true
stdout_logfile={home}/log/{name}.log
stdout_logfile_maxbytes={maxbytes}
stdout_logfile_backups={backups}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A program that writes numbered JSON lines and then sleeps."""

    count: int
    per_s: float
    pad: int = 20
    maxbytes: int = 10 << 20
    backups: int = 5


@dataclass
class LogPlant:
    """Names are those of collectors; what they write is up to their :class:`Writer`."""

    home: Path
    writers: Mapping[str, Writer]
    environment: Mapping[str, str] = field(default_factory=dict)
    """More variables for the control plane."""
    port: int = 0
    token: str = ""
    _supervisord: subprocess.Popen[bytes] | None = None
    _server: subprocess.Popen[bytes] | None = None
    _variables: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write every file; nothing runs yet."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        (self.home / "collectors.d").mkdir(parents=True)
        for name in self.writers:
            text = f'name = "{name}"\nprotocol = "x"\n'
            (self.home / "collectors.d" / f"{name}.toml").write_text(text)
        (self.home / "writer.py").write_text(_WRITER)
        self._variables = {"DAQ_HOME": str(self.home), "DAQ_HTTP_PORT": str(self.port)}
        self._variables |= self.environment
        commands = build_console(load_settings(self._variables)).account_commands
        self.token = commands.create_token(ME, "test", Role.ADMIN)

    def start_supervisord(self) -> None:
        text = _MAIN.format(home=self.home)
        for name, w in self.writers.items():
            facts = {"count": w.count, "per_s": w.per_s, "pad": w.pad}
            facts |= {"maxbytes": w.maxbytes, "backups": w.backups}
            text += _PROGRAM.format(name=name, python=sys.executable, home=self.home, **facts)
        (self.home / "supervisord.conf").write_text(text)
        self._supervisord = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", self.home / "supervisord.conf"],
            stderr=subprocess.DEVNULL,
        )

    def start_server(self) -> None:
        """Start the control plane and wait until it knows the collectors."""
        code = "from control_plane.server import serve\n"
        code += "from control_plane.settings import load_settings\nserve(load_settings())"
        with (self.home / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-c", code],
                env=os.environ | self._variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: set(self.writers) <= set(self._names()))

    def kill_server(self) -> None:
        """Kill the control plane with all its processes, as the kernel does it out of memory."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait(20)
        self._server = None

    def stop(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(20)
        if self._supervisord is not None:
            self._supervisord.terminate()
            self._supervisord.wait(20)

    def pids(self) -> list[int]:
        return [each.pid for each in (self._server, self._supervisord) if each is not None]

    def get(self, path: str) -> Any:
        return json.loads(self.text(path))

    def text(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            return connection.getresponse().read().decode()

    @contextlib.contextmanager
    def watching(self, wanted: dict[str, object], tail: int = 0) -> Iterator["LiveLog"]:
        headers = {"Authorization": f"Bearer {self.token}"}
        ws = Client(f"ws://127.0.0.1:{self.port}/ws", subprotocols=["daq.v1"], headers=headers)
        try:
            yield LiveLog(ws, wanted, tail)
        finally:
            with contextlib.suppress(ConnectionClosed, OSError):
                ws.close()

    def _names(self) -> list[str]:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            found = self.get("/api/v1/processes")
            return [each["name"] for each in found["processes"]]
        return []


class LiveLog:
    """One connection that watches logs."""

    def __init__(self, ws: Client, wanted: dict[str, object], tail: int) -> None:
        self._ws = ws
        self.numbers: list[int] = []
        self.delays_s: list[float] = []
        self.skipped = 0
        self.resets = 0
        self.cursors: dict[str, str] = {}
        request = {"op": "subscribe", "topic": "log_streams", "filter": wanted, "tail": tail}
        ws.send(json.dumps(request))

    def take(self, timeout_s: float = 10.0) -> bool:
        """Take one message; tell whether one came.

        Raises:
            ConnectionClosed.
        """
        text = self._ws.receive(timeout=timeout_s)
        if text is None:
            return False
        now, message = time.time(), json.loads(text)
        if message.get("topic") != "log_streams" or "data" not in message:
            return True
        self.skipped += message.get("skipped", 0)
        for data in message["data"] if message["kind"] == "snapshot" else [message["data"]]:
            self.skipped += data["skipped"]
            self.resets += data["reset"]
            self.cursors[data["process"]] = data["cursor"]
            for entry in data["entries"]:
                self.numbers.append(int(entry["message"].split()[1]))
                self.delays_s.append(now - entry["fields"]["at"])
        return True


def wait_until(is_true: Callable[[], object], deadline_s: float = 30.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
