"""Units behind one gateway: fair turns, one connection, and a silent one that delays nobody."""

import asyncio
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from collectors.contract.config_modbus import ModbusDevice, ModbusPoint
from collectors.contract.points import Quality
from collectors.modbus_tcp.driver import ModbusDriver
from collectors.runtime.driver import ConnectionLost, NoAnswer, Traffic


@dataclass
class SerialGateway:
    """Answers units one after the other, but not the silent ones."""

    silent: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)
    most_connections: int = 100
    port: int = 0
    open: int = 0
    connections: int = 0
    asked: Counter[int] = field(default_factory=Counter)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        if self.open >= self.most_connections:
            writer.close()
            return
        self.open, self.connections = self.open + 1, self.connections + 1
        try:
            while True:
                head = await reader.readexactly(12)
                transaction, _, _, unit = struct.unpack(">HHHB", head[:7])
                self.asked[unit] += 1
                await asyncio.sleep(0.002)
                if unit in self.silent:
                    continue
                pdu = b"\x83\x0b" if unit in self.absent else b"\x03\x02\x00" + bytes((unit,))
                writer.write(struct.pack(">HHHB", transaction, 0, 1 + len(pdu), unit) + pdu)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.open -= 1
            writer.close()


@asynccontextmanager
async def gateway(**settings: Any) -> AsyncIterator[SerialGateway]:
    peer = SerialGateway(**settings)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for writer in peer.writers:
            writer.close()


def driver_of(peer: SerialGateway, unit: int, **settings: Any) -> ModbusDriver:
    device = ModbusDevice(
        id=f"u{unit}",
        host="127.0.0.1",
        port=peer.port,
        unit_id=unit,
        timeout_s=0.2,
        points=(ModbusPoint(name="p", address="holding:0"),),
        **settings,
    )
    return ModbusDriver(device, Traffic(), lambda _: None)


async def value(driver: ModbusDriver) -> object:
    return (await driver.read("default")).values[0]


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_all_units_share_one_connection_and_get_their_own_values() -> None:
    async def scenario() -> None:
        async with gateway(most_connections=1) as peer:
            drivers = [driver_of(peer, unit) for unit in range(1, 11)]
            await asyncio.gather(*(driver.connect() for driver in drivers))
            for _ in range(3):
                values = await asyncio.gather(*(value(driver) for driver in drivers))
                assert values == list(range(1, 11))
            assert peer.connections == 1
            for driver in drivers[:-1]:
                await driver.close()
            assert await value(drivers[-1]) == 10
            await drivers[-1].close()
            while peer.open:
                await asyncio.sleep(0.001)

    run(scenario)


def test_turns_are_fair() -> None:
    async def scenario() -> None:
        async with gateway() as peer:
            drivers = [driver_of(peer, unit) for unit in (1, 2, 3)]
            await asyncio.gather(*(driver.connect() for driver in drivers))

            async def greedy(driver: ModbusDriver) -> None:
                while True:
                    await driver.read("default")

            tasks = [asyncio.create_task(greedy(driver)) for driver in drivers]
            while sum(peer.asked.values()) < 60:
                await asyncio.sleep(0.001)
            for task in tasks:
                task.cancel()
            assert max(peer.asked.values()) - min(peer.asked.values()) <= 1
            await asyncio.gather(*(driver.close() for driver in drivers))

    run(scenario)


def test_waiting_for_a_silent_unit_delays_only_the_first_time() -> None:
    async def scenario() -> None:
        async with gateway(silent={2}) as peer:
            healthy, dead = driver_of(peer, 1), driver_of(peer, 2)
            await asyncio.gather(healthy.connect(), dead.connect())
            with pytest.raises(NoAnswer):
                await dead.read("default")
            probe = asyncio.create_task(dead.read("default"))
            await asyncio.sleep(0.02)
            started = time.monotonic()
            assert await value(healthy) == 1
            assert time.monotonic() - started < 0.1
            with pytest.raises(NoAnswer):
                await probe
            assert peer.connections <= 2
            for _ in range(4):
                with pytest.raises(NoAnswer):
                    await dead.read("default")
            assert await value(healthy) == 1
            peer.silent.clear()
            assert await value(dead) == 2
            await asyncio.gather(healthy.close(), dead.close())

    run(scenario)


def test_a_gateway_that_takes_one_connection_still_serves_the_others() -> None:
    async def scenario() -> None:
        async with gateway(silent={2}, most_connections=1) as peer:
            healthy, dead = driver_of(peer, 1), driver_of(peer, 2)
            await asyncio.gather(healthy.connect(), dead.connect())
            for _ in range(2):
                with pytest.raises(ConnectionLost):
                    await dead.read("default")
                assert await value(healthy) == 1
            await asyncio.gather(healthy.close(), dead.close())

    run(scenario)


def test_a_gateway_that_answers_for_nobody_is_given_up() -> None:
    async def scenario() -> None:
        async with gateway(silent={1, 2, 3}) as peer:
            drivers = [driver_of(peer, unit, connections=1) for unit in (1, 2, 3)]
            await asyncio.gather(*(driver.connect() for driver in drivers))
            losses = await asyncio.gather(
                *(driver.read("default") for driver in drivers), return_exceptions=True
            )
            assert [type(loss) for loss in losses] == [NoAnswer, NoAnswer, ConnectionLost]

    run(scenario)


def test_a_unit_that_the_gateway_reports_silent_counts_as_silent() -> None:
    async def scenario() -> None:
        async with gateway(absent={2}) as peer:
            healthy, dead = driver_of(peer, 1), driver_of(peer, 2)
            await asyncio.gather(healthy.connect(), dead.connect())
            with pytest.raises(NoAnswer) as caught:
                await dead.read("default")
            assert (caught.value.quality, caught.value.code) == (Quality.BAD_TIMEOUT, 11)
            await asyncio.gather(healthy.close(), dead.close())

    run(scenario)


def test_a_lone_unit_that_is_silent_costs_its_connection() -> None:
    async def scenario() -> None:
        async with gateway(silent={1}) as peer:
            driver = driver_of(peer, 1)
            await driver.connect()
            with pytest.raises(ConnectionLost) as caught:
                await driver.read("default")
            assert not isinstance(caught.value, NoAnswer)
            while peer.open:
                await asyncio.sleep(0.001)

    run(scenario)


def test_requests_keep_their_distance() -> None:
    async def scenario() -> None:
        async with gateway() as peer:
            driver = driver_of(peer, 1, min_request_gap_s=0.05)
            await driver.connect()
            started = time.monotonic()
            for _ in range(4):
                await driver.read("default")
            assert time.monotonic() - started >= 0.15
            await driver.close()

    run(scenario)


def test_a_refused_gateway_is_not_stormed_by_its_units() -> None:
    async def scenario() -> None:
        async with gateway() as peer:
            port_holder = peer.port
        peer.port = port_holder
        drivers = [driver_of(peer, unit) for unit in range(1, 21)]
        losses = await asyncio.gather(
            *(driver.connect() for driver in drivers), return_exceptions=True
        )
        assert all(isinstance(loss, ConnectionLost) for loss in losses)

    run(scenario)
