"""The live channel and slow requests, on the real server: gunicorn with one worker."""

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
from simple_websocket import Client, ConnectionClosed

from control_plane.auth.permissions import Actor, Role
from control_plane.console import build_console
from control_plane.settings import load_settings

MAX_LIVE_CLIENTS = 3
THREADS = MAX_LIVE_CLIENTS + 16
PASSWORD = "a long password"
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
# The same server with shorter times.
SERVE = """
import functools
from control_plane import bootstrap, server
from control_plane.live.hub import Hub
from control_plane.live.limits import Pace
from control_plane.settings import load_settings
server.REQUEST_READ_S = 1.5
bootstrap.Hub = functools.partial(Hub, pace=Pace(heartbeat_s=0.5, session_s=0.2))
server.serve(load_settings())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    home: Path
    port: int
    token: str

    def get(self, path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status

    def live(self, **headers: str) -> Client:
        """Connect as soon as there is room."""
        headers = headers or {"Authorization": f"Bearer {self.token}"}
        deadline = time.monotonic() + 10
        # A client that is refused leaves its socket open, so ask without one first.
        while self.get("/ws", **headers) == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url = f"ws://127.0.0.1:{self.port}/ws"
        return Client(url, subprotocols=["daq.v1"], headers=headers)

    def half_sent(self, text: str) -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        peer.sendall(text.encode())
        return peer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    variables = {
        "DAQ_HOME": str(home),
        "DAQ_HTTP_PORT": str(port),
        "DAQ_MAX_LIVE_CLIENTS": str(MAX_LIVE_CLIENTS),
    }
    commands = build_console(load_settings(variables)).account_commands
    commands.add_user(ME, "bob", Role.OPERATOR, PASSWORD)
    running = Running(home=home, port=port, token=commands.create_token(ME, "test", Role.VIEWER))
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE], env=os.environ | variables, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if running.get("/healthz") == 200:
                    break
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=20)


def frame(ws: Client, kind: str) -> dict[str, Any]:
    """Return the next frame of one type, or of one event of the connection."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        text = ws.receive(timeout=10)
        assert text is not None
        found: dict[str, Any] = json.loads(text)
        if kind in (found["type"], found.get("event")):
            return found
    raise AssertionError(kind)


def close_code(ws: Client) -> int:
    try:
        while ws.receive(timeout=10) is not None:
            pass
    except ConnectionClosed as exc:
        return int(exc.reason)
    raise AssertionError("the connection is still open")


def test_requests_that_never_become_live_connections_hold_no_place(server: Running) -> None:
    for _ in range(20 * MAX_LIVE_CLIENTS):
        assert server.get("/ws", Authorization=f"Bearer {server.token}") == 404
    clients = [server.live() for _ in range(MAX_LIVE_CLIENTS)]
    assert server.get("/ws", Authorization=f"Bearer {server.token}") == 503
    for client in clients:
        client.close()
    server.live().close()


def test_frames_that_make_no_sense_get_an_error_each_and_five_end_it(server: Running) -> None:
    ws = server.live()
    bad = [
        {"op": "subscribe", "topic": "?", "id": 7},
        {"op": "subscribe", "topic": {}, "id": "x"},
        {"op": "ping", "id": "x" * 65},
        {"op": "ping", "id": ["x"]},
        {"op": "ping", "id": 10**300},
    ]
    answers = []
    for each in bad:
        ws.send(json.dumps(each))
        answers.append(frame(ws, "error"))
    assert [(a["id"], a["code"]) for a in answers] == [
        (7, "unknown_topic"),
        ("x", "bad_request"),
        (None, "bad_request"),
        (None, "bad_request"),
        (None, "bad_request"),
    ]
    assert close_code(ws) == 4400


def test_one_who_asks_for_snapshot_after_snapshot_is_refused_and_the_connection_stays(
    server: Running,
) -> None:
    ws = server.live()
    for n in range(12):
        ws.send(json.dumps({"op": "subscribe", "topic": "performance", "id": n}))
    for n in range(8):
        assert frame(ws, "ack")["id"] == n
    for n in range(8, 12):
        error = frame(ws, "error")
        assert (error["id"], error["code"]) == (n, "rate_limited")
        assert 0 < error["retry_ms"] <= 1000
    ws.send(json.dumps({"op": "ping", "id": "still here"}))
    assert frame(ws, "pong")["id"] == "still here"
    ws.close()


def test_hello_and_heartbeat_tell_when_the_plant_was_last_seen(server: Running) -> None:
    ws = server.live()
    for event in ("hello", "heartbeat"):
        told = frame(ws, event)
        assert told["observed_at"].endswith("Z")
        assert told["observed_at"] <= told["time"]
    ws.close()


def test_a_connection_whose_session_cannot_be_checked_is_closed_with_1011(
    server: Running,
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        body = json.dumps({"username": "bob", "password": PASSWORD})
        connection.request("POST", "/api/v1/session", body, {"Content-Type": "application/json"})
        cookie = connection.getresponse().headers["Set-Cookie"].split(";")[0]
    assert cookie.startswith(f"daq_session_{server.port}=")
    ws = server.live(Cookie=cookie)
    frame(ws, "hello")
    with contextlib.closing(sqlite3.connect(server.home / "state.db")) as db:
        db.execute("ALTER TABLE sessions RENAME TO away")
        try:
            assert close_code(ws) == 1011
        finally:
            db.execute("ALTER TABLE away RENAME TO sessions")
    deadline = time.monotonic() + 10  # another thread writes the log
    while "live connection failed" not in (server.home / "server.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    clients = [server.live() for _ in range(MAX_LIVE_CLIENTS)]
    for client in clients:
        client.close()


def test_a_peer_that_does_not_answer_the_close_holds_its_place_for_a_moment_only(
    server: Running,
) -> None:
    handshake = (
        f"GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    no_json = b"\x81\x81\0\0\0\0x"  # a text frame, masked with zeros (RFC 6455, 5.2)
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_LIVE_CLIENTS):
            peer = stack.enter_context(server.half_sent(handshake))
            assert peer.recv(12) == b"HTTP/1.1 101"
            peer.sendall(5 * no_json)
        server.live().close()


HEAD = "GET / HTTP/1.1\r\nA: "
BODY = (
    "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: 100\r\n\r\n{"
)


@pytest.mark.parametrize("text", [HEAD, BODY], ids=["head", "body"])
def test_half_sent_requests_on_all_threads_hold_up_the_server_only_for_a_moment(
    server: Running, text: str
) -> None:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(server.half_sent(text)) for _ in range(THREADS)]
        assert server.get("/healthz") == 200
        # Each of them was ended.
        for peer in peers:
            with contextlib.suppress(ConnectionError):
                while peer.recv(1000):
                    pass


def test_a_request_that_comes_byte_by_byte_is_ended(server: Running) -> None:
    with server.half_sent(HEAD) as peer:
        deadline = time.monotonic() + 10
        peer.settimeout(0.1)
        while time.monotonic() < deadline:
            try:
                peer.sendall(b"a")
                if peer.recv(1000) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    raise AssertionError("still open")


def test_silent_live_connections_and_idle_kept_ones_outlast_the_reading_time(
    server: Running,
) -> None:
    ws = server.live()
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(kept):
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        peer = kept.sock
        for _ in range(6):  # 3 s of heartbeats, twice the reading time
            frame(ws, "heartbeat")
        kept.request("GET", "/healthz")
        assert kept.getresponse().status == 200
        assert kept.sock is peer
    ws.send(json.dumps({"op": "ping", "id": 1}))
    assert frame(ws, "pong")["id"] == 1
    ws.close()


def test_a_body_above_the_limit_is_refused(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        body = b" " * (1 << 20) + b"{}"
        connection.request("POST", "/api/v1/session", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 413
