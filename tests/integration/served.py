"""The real server in a process of its own, without supervisord behind it."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_SERVE = """
from control_plane import server, tls
from control_plane.settings import load_settings
tls.HANDSHAKE_S = server.REQUEST_READ_S = 1.0
server.serve(load_settings())
"""
_START_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True, kw_only=True)
class Served:
    """``host`` is what requests name; ``certificate`` is set when it speaks TLS."""

    process: subprocess.Popen[bytes]
    port: int
    certificate: Path | None = None

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        if self.certificate is None:
            return plain
        context = ssl.create_default_context(cafile=str(self.certificate))
        return context.wrap_socket(plain, server_hostname="localhost")

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send one request on a connection of its own; the path goes out as it is."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=20)
        connection.sock = self.connect()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Answer(status=answer.status, headers=answer.headers, body=answer.read())
        finally:
            connection.close()

    def memory_bytes(self) -> int:
        """Return what the server and its worker have in memory."""
        master = psutil.Process(self.process.pid)
        return sum(each.memory_info().rss for each in [master, *master.children()])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(home: Path, certificate: Path | None = None, **environ: str) -> Iterator[Served]:
    """Serve ``home`` for the length of the block."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAQ_")}
    kept |= {"DAQ_HOME": str(home), "DAQ_HTTP_PORT": str(port), **environ}
    with (home / "server.out").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE], env=kept, stdout=output, stderr=output
        )
    served = Served(process=process, port=port, certificate=certificate)
    try:
        deadline = time.monotonic() + _START_DEADLINE_S
        while not _answers(served):
            assert process.poll() is None, (home / "server.out").read_text()
            assert time.monotonic() < deadline, (home / "server.out").read_text()
            time.sleep(0.05)
        yield served
    finally:
        process.terminate()
        process.wait(20)


def _answers(served: Served) -> bool:
    try:
        return served.ask("GET", "/healthz").status == 200
    except OSError:
        return False
