"""The real server in a process of its own, without supervisord behind it."""

import base64
import datetime
import http.client
import ipaddress
import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
    """``name`` is what requests ask for, ``source`` the address they come from; ``certificate`` is
    set when it speaks TLS."""

    process: subprocess.Popen[bytes]
    port: int
    certificate: Path | None = None
    name: str = "localhost"
    source: str = "127.0.0.1"

    def connect(self) -> socket.socket:
        plain = socket.create_connection(
            ("127.0.0.1", self.port), timeout=10, source_address=(self.source, 0)
        )
        if self.certificate is None:
            return plain
        context = ssl.create_default_context(cafile=str(self.certificate))
        return context.wrap_socket(plain, server_hostname=self.name)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send one request on a connection of its own; the path goes out as it is."""
        connection = http.client.HTTPConnection(self.name, self.port, timeout=20)
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


def make_certificate(directory: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Write a certificate for ``name`` that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(exist_ok=True)
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


def upgrade(served: "Served", cookie: str) -> socket.socket:
    """Open a live connection with a session's cookie; returns after the server's hello."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    head = (
        f"GET /ws HTTP/1.1\r\nHost: {served.name}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: daq.v1\r\nCookie: {cookie}\r\n\r\n"
    )
    connection = served.connect()
    connection.sendall(head.encode())
    received = b""
    while b'"hello"' not in received:
        data = connection.recv(4096)
        assert data, received
        received += data
    assert received.startswith(b"HTTP/1.1 101"), received
    return connection


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
        while not answers(served):
            assert process.poll() is None, (home / "server.out").read_text()
            assert time.monotonic() < deadline, (home / "server.out").read_text()
            time.sleep(0.05)
        yield served
    finally:
        process.terminate()
        process.wait(20)


def answers(served: Served) -> bool:
    """Tell whether it serves yet.

    Asked from an address of its own: from the same one, a connection to a port that nobody listens
    on can meet itself.
    """
    try:
        return replace(served, source="127.0.0.9").ask("GET", "/healthz").status == 200
    except OSError:
        return False
