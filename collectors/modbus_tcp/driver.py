"""Reads one Modbus TCP device."""

import time

from collectors.contract.columns import Columns
from collectors.contract.config_modbus import ModbusDevice
from collectors.contract.points import Quality, Sample, Value
from collectors.modbus_tcp.link import DeviceRefused, ModbusLink
from collectors.modbus_tcp.plan import plan
from collectors.runtime.block_reader import Answer, BlockReader, Refusal
from collectors.runtime.driver import ConnectionLost, OnLost, Traffic, WriteRefused
from collectors.runtime.planner import Block

ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3
"""Some devices answer this, and not 2, where a request is longer than they like."""


class ModbusDriver:
    """The driver of ``modbus_tcp``; see :class:`collectors.runtime.driver.Driver`."""

    def __init__(self, device: ModbusDevice, traffic: Traffic, on_lost: OnLost) -> None:
        self._device = device
        self._traffic = traffic
        self._link = ModbusLink(device.unit_id, device.timeout_s, on_lost)
        self._readers = {
            group: BlockReader(blocks, self._request) for group, blocks in plan(device).items()
        }

    async def connect(self) -> None:
        for reader in self._readers.values():
            reader.merge_again()
        await self._link.open(self._device.host, self._device.port)

    async def read(self, group_id: str) -> Columns:
        return await self._readers[group_id].read()

    async def write(self, point_name: str, value: Value) -> Sample:  # noqa: ARG002 - reads only
        raise WriteRefused("not_supported")

    def adopt(self, device: ModbusDevice) -> bool:
        return device == self._device

    def forget(self) -> None:
        for reader in self._readers.values():
            reader.merge_again()

    async def close(self) -> None:
        self._link.close()

    async def _request(self, block: Block) -> Answer | Refusal:
        sent_ns, started = time.time_ns(), time.monotonic()
        try:
            payload = await self._link.request(block.area, block.start, block.count)
        except DeviceRefused as exc:
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
        quality=Quality.BAD_CONFIG if code == ILLEGAL_ADDRESS else Quality.BAD_DEVICE,
        code=code,
        address_at_fault=code in (ILLEGAL_ADDRESS, ILLEGAL_VALUE),
        source_ns=(sent_ns + received_ns) // 2,
        received_ns=received_ns,
    )


create = ModbusDriver
