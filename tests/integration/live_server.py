"""The real server, gunicorn with one worker, and raw WebSocket clients for it."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simple_websocket import Client, ConnectionClosed

from control_plane.auth.permissions import Actor, Role
from control_plane.console import build_console
from control_plane.settings import load_settings

PASSWORD = "a long password"
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
# The same server with shorter times; each frame is checked before it is sent.
SERVE = """
import functools, os, threading, time
from control_plane import bootstrap, server
from control_plane.live.hub import Hub
from control_plane.live.frames import Burst
from control_plane.live.limits import Pace
from control_plane.live.messages import FrameCheck
from control_plane.settings import load_settings
server.REQUEST_READ_S = 1.5

class Checked(Hub):
    def start(self):
        Burst.check = FrameCheck(self.topics)
        super().start()
        if "TEST_PUBLISH_PER_S" in os.environ:
            threading.Thread(target=self.make_up, daemon=True).start()

    def make_up(self):
        pause_s = 1 / float(os.environ["TEST_PUBLISH_PER_S"])
        for number in range(1_000_000):
            name = f"made-up-{number % 50} " + "x" * 2000
            self.publish("performance", name, {
                "process_name": name, "timestamp": "2026-01-31T00:00:00Z", "cpu_percent": 1.0,
                "memory_mb": 1.0, "data_points_per_minute": float(number), "error_rate": 0.0,
                "response_time_ms": None,
            })
            time.sleep(pause_s)

bootstrap.Hub = functools.partial(Checked, pace=Pace(heartbeat_s=0.5, session_s=0.2, stuck_s=1.0))
server.serve(load_settings())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    home: Path
    port: int
    token: str
    other_token: str
    pid: int

    def get(self, path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status

    def upgrade(self, **headers: str) -> int:
        """Return the status of a handshake; 101 if it was accepted, and then it is closed."""
        with self.raw(**headers) as peer:
            return int(peer.recv(12).split()[1])

    def sign_in(self, name: str) -> str:
        """Return the cookie of a new session."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            body = json.dumps({"username": name, "password": PASSWORD})
            head = {"Content-Type": "application/json"}
            connection.request("POST", "/api/v1/session", body, head)
            return connection.getresponse().headers["Set-Cookie"].split(";")[0]

    def live(self, **headers: str) -> Client:
        """Connect as soon as there is room."""
        headers = headers or {"Authorization": f"Bearer {self.token}"}
        deadline = time.monotonic() + 10
        # A client that is refused leaves its socket open, so ask without one first.
        while self.upgrade(**headers) == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url = f"ws://127.0.0.1:{self.port}/ws"
        return Client(url, subprotocols=["daq.v1"], headers=headers)

    def raw(self, **headers: str) -> socket.socket:
        """Send a handshake; the answer is for the caller to read."""
        said = {
            "Host": f"127.0.0.1:{self.port}",
            "Authorization": f"Bearer {self.token}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        }
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in said.items() if value)
        return self.half_sent(f"GET /ws HTTP/1.1\r\n{head}\r\n")

    def open(self, **headers: str) -> socket.socket:
        """Return a connection after its handshake, for frames of any make."""
        peer = self.raw(**headers)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += peer.recv(1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return peer

    def half_sent(self, text: str) -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        peer.sendall(text.encode())
        return peer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(home: Path, **variables: str) -> Iterator[Running]:
    """Run a server with these settings; ``bob`` is an operator, the tokens are viewers'."""
    port = free_port()
    variables |= {"DAQ_HOME": str(home), "DAQ_HTTP_PORT": str(port)}
    commands = build_console(load_settings(variables)).account_commands
    commands.add_user(ME, "bob", Role.OPERATOR, PASSWORD)
    token, other = (commands.create_token(ME, name, Role.VIEWER) for name in ("test", "other"))
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE], env=os.environ | variables, stdout=log, stderr=log
        )
    running = Running(home=home, port=port, token=token, other_token=other, pid=process.pid)
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
    log_text = (home / "server.log").read_text()
    for fault in ("validation error", "no message is described", "failed in a turn"):
        assert fault not in log_text, log_text[-5000:]


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
