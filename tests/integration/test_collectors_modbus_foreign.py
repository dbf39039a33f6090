"""The driver reads, writes and survives Modbus servers that somebody else wrote."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from pyModbusTCP.server import DataBank, ModbusServer

from collectors.contract.config import parse_collector
from collectors.contract.points import Quality, Sample
from collectors.modbus_tcp.driver import ModbusDriver
from collectors.runtime.driver import Traffic

POINTS = [
    {"name": "flow", "address": "holding:10", "type": "float32", "order": "CDAB"},
    {"name": "total", "address": "holding:20", "type": "uint64"},
    {"name": "set", "address": "holding:40", "type": "int16", "writable": True},
    {"name": "bit", "address": "holding:41.3", "type": "bool"},
    {"name": "input", "address": "input:5", "type": "int16"},
    {"name": "coil", "address": "coil:9", "type": "bool", "writable": True},
    {"name": "door", "address": "discrete:17", "type": "bool"},
]
HOLDING = {
    10: list(struct.unpack(">2H", struct.pack(">f", 2.5)))[::-1],
    20: list(struct.unpack(">4H", struct.pack(">Q", 0x0102030405060708))),
    40: [7, 0b1000],
}
VALUES = {
    "flow": 2.5, "total": 0x0102030405060708, "set": 7, "bit": True, "input": -4, "coil": True,
    "door": True,
}  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def py_modbus_tcp(framing: str) -> Iterator[int]:
    assert framing == "tcp"
    bank = DataBank()
    for start, words in HOLDING.items():
        bank.set_holding_registers(start, words)
    bank.set_input_registers(5, [-4 & 0xFFFF])
    bank.set_coils(9, [True])
    bank.set_discrete_inputs(17, [True])
    server = ModbusServer(host="127.0.0.1", port=free_port(), no_block=True, data_bank=bank)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


@contextmanager
def py_modbus(framing: str) -> Iterator[int]:
    port = free_port()
    words = [0] * 64
    for start, content in HOLDING.items():
        words[start : start + len(content)] = content
    device = SimDevice(
        1,
        simdata=(
            [SimData(0, values=[n == 9 for n in range(32)], datatype=DataType.BITS)],
            [SimData(0, values=[n == 17 for n in range(32)], datatype=DataType.BITS)],
            [SimData(0, values=words, datatype=DataType.REGISTERS)],
            [SimData(0, values=[0, 0, 0, 0, 0, 0xFFFC], datatype=DataType.REGISTERS)],
        ),
    )
    framer = FramerType.RTU if framing == "rtu_over_tcp" else FramerType.SOCKET
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="pymodbus server")
    thread.start()

    async def start() -> ModbusTcpServer:
        server = ModbusTcpServer(device, framer=framer, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def with_driver(
    port: int, framing: str, session: Callable[[ModbusDriver], Awaitable[None]]
) -> None:
    device: dict[str, Any] = {"id": "plc", "host": "127.0.0.1", "port": port, "points": POINTS}
    device |= {"framing": framing, "timeout_s": 5.0}
    config = parse_collector(
        {"name": "c", "protocol": "modbus_tcp", "devices": [device]}, file="c.toml"
    )

    async def run() -> None:
        driver = ModbusDriver(config.devices[0], Traffic(), lambda _lost: None)  # type: ignore[arg-type] # of Modbus
        await driver.connect()
        try:
            await session(driver)
        finally:
            await driver.close()

    asyncio.run(run())


async def read(driver: ModbusDriver) -> dict[str, Sample]:
    return {s.point.removeprefix("plc/"): s for s in (await driver.read("default")).samples()}


SERVERS = [(py_modbus_tcp, "tcp"), (py_modbus, "tcp"), (py_modbus, "rtu_over_tcp")]


@pytest.mark.parametrize(("serve", "framing"), SERVERS)
def test_every_table_of_a_foreign_server_is_read_and_written(serve: Any, framing: str) -> None:
    async def session(driver: ModbusDriver) -> None:
        got = await read(driver)
        assert {name: sample.value for name, sample in got.items()} == VALUES
        assert {sample.quality for sample in got.values()} == {Quality.GOOD}
        assert (await driver.write("set", -123)).value == -123
        assert (await driver.write("coil", False)).value is False
        again = await read(driver)
        assert (again["set"].value, again["coil"].value) == (-123, False)
        assert again["flow"].value == 2.5

    with serve(framing) as port:
        with_driver(port, framing, session)
