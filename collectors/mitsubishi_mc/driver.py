"""Reads one Mitsubishi PLC, in a thread of its own because pymcprotocol blocks."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from collectors.contract.config_mc import McDevice
from collectors.contract.points import Quality, Sample, Value
from collectors.mitsubishi_mc.guard import EndCode, FrameError, GuardedType3E
from collectors.mitsubishi_mc.plan import first_number, plan
from collectors.runtime.block_reader import Answer, BlockReader, Refusal
from collectors.runtime.driver import ConnectionLost, OnLost, Traffic, WriteFailed, reason_of
from collectors.runtime.planner import Block

_T = TypeVar("_T")

_ADDRESS_CODES: Final = frozenset({0xC056, 0xC05B, 0x4031})
"""Past the last device, a device that this CPU does not have, outside the configured range."""
_COUNT_CODES: Final = frozenset({0xC051, 0xC052, 0xC053, 0xC054})
"""More points than this CPU allows in one request."""


class _Connection:
    """One socket and the thread that uses it."""

    def __init__(self, device: McDevice) -> None:
        self.plc = GuardedType3E(
            series=device.series,
            network=device.network,
            station=device.station,
            timeout_s=device.timeout_s,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mc-{device.id}")
        self.watched_fd: int | None = None

    async def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run in the thread, and report each kind of broken connection as lost."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, function, *arguments)
        except TimeoutError:
            raise ConnectionLost("no answer in time", Quality.BAD_TIMEOUT) from None
        except OSError as exc:
            raise ConnectionLost(reason_of(exc)) from exc
        except FrameError as exc:
            raise ConnectionLost(f"wrong answer: {exc}") from exc

    def watch(self, on_readable: Callable[[], None]) -> None:
        """Between requests a readable socket means the end of the connection, or nonsense."""
        self.watched_fd = self.plc.fileno()
        asyncio.get_running_loop().add_reader(self.watched_fd, on_readable)

    def unwatch(self) -> None:
        fd, self.watched_fd = self.watched_fd, None
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)

    def close(self) -> None:
        """Make the thread return and end; it closes the socket that it uses."""
        self.unwatch()
        self.plc.abort()
        self._thread.submit(self.plc.close)
        self._thread.shutdown(wait=False)


class McDriver:
    """The driver of ``mitsubishi_mc``; see :class:`collectors.runtime.driver.Driver`."""

    def __init__(self, device: McDevice, traffic: Traffic, on_lost: OnLost) -> None:
        self._device = device
        self._traffic = traffic
        self._on_lost = on_lost
        self._connection: _Connection | None = None
        self._readers = {
            group: BlockReader(blocks, self._request) for group, blocks in plan(device).items()
        }

    async def connect(self) -> None:
        for reader in self._readers.values():
            reader.merge_again()
        connection = self._connection = _Connection(self._device)
        await connection.call(connection.plc.connect, self._device.host, self._device.port)
        connection.watch(self._readable)

    async def read(self, group_id: str) -> list[Sample]:
        connection = self._connection
        if connection is None or connection.watched_fd is None:
            raise ConnectionLost("closed by the device")
        connection.unwatch()
        samples = await self._readers[group_id].read()
        connection.watch(self._readable)
        return samples

    async def write(self, point_name: str, value: Value) -> Sample:  # noqa: ARG002 - reads only
        raise WriteFailed("not_supported")

    def adopt(self, device: McDevice) -> bool:
        return device == self._device

    def forget(self) -> None:
        for reader in self._readers.values():
            reader.merge_again()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _readable(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.unwatch()
            self._on_lost(ConnectionLost("closed by the device"))

    async def _request(self, block: Block) -> Answer | Refusal:
        connection = self._connection
        assert connection is not None
        sent_ns, started = time.time_ns(), time.monotonic()
        try:
            payload = await connection.call(
                connection.plc.read_words, block.area, first_number(block), block.count
            )
        except EndCode as exc:
            self._traffic.failed()
            return _refusal(exc.code, sent_ns)
        except ConnectionLost:
            self._traffic.failed()
            raise
        received_ns = time.time_ns()
        self._traffic.answered(time.monotonic() - started, received_ns)
        return Answer(
            payload=payload, source_ns=(sent_ns + received_ns) // 2, received_ns=received_ns
        )


def _refusal(code: int, sent_ns: int) -> Refusal:
    received_ns = time.time_ns()
    return Refusal(
        quality=Quality.BAD_CONFIG if code in _ADDRESS_CODES else Quality.BAD_DEVICE,
        code=code,
        address_at_fault=code in _ADDRESS_CODES or code in _COUNT_CODES,
        source_ns=(sent_ns + received_ns) // 2,
        received_ns=received_ns,
    )


create = McDriver
