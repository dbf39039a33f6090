"""The TCP port of one device: listens, refuses, and counts who is connected."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from simulators.faults import FaultBoard
from simulators.wire import reset


class CannotListen(Exception):
    """The address cannot be opened; ``in_use`` if another program has it."""

    def __init__(self, error: OSError, host: str, port: int) -> None:
        super().__init__(str(error))
        self.in_use = error.errno == errno.EADDRINUSE
        self.reason = error.strerror or str(error)
        self.host = host
        self.port = port


class Client(Protocol):
    """What a listener must know of a connection."""

    def abort(self) -> None:
        """End it at once."""


class Listener:
    """One port, kept for this device from :meth:`reserve` to :meth:`close`.

    While a device refuses connections its port stays bound but does not listen, so the kernel
    answers RST and no other program can take it.

    Attributes:
        host, port: Where it is reached.
        clients: The connections that are open now, oldest first.
        tls: Set before :meth:`open` where connections are encrypted.
    """

    def __init__(self, host: str, port: int, faults: FaultBoard) -> None:
        self.host = host
        self.port = port
        self.clients: dict[Client, None] = {}
        self.tls: ssl.SSLContext | None = None
        self._faults = faults
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None

    def reserve(self) -> None:
        """Take the port.

        Raises:
            CannotListen: it is taken, or the address does not exist here.
        """
        self._reserved = self._bind()
        self.port = self._reserved.getsockname()[1]

    async def open(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Accept connections, each served by a new protocol of ``factory``.

        Raises:
            CannotListen: another program listens there.
        """
        if self._server is not None:
            return
        link = self._bind()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                factory, sock=link, backlog=512, ssl=self.tls
            )
        except OSError as exc:
            link.close()
            raise CannotListen(exc, self.host, self.port) from exc

    def shut(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in list(self.clients):
            client.abort()

    def close(self) -> None:
        """Give the port back."""
        self.shut()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def admit(self, client: Client, transport: asyncio.BaseTransport) -> bool:
        """Count ``client`` if there is a place for it, else end its connection with RST."""
        self._faults.counters.connections += 1
        limit = self._faults.find("max_connections")
        if limit is not None and len(self.clients) >= limit.connections:
            reset(transport)
            return False
        self.clients[client] = None
        self._faults.counters.open_connections = len(self.clients)
        return True

    def trim(self) -> None:
        """End the newest connections where fewer are allowed from now on."""
        limit = self._faults.find("max_connections")
        if limit is not None:
            for client in list(self.clients)[limit.connections :]:
                client.abort()

    def forget(self, client: Client) -> None:
        """Free the place of ``client``."""
        self.clients.pop(client, None)
        self._faults.counters.open_connections = len(self.clients)

    def _bind(self) -> socket.socket:
        link = None
        try:
            found = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            # A name such as localhost has both; clients here mean the older one.
            family, kind, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
            link = socket.socket(family, kind)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            link.bind(address)
        except OSError as exc:
            if link is not None:
                link.close()
            raise CannotListen(exc, self.host, self.port) from exc
        link.setblocking(False)
        return link
