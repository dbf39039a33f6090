"""A device that speaks framed requests and answers over TCP, served in the order they arrive."""

import asyncio
import logging
from typing import Protocol

from simulators.faults import Fault, FaultBoard
from simulators.listener import Listener
from simulators.waveforms import Value
from simulators.wire import Reply, Wire

logger = logging.getLogger(__name__)


class BadFrame(Exception):
    """The bytes cannot be a frame of this protocol; the connection is closed."""


class FrameProtocol(Protocol):
    """A request-and-answer protocol."""

    faults: FaultBoard

    def take_frame(self, received: bytearray) -> bytes | None:
        """Remove the first complete frame; ``None`` if more bytes are needed.

        Raises:
            BadFrame: no frame can start like this.
        """

    def answer(self, frame: bytes) -> Reply | None:
        """Return the answer to ``frame``; ``None`` for silence."""

    def hold(self, signal: str, value: Value | None, unit: int | None) -> None:
        """Let ``signal`` hold ``value``; ``None``: follow its wave again.

        Raises:
            NoSuchSignal: there is none.
        """


class _Connection(asyncio.Protocol):
    """One client. Cuts what arrives into frames, however TCP split or joined them."""

    def __init__(self, device: FrameProtocol, listener: Listener) -> None:
        self._device = device
        self._listener = listener
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._wire: Wire | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._listener.admit(self, transport):
            return
        self._transport = transport
        self._wire = Wire(transport, self._device.faults.counters)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._listener.forget(self)
        if self._wire is not None:
            self._wire.close()
        self._transport = self._wire = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        transport, wire = self._transport, self._wire
        if transport is None or wire is None or transport.is_closing():
            return
        self._received += data
        try:
            while (frame := self._device.take_frame(self._received)) is not None:
                reply = self._device.answer(frame)
                if reply is not None:
                    wire.put(reply)
        except BadFrame as exc:
            logger.warning("closed a connection after a bad frame", extra={"reason": str(exc)})
            wire.flush()
            transport.close()
            return
        wire.flush()

    def pause_writing(self) -> None:
        """Answer no more while the client does not read, so that it cannot fill our memory."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()


class TcpDevice:
    """A framed protocol behind a listener; ``refuse`` takes the listener away.

    Attributes:
        id: Of the device in the simulator's file.
        faults: Its faults and counters.
    """

    def __init__(self, device_id: str, protocol: FrameProtocol, listener: Listener) -> None:
        self.id = device_id
        self.listener = listener
        self.faults = protocol.faults
        self._protocol = protocol
        self._tasks: asyncio.TaskGroup | None = None
        self._opening: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Listen.

        Raises:
            CannotListen: another program listens there.
        """
        await self.listener.open(self._connection)
        self._tasks = tasks
        self.faults.changed = self._fault_changed

    async def stop(self) -> None:
        self.faults.changed = lambda _fault: None
        self.faults.close()
        self.listener.close()

    async def settled(self) -> None:
        """See :meth:`simulators.device.Device.settled`."""
        if self._opening is not None:
            await asyncio.wait([self._opening])

    async def hold(self, signal: str, value: Value | None, unit: int | None) -> None:
        """See :meth:`FrameProtocol.hold`."""
        self._protocol.hold(signal, value, unit)

    def _connection(self) -> asyncio.Protocol:
        return _Connection(self._protocol, self.listener)

    def _fault_changed(self, fault: Fault) -> None:
        self.listener.trim()
        if fault.fault != "refuse":
            return
        if self.faults.find("refuse") is not None:
            self.listener.shut()
        elif self._tasks is not None:
            self._opening = self._tasks.create_task(self._listen_again())

    async def _listen_again(self) -> None:
        await self.listener.open(self._connection)
        if self.faults.find("refuse") is not None:
            self.listener.shut()
