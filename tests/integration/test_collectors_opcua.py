"""The OPC UA driver against a real server of the same library, and through a bad line."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from asyncua import Server, ua

from collectors.contract.config import parse_collector
from collectors.contract.config_opcua import OpcUaCollector
from collectors.contract.points import Quality, Sample
from collectors.opcua.driver import OpcUaDriver
from collectors.opcua.session import url_of
from collectors.runtime.driver import ConnectionLost, Traffic

_T = TypeVar("_T")

MAX_NODES_PER_READ = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead

NODES: dict[str, Any] = {
    "Temperature": ua.Variant(21.5, ua.VariantType.Double),
    "Count": ua.Variant(2**63, ua.VariantType.UInt64),
    "Running": ua.Variant(True, ua.VariantType.Boolean),
    "Recipe": ua.Variant("压力 7", ua.VariantType.String),
    "Profile": ua.Variant([1, 2, 3], ua.VariantType.Int16),
}


@dataclass
class Line:
    """A byte pipe to the server that a test can damage or cut."""

    port: int = 0
    damage: Callable[[bytes], bytes] = bytes
    is_silent: bool = False
    piece_bytes: int = 65536
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def cut(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers.clear()


@dataclass
class Site:
    """One server for the whole file, because it takes two seconds to start."""

    runner: asyncio.Runner
    server: Server
    port: int

    def run(self, scenario: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        return self.runner.run(scenario())


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    async def start() -> Server:
        server = Server()
        await server.init()
        server.set_endpoint("opc.tcp://127.0.0.1:0")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await server.register_namespace("urn:test")
        for name, value in NODES.items():
            await server.nodes.objects.add_variable(ua.NodeId(name, 2), name, value)
        await server.start()
        return server

    with asyncio.Runner() as runner:
        server = runner.run(start())
        yield Site(runner, server, server.bserver.port)
        runner.run(server.stop())


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    line = Line()

    async def pipe(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, damage: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(line.piece_bytes):
                if not (damage and line.is_silent):
                    writer.write(line.damage(data) if damage else data)
                    await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        line.writers += [writer, up_writer]
        await asyncio.gather(pipe(reader, up_writer, False), pipe(up_reader, writer, True))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()
        await server.wait_closed()


@dataclass
class Client:
    driver: OpcUaDriver
    traffic: Traffic
    lost: list[ConnectionLost]

    async def read(self) -> dict[str, Sample]:
        columns = await self.driver.read("default")
        return {sample.point[4:]: sample for sample in columns.samples()}


def client_of(port: int, names: list[str], timeout_s: float = 3.0, mode: str = "poll") -> Client:
    points = [{"name": name, "node_id": f"ns=2;s={name}"} for name in names]
    endpoint = f"opc.tcp://127.0.0.1:{port}"
    device = {
        "id": "plc",
        "endpoint": endpoint,
        "timeout_s": timeout_s,
        "mode": mode,
        "groups": [{"interval_s": 0.02}],
        "points": points,
    }
    config = parse_collector({"name": "c", "protocol": "opcua", "devices": [device]}, file="c.toml")
    assert isinstance(config, OpcUaCollector)
    traffic, lost = Traffic(), list[ConnectionLost]()
    return Client(
        OpcUaDriver(config.devices[0], traffic, lost.append, Path("unused")), traffic, lost
    )


@asynccontextmanager
async def connected(
    site: Site, names: list[str], timeout_s: float = 3.0
) -> AsyncIterator[tuple[Client, Line]]:
    async with line_to(site.port) as line:
        client = client_of(line.port, names, timeout_s)
        await client.driver.connect()
        try:
            yield client, line
        finally:
            await client.driver.close()


def test_values_come_with_their_type_status_and_time(site: Site) -> None:
    async def scenario() -> None:
        async with connected(site, [*NODES, "Missing"]) as (client, _):
            at = datetime(2024, 5, 6, 7, 8, 9, 1000, tzinfo=UTC)
            node = site.server.get_node(ua.NodeId("Temperature", 2))
            await node.write_value(ua.DataValue(ua.Variant(22.5), SourceTimestamp=at))
            bad = ua.DataValue(ua.Variant(False), StatusCode=ua.StatusCode(0x808A_0000))
            await site.server.get_node(ua.NodeId("Running", 2)).write_value(bad)
            values = await client.read()
            assert values["Temperature"].value == 22.5
            assert values["Temperature"].source_ns == 1_714_979_289_001_000_000
            assert values["Count"].value == 2**63
            assert values["Recipe"].value == "压力 7"
            assert values["Profile"].quality is Quality.BAD_RANGE
            assert (values["Running"].quality, values["Running"].code) == (
                Quality.BAD_DEVICE,
                0x808A_0000,
            )
            assert values["Missing"].quality is Quality.BAD_CONFIG
            assert client.traffic.requests == 1

    site.run(scenario)


@pytest.mark.parametrize(("limit", "requests"), [(2, 3), (5, 1), (0, 1)])
def test_requests_keep_to_the_servers_limit(site: Site, limit: int, requests: int) -> None:
    async def scenario() -> None:
        node = site.server.get_node(ua.NodeId(MAX_NODES_PER_READ))
        await node.write_value(ua.Variant(limit, ua.VariantType.UInt32))
        async with connected(site, list(NODES)) as (client, _):
            values = await client.read()
            assert values.keys() == NODES.keys()
            assert client.traffic.requests == requests

    site.run(scenario)


def test_a_lost_connection_is_told_at_once_and_reading_fails(site: Site) -> None:
    async def scenario() -> None:
        async with connected(site, ["Count"]) as (client, line):
            await client.read()
            started = time.monotonic()
            line.cut()
            while not client.lost:
                assert time.monotonic() - started < 1.0
                await asyncio.sleep(0.005)
            with pytest.raises(ConnectionLost):
                await client.read()
            await client.driver.close()
            await client.driver.connect()
            assert (await client.read())["Count"].quality is Quality.GOOD

    site.run(scenario)


def test_a_connection_that_breaks_under_a_request_fails_it_at_once(site: Site) -> None:
    async def scenario() -> None:
        async with connected(site, ["Count"], timeout_s=30.0) as (client, line):
            line.is_silent = True
            task = asyncio.create_task(client.read())
            await asyncio.sleep(0.05)
            started = time.monotonic()
            line.cut()
            with pytest.raises(ConnectionLost):
                await task
            assert time.monotonic() - started < 1.0

    site.run(scenario)


def test_a_silent_server_is_a_timeout_and_does_not_hold_up_the_close(site: Site) -> None:
    async def scenario() -> None:
        async with connected(site, ["Count"], timeout_s=0.3) as (client, line):
            line.is_silent = True
            with pytest.raises(ConnectionLost) as caught:
                await client.read()
            assert caught.value.quality is Quality.BAD_TIMEOUT
            started = time.monotonic()
            await client.driver.close()
            assert time.monotonic() - started < 0.45
            with pytest.raises(ConnectionLost) as caught:
                await client.driver.connect()
            assert caught.value.quality is Quality.BAD_TIMEOUT

    site.run(scenario)


def test_an_answer_byte_by_byte_is_read_whole(site: Site) -> None:
    async def scenario() -> None:
        async with connected(site, list(NODES)) as (client, line):
            whole = {name: sample.value for name, sample in (await client.read()).items()}
            line.piece_bytes = 1
            for _ in range(3):
                values = await client.read()
                assert {name: sample.value for name, sample in values.items()} == whole

    site.run(scenario)


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_no_damage_to_an_answer_ends_the_process(site: Site, mode: str) -> None:
    """A damaged message is a lost connection, whatever the library makes of it."""
    rng = random.Random(20)
    defects: list[dict[str, Any]] = []

    def damage(data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        return bytes(damaged)

    def rarely(data: bytes) -> bytes:
        return damage(data) if rng.random() < 0.3 else data

    async def scenario() -> int:
        losses = 0
        async with line_to(site.port) as line:
            client = client_of(line.port, list(NODES), timeout_s=0.1, mode=mode)
            asyncio.get_running_loop().set_exception_handler(
                lambda _, defect: defects.append(defect)
            )
            for number in range(60):
                # Each third connection is damaged from its first answer on.
                line.damage = bytes if number % 3 else rarely
                try:
                    await client.driver.connect()
                    await client.read()
                    line.damage = damage
                    for _ in range(10):
                        await client.read()
                        await asyncio.sleep(0.01)
                except ConnectionLost:
                    losses += 1
                await client.driver.close()
        asyncio.get_running_loop().set_exception_handler(None)
        return losses

    assert site.run(scenario) > 5
    assert defects == []


def test_a_refused_connection_says_so(site: Site) -> None:
    async def scenario() -> None:
        async with line_to(site.port) as line:
            port = line.port
        with pytest.raises(ConnectionLost, match="Connection refused"):
            await client_of(port, ["Count"]).driver.connect()

    site.run(scenario)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("opc.tcp://plc", "opc.tcp://plc:4840"),
        ("opc.tcp://plc/a/b", "opc.tcp://plc:4840/a/b"),
        ("opc.tcp://[::1]:4841/a", "opc.tcp://[::1]:4841/a"),
    ],
)
def test_an_endpoint_without_a_port_means_4840(endpoint: str, url: str) -> None:
    assert url_of(endpoint) == url
