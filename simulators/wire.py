"""How answers leave: at once, or late, in pieces, cut short, twice, or never."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simulators.faults import SPOILING_FAULTS, Counters, Effect

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER, on, 0 s: closing sends RST."""
_MOST_WAITING = 1000
"""Answers held back, beyond which a client is read no further."""

Record = Callable[[tuple[str, ...]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer and its fate.

    Attributes:
        data: The bytes of the answer.
        effects: What happens to it on its way.
        record: Writes down that it was served; called with the faults that spoilt it.
    """

    data: bytes
    effects: tuple[Effect, ...] = ()
    record: Record | None = None

    def served(self) -> None:
        if self.record is not None:
            self.record(tuple(e.kind for e in self.effects if e.kind in SPOILING_FAULTS))


class Wire:
    """The sending side of one connection; answers leave in the order they were put in."""

    def __init__(self, transport: asyncio.Transport, counters: Counters) -> None:
        self._transport = transport
        self._counters = counters
        self._waiting: deque[Reply] = deque()
        self._clean: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, reply: Reply) -> None:
        """Send ``reply`` after those before it; :meth:`flush` once for all that came together."""
        if self._task is None and not reply.effects:
            reply.served()
            self._counters.answers += 1
            self._clean.append(reply.data)
            return
        self.flush()
        self._waiting.append(reply)
        if len(self._waiting) == _MOST_WAITING:
            self._transport.pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_waiting())

    def flush(self) -> None:
        if self._clean:
            self._transport.write(b"".join(self._clean))
            self._clean.clear()

    def close(self) -> None:
        """Send nothing more."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def reset(self) -> None:
        """End the connection with RST."""
        reset(self._transport)

    async def _send_waiting(self) -> None:
        while self._waiting and not self._transport.is_closing():
            await self._send(self._waiting.popleft())
            if len(self._waiting) == _MOST_WAITING // 2:
                self._transport.resume_reading()
        self._task = None

    async def _send(self, reply: Reply) -> None:
        by_kind = {effect.kind: effect for effect in reply.effects}
        if (delay := by_kind.get("delay")) is not None:
            await asyncio.sleep(delay.fault.delay_s + delay.fault.jitter_s * delay.dice.random())
        if "drop" in by_kind or self._transport.is_closing():
            return
        if "reset" in by_kind:
            self.reset()
            return
        if "close_before" in by_kind:
            self._transport.close()
            return
        data = _spoil(reply.data, by_kind.get("garbage"), by_kind.get("truncate"))
        reply.served()
        self._counters.answers += 1
        await self._write(data if "duplicate" not in by_kind else 2 * data, by_kind.get("split"))
        if "close_after" in by_kind:
            self._transport.close()

    async def _write(self, data: bytes, split: Effect | None) -> None:
        if split is None:
            self._transport.write(data)
            return
        size = split.fault.chunk_bytes
        for start in range(0, len(data), size):
            if start:
                await asyncio.sleep(split.fault.pause_s)
            self._transport.write(data[start : start + size])


def reset(transport: asyncio.BaseTransport) -> None:
    """End a connection with RST instead of FIN."""
    link = transport.get_extra_info("socket")
    if link is not None and link.fileno() >= 0:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _spoil(data: bytes, garbage: Effect | None, truncate: Effect | None) -> bytes:
    if garbage is not None:
        data = garbage.dice.randbytes(len(data))
    if truncate is not None:
        data = data[: truncate.dice.randrange(1, len(data))] if len(data) > 1 else b""
    return data
