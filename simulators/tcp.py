"""A TCP server for protocols of framed requests and answers, served in the order they arrive."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

logger = logging.getLogger(__name__)


class BadFrame(Exception):
    """The bytes cannot be a frame of this protocol; the connection is closed."""


class CannotListen(Exception):
    """The address cannot be opened; ``in_use`` if another program has it."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.in_use = error.errno == errno.EADDRINUSE
        self.reason = error.strerror or str(error)


class FrameProtocol(Protocol):
    """A request-and-answer protocol."""

    def take_frame(self, received: bytearray) -> bytes | None:
        """Remove the first complete frame; ``None`` if more bytes are needed.

        Raises:
            BadFrame: no frame can start like this.
        """

    def answer(self, frame: bytes) -> bytes:
        """Return the answer to ``frame``; empty for silence."""


class _Connection(asyncio.Protocol):
    """One client. Cuts what arrives into frames, however TCP split or joined them."""

    def __init__(self, device: FrameProtocol, connections: "set[_Connection]") -> None:
        self._device = device
        self._connections = connections
        self._received = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self._received += data
        answers = bytearray()
        try:
            while (frame := self._device.take_frame(self._received)) is not None:
                answers += self._device.answer(frame)
        except BadFrame as exc:
            logger.warning("closed a connection after a bad frame", extra={"reason": str(exc)})
            transport.write(answers)
            transport.close()
            return
        if answers:
            transport.write(answers)

    def pause_writing(self) -> None:
        """Answer no more while the client does not read, so that it cannot fill our memory."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.transport is not None:
            self.transport.resume_reading()


@asynccontextmanager
async def listening(device: FrameProtocol, host: str, port: int) -> AsyncIterator[int]:
    """Serve ``device`` inside the ``with`` block; yields the port.

    Raises:
        CannotListen: the address is taken or does not exist here.
    """
    connections: set[_Connection] = set()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: _Connection(device, connections), host, port)
    except OSError as exc:
        raise CannotListen(exc) from exc
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(connections):
            if connection.transport is not None:
                connection.transport.abort()
