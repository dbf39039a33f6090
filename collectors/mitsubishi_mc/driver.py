"""Reads and writes one Mitsubishi PLC."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from collectors.contract.columns import Columns
from collectors.contract.config_mc import McDevice
from collectors.contract.points import Sample, Value
from collectors.mitsubishi_mc.codec import DoesNotFit, WrongType, decoder, encode
from collectors.mitsubishi_mc.connection import Connection, OtherSeries
from collectors.mitsubishi_mc.end_codes import COMMAND_UNKNOWN, may_split, quality_of
from collectors.mitsubishi_mc.frames import EndCode
from collectors.mitsubishi_mc.plan import RANDOM, first_device, plan, random_devices
from collectors.mitsubishi_mc.writing import read_point, write_point
from collectors.runtime.block_reader import Answer, BlockReader, Refusal
from collectors.runtime.driver import ConnectionLost, OnLost, Traffic, WriteFailed, WriteRefused
from collectors.runtime.planner import Block
from collectors.runtime.values import reading


class McDriver:
    """The driver of ``mitsubishi_mc``; see :class:`collectors.runtime.driver.Driver`."""

    def __init__(self, device: McDevice, traffic: Traffic, on_lost: OnLost) -> None:
        self._device = device
        self._traffic = traffic
        self._on_lost = on_lost
        self._connection: Connection | None = None
        self._closed_mono = 0.0
        self._knows_random = True
        self._checks_series = device.check_series and _has_inputs(device)
        self._never_told_model = False
        """The question was not answered the last time."""
        self._readers = self._make_readers()

    async def connect(self) -> None:
        self.forget()
        # An FX5 that has just seen the end of a connection refuses the next one.
        await asyncio.sleep(self._closed_mono + self._device.settle_s - time.monotonic())
        connection = self._connection = Connection(self._device)
        await connection.connect()
        if self._checks_series:
            await self._check_series(connection)
        connection.watch(self._readable)

    async def _check_series(self, connection: Connection) -> None:
        if self._never_told_model:
            await connection.prove_alive()
        try:
            await connection.check_series()
        except OtherSeries:
            raise
        except ConnectionLost:
            # Whoever answers others and not this question is not asked again. A single loss proves
            # nothing: inputs of another number would be read as good for ever after.
            self._checks_series = not self._never_told_model
            self._never_told_model = True
            raise
        self._never_told_model = False

    async def read(self, group_id: str) -> Columns:
        with self._in_flight():
            knew_random = self._knows_random
            columns = await self._readers[group_id].read()
            if knew_random and not self._knows_random:
                self._readers = self._make_readers()
                # A reload may have taken the group away meanwhile.
                if group_id in self._readers:
                    columns = await self._readers[group_id].read()
            return columns

    async def write(self, point_name: str, value: Value) -> Sample:
        point = next(point for point in self._device.points if point.name == point_name)
        address = self._device.address_of(point)
        try:
            content = encode(point, value)
        except DoesNotFit as exc:
            code = "wrong_type" if isinstance(exc, WrongType) else "does_not_fit"
            raise WriteRefused(code) from exc
        with self._in_flight() as connection:
            plc = connection.plc
            try:
                await self._ask(write_point, plc, address, content)
                answer = await self._ask(read_point, plc, address, point.words)
            except EndCode as exc:
                raise WriteFailed("device_refused", exc.code) from None
        got = decoder(point, address)(answer.payload, 0)
        name = f"{self._device.id}/{point.name}"
        sample = reading(name, got, answer.source_ns, answer.received_ns)
        holds = got == bool(content[0]) if point.type == "bool" else answer.payload == content
        if not holds:
            raise WriteFailed("read_back_differs", read_back=sample)
        return sample

    def adopt(self, device: McDevice) -> bool:
        if _connection_of(device) != _connection_of(self._device):
            return False
        if _has_inputs(device) and not _has_inputs(self._device):
            return False
        self._device = device
        self._readers = self._make_readers()
        return True

    def forget(self) -> None:
        if not self._knows_random:
            self._knows_random = True
            self._readers = self._make_readers()
        for reader in self._readers.values():
            reader.merge_again()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self._closed_mono = time.monotonic()

    def _make_readers(self) -> dict[str, BlockReader]:
        blocks = plan(self._device, with_random=self._knows_random)
        return {group: BlockReader(blocks[group], self._request) for group in blocks}

    @contextmanager
    def _in_flight(self) -> Iterator[Connection]:
        """Leave the socket to the thread, and watch it again when no answer is due any more."""
        connection = self._connection
        if connection is None or not connection.is_watched:
            raise ConnectionLost("closed by the device")
        connection.unwatch()
        try:
            yield connection
        except WriteFailed:
            connection.watch(self._readable)
            raise
        connection.watch(self._readable)

    def _readable(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.unwatch()
            self._on_lost(ConnectionLost(connection.plc.closed_reason))

    async def _request(self, block: Block) -> Answer | Refusal:
        connection = self._connection
        assert connection is not None
        plc = connection.plc
        sent_ns = time.time_ns()
        try:
            if block.area == RANDOM:
                return await self._ask(plc.read_random, *random_devices(block))
            return await self._ask(plc.read_words, first_device(block), block.count)
        except EndCode as exc:
            if block.area == RANDOM and exc.code == COMMAND_UNKNOWN:
                self._knows_random = False
            return _refusal(exc.code, sent_ns)

    async def _ask(self, function: Callable[..., bytes | None], *arguments: object) -> Answer:
        """Count and time one request.

        Raises:
            EndCode: the PLC refused it.
            ConnectionLost: see :meth:`Connection.call`.
        """
        connection = self._connection
        assert connection is not None
        await connection.pause()
        sent_ns, started = time.time_ns(), time.monotonic()
        try:
            payload = await connection.call(function, *arguments)
        except (EndCode, ConnectionLost):
            self._traffic.failed()
            raise
        received_ns = time.time_ns()
        self._traffic.answered(time.monotonic() - started, received_ns)
        return Answer(
            payload=payload or b"",
            source_ns=(sent_ns + received_ns) // 2,
            received_ns=received_ns,
        )


def _connection_of(device: McDevice) -> McDevice:
    """Return what decides on the connection."""
    return replace(device, groups=(), points=())


def _has_inputs(device: McDevice) -> bool:
    return any(device.address_of(point).device in ("X", "Y") for point in device.points)


def _refusal(code: int, sent_ns: int) -> Refusal:
    received_ns = time.time_ns()
    return Refusal(
        quality=quality_of(code),
        code=code,
        address_at_fault=may_split(code),
        source_ns=(sent_ns + received_ns) // 2,
        received_ns=received_ns,
    )


create = McDriver
