"""Reads and writes one Modbus device."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from collectors.contract.columns import Columns
from collectors.contract.config_modbus import ModbusDevice, ModbusPoint
from collectors.contract.points import Quality, Sample, Value
from collectors.modbus_tcp.codec import (
    DoesNotFit,
    decoder,
    encode,
    half_mask,
    half_of,
    is_half,
)
from collectors.modbus_tcp.gateway import gateway_for, gateway_key
from collectors.modbus_tcp.link import DeviceRefused, ModbusLink, Unit
from collectors.modbus_tcp.plan import plan
from collectors.runtime.block_reader import Answer, BlockReader, Refusal
from collectors.runtime.driver import (
    ConnectionLost,
    NoAnswer,
    OnLost,
    Traffic,
    WriteFailed,
    WriteRefused,
)
from collectors.runtime.planner import Block
from collectors.runtime.values import reading

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
"""Some devices answer this, and not 2, where a request is longer than they like."""
UNIT_SILENT: Final = 0x0B
"""Gateway target device failed to respond: Modbus Application Protocol V1.1b3, 7."""

_ALL_BITS: Final = 0xFFFF
_T = TypeVar("_T")


class ModbusDriver:
    """The driver of ``modbus_tcp``; see :class:`collectors.runtime.driver.Driver`."""

    def __init__(self, device: ModbusDevice, traffic: Traffic, on_lost: OnLost) -> None:
        self._id = device.id
        self._settings = _settings_of(device)
        self._timeout_s = device.timeout_s
        self._lone_unit = Unit(
            unit_id=device.unit_id,
            timeout_s=device.timeout_s,
            accept_any=device.accept_any_unit,
        )
        self._shared_unit = replace(self._lone_unit, keep_link=True)
        self._gateway = gateway_for(device)
        self._gateway.note(device.id)
        self._traffic = traffic
        self._on_lost = on_lost
        self._was_silent = False
        self._sent_ns = 0
        """When the newest request went out; while others had their turn, nothing was sent."""
        self._set_points(device)

    async def connect(self) -> None:
        self.forget()
        await self._gateway.connect(self._id, self._timeout_s, self._on_lost)

    async def read(self, group_id: str) -> Columns:
        return await self._readers[group_id].read()

    async def write(self, point_name: str, value: Value) -> Sample:
        point = self._writable[point_name]
        try:
            encoded = encode(point, value)
        except DoesNotFit as exc:
            raise WriteRefused(exc.code) from None
        try:
            await self._send(point, encoded)
            sample, is_same = await self._read_back(point, encoded)
        except DeviceRefused as exc:
            raise WriteFailed("device_refused", exc.code) from None
        if not is_same:
            raise WriteFailed("read_back_differs", read_back=sample)
        return sample

    def adopt(self, device: ModbusDevice) -> bool:
        if _settings_of(device) != self._settings:
            return False
        self._set_points(device)
        return True

    def forget(self) -> None:
        for reader in self._readers.values():
            reader.merge_again()

    async def close(self) -> None:
        self._gateway.leave(self._id)

    def _set_points(self, device: ModbusDevice) -> None:
        def replan(group: str) -> tuple[Block, ...]:
            return plan(device)[group]

        self._readers = {
            group: BlockReader(blocks, self._request, replan=partial(replan, group))
            for group, blocks in plan(device).items()
        }
        self._writable = {point.name: point for point in device.points if point.writable}

    async def _request(self, block: Block) -> Answer | Refusal:
        try:
            payload = await self._use(
                lambda link: link.read(self._unit, block.area, block.start, block.count)
            )
        except DeviceRefused as exc:
            return _refusal(exc.code, self._sent_ns)
        received_ns = time.time_ns()
        return Answer(
            payload=payload, source_ns=(self._sent_ns + received_ns) // 2, received_ns=received_ns
        )

    @property
    def _unit(self) -> Unit:
        return self._shared_unit if self._gateway.is_shared else self._lone_unit

    async def _use(self, call: Callable[[ModbusLink], Awaitable[_T]]) -> _T:
        """Make one request when it is this unit's turn, and count what becomes of it."""

        async def timed(link: ModbusLink) -> _T:
            self._sent_ns, started = time.time_ns(), time.monotonic()
            answer = await call(link)
            self._traffic.answered(time.monotonic() - started, time.time_ns())
            return answer

        try:
            answer = await self._gateway.use(self._timeout_s, timed, is_suspect=self._was_silent)
        except DeviceRefused as exc:
            self._traffic.failed()
            self._was_silent = exc.code == UNIT_SILENT
            if self._was_silent and self._gateway.is_shared:
                raise NoAnswer(exc.code) from None
            raise
        except ConnectionLost as exc:
            self._traffic.failed()
            self._was_silent = self._was_silent or isinstance(exc, NoAnswer)
            raise
        self._was_silent = False
        return answer

    async def _send(self, point: ModbusPoint, encoded: bool | bytes) -> None:
        start, bit = point.place.offset, point.place.bit
        if isinstance(encoded, bytes):
            if is_half(point):
                await self._send_mask(start, *half_mask(point, encoded))
            else:
                await self._send_words(start, encoded)
        elif bit is None:
            await self._send_coil(start, encoded)
        else:
            await self._send_mask(start, _ALL_BITS ^ 1 << bit, 1 << bit if encoded else 0)

    async def _send_mask(self, start: int, keep: int, set_bits: int) -> None:
        await self._use(lambda link: link.write_mask(self._unit, start, keep, set_bits))

    async def _send_words(self, start: int, encoded: bytes) -> None:
        words = [int.from_bytes(encoded[i : i + 2], "big") for i in range(0, len(encoded), 2)]
        if len(words) == 1:
            try:
                await self._use(
                    lambda link: link.write_words(self._unit, start, words, single=True)
                )
                return
            except DeviceRefused as exc:
                if exc.code != ILLEGAL_FUNCTION:
                    raise
        await self._use(lambda link: link.write_words(self._unit, start, words, single=False))

    async def _send_coil(self, start: int, state: bool) -> None:
        try:
            await self._use(lambda link: link.write_bits(self._unit, start, [state], single=True))
        except DeviceRefused as exc:
            if exc.code != ILLEGAL_FUNCTION:
                raise
            await self._use(lambda link: link.write_bits(self._unit, start, [state], single=False))

    async def _read_back(self, point: ModbusPoint, encoded: bool | bytes) -> tuple[Sample, bool]:
        """Return what the device gives back, and whether it is what was written."""
        place, count = point.place, 1 if point.place.is_bit_table else point.words
        payload = await self._use(
            lambda link: link.read(self._unit, place.table, place.offset, count)
        )
        received_ns = time.time_ns()
        value = decoder(point)(payload, 0)
        at = ((self._sent_ns + received_ns) // 2, received_ns)
        if isinstance(encoded, bool):
            is_same = value is encoded
        else:
            is_same = encoded == (half_of(point, payload) if is_half(point) else payload)
        return reading(f"{self._id}/{point.name}", value, *at), is_same


def _refusal(code: int, sent_ns: int) -> Refusal:
    received_ns = time.time_ns()
    return Refusal(
        quality=Quality.BAD_CONFIG if code == ILLEGAL_ADDRESS else Quality.BAD_DEVICE,
        code=code,
        address_at_fault=code in (ILLEGAL_ADDRESS, ILLEGAL_VALUE),
        source_ns=(sent_ns + received_ns) // 2,
        received_ns=received_ns,
    )


def _settings_of(device: ModbusDevice) -> tuple[object, ...]:
    """Return what cannot change on an open connection."""
    return (gateway_key(device), device.timeout_s, device.unit_id, device.accept_any_unit)


create = ModbusDriver
