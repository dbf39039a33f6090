"""Ways to a supervisord: a unix socket on this machine, TCP with a password to another one."""

import base64
import http.client
import socket
import ssl
import xmlrpc.client
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

AGENT_PREFIX = "daqplane/"
"""Begins the user agent of our own calls; what follows names the installation."""


class Address(Protocol):
    """Where a supervisord listens."""

    @property
    def label(self) -> str:
        """What people see; holds no credentials."""

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""

    def connect(self, timeout_s: float) -> http.client.HTTPConnection:
        """Return a connection that opens at its first request."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The socket of a supervisord on this machine; the kernel tells it who we are."""

    path: Path

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def headers(self) -> dict[str, str]:
        return {}

    def connect(self, timeout_s: float) -> http.client.HTTPConnection:
        return _UnixConnection(self.path, timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """supervisord's inet_http_server, or a TLS proxy in front of it.

    Attributes:
        agent: Names this installation, so that it recognizes its own calls among others'.
    """

    host: str
    port: int
    tls: bool
    username: str
    password: str = field(repr=False)
    agent: str

    @property
    def label(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        credentials = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {credentials}", "User-Agent": AGENT_PREFIX + self.agent}

    def connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self.tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=timeout_s, context=context
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class SupervisorTransport(xmlrpc.client.Transport):
    """One keep-alive connection; :meth:`close` makes the next request open another one."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        super().__init__()
        self._address = address
        self._timeout_s = timeout_s
        self._own_headers = address.headers
        self.may_resend = False

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Send once; the base class sends again when a kept connection turns out to be closed."""
        if self.may_resend:
            return super().request(*args, **kwargs)
        return self.single_request(*args, **kwargs)

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._connection is None or self._connection[0] != host:
            self._connection = host, self._address.connect(self._timeout_s)
        return self._connection[1]  # type: ignore[return-value]

    def send_headers(self, connection: http.client.HTTPConnection, headers: Any) -> None:
        """Add ours; the base class's own user agent gives way."""
        kept = [(key, value) for key, value in headers if key not in self._own_headers]
        super().send_headers(connection, [*kept, *self._own_headers.items()])
