"""A server that goes away, comes back, freezes or forgets us: seen fast, never a stale value."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opcua_server import NAMESPACE, OpcUaServer, Reader, reader_of

from collectors.contract.points import Quality, Sample
from collectors.runtime.driver import ConnectionLost
from collectors.runtime.testing import RunningCollector, eventually
from simulators.testing import RunningSimulator

NAMES = ("a", "b", "c")


@pytest.fixture
def server() -> Iterator[OpcUaServer]:
    with OpcUaServer(NAMES) as server:
        yield server


def collector_file(home: Path, port: int, mode: str) -> Path:
    file = home / "collectors.d" / "line1.toml"
    file.parent.mkdir(parents=True)
    points = "".join(
        f'[[devices.points]]\nname = "{name}"\nnode_id = "nsu={NAMESPACE};s={name}"\n'
        for name in NAMES
    )
    file.write_text(
        f'name = "line1"\nprotocol = "opcua"\n[[devices]]\nid = "plc"\nmode = "{mode}"\n'
        f'endpoint = "opc.tcp://127.0.0.1:{port}"\ntimeout_s = 1.0\n'
        f"[[devices.groups]]\ninterval_s = 0.1\n{points}"
    )
    return file


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_values_come_again_within_five_seconds_after_a_restart(
    server: OpcUaServer, tmp_path: Path, mode: str
) -> None:
    server.write("a", 1.0)
    file = collector_file(tmp_path, server.port, mode)
    with RunningCollector(file, tmp_path) as collector:
        collector.reading()
        server.stop()
        collector.beat_with(lambda beat: not beat.connections[0].is_connected)
        # Our namespace has another index now, as after a change of the server's configuration.
        server.other_namespaces = ("urn:test:new",)
        server.start()
        server.write("a", 2.0)
        started = time.monotonic()
        eventually(lambda: any(s.value == 2.0 for s in collector.samples()), 8.0)
        assert time.monotonic() - started < 5.0
        collector.stop()
    samples = [s for s in collector.samples() if s.point == "plc/a"]
    states = [(s.value, s.quality.is_bad) for s in samples]
    changes = [s for i, s in enumerate(states) if i == 0 or s != states[i - 1]]
    assert changes == [(1.0, False), (None, True), (2.0, False)]
    assert sum(is_bad for _, is_bad in states) == 1


def test_an_index_that_belongs_to_another_namespace_after_a_restart_is_not_read(
    server: OpcUaServer,
) -> None:
    """ns=2;s=a may be another variable then, and its values would be good."""
    points = [{"name": "a", "node_id": "ns=2;s=a"}]

    async def scenario() -> None:
        reader = reader_of(server.port, ("a",), points=points)
        async with reader:
            assert [s.quality for s in await reader.read()] == [Quality.GOOD]
        await asyncio.to_thread(server.stop)
        server.other_namespaces = ("urn:test:new",)
        await asyncio.to_thread(server.start)
        with pytest.raises(ConnectionLost, match="namespace 2 was urn:test:plant and is urn:test"):
            await reader.driver.connect()
        await reader.driver.close()
        async with reader_of(server.port, ("a",), points=points) as restarted:
            assert [s.quality for s in await restarted.read()] == [Quality.BAD_CONFIG]

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_a_close_is_seen_in_less_than_a_tenth_of_a_second(server: OpcUaServer, mode: str) -> None:
    async def scenario() -> float:
        async with reader_of(server.port, NAMES, mode=mode) as reader:
            await reader.read()
            closed = time.monotonic()
            server.loop.call_soon_threadsafe(close_connections, server)
            while not reader.lost:
                assert time.monotonic() - closed < 2
                await asyncio.sleep(0.001)
            return time.monotonic() - closed

    # The quickest of three: what a busy machine adds is not the driver's.
    assert min(asyncio.run(scenario()) for _ in range(3)) < 0.1


def close_connections(server: OpcUaServer) -> None:
    bserver = server.server.bserver
    assert bserver is not None
    for client in list(bserver.clients):
        assert client.transport is not None
        client.transport.abort()


def test_changes_that_came_before_the_connection_broke_are_told_after_it(
    server: OpcUaServer,
) -> None:
    async def scenario() -> list[Sample]:
        group = {"interval_s": 5.0, "publishing_interval_s": 0.02, "sampling_interval_s": 0.01}
        async with reader_of(server.port, ("a",), mode="subscribe", group=group) as reader:
            await reader.read()
            for value in (1.0, 2.0, 3.0):
                await asyncio.to_thread(server.write, "a", value)
                heard = reader.traffic.requests
                while reader.traffic.requests == heard:
                    await asyncio.sleep(0.005)
            server.loop.call_soon_threadsafe(close_connections, server)
            while not reader.lost:
                await asyncio.sleep(0.005)
            await reader.driver.close()
            await reader.driver.connect()
            return await reader.read()

    samples = asyncio.run(asyncio.wait_for(scenario(), 15))
    assert [s.value for s in samples] == [1.0, 2.0, 3.0, 3.0]
    assert {s.quality for s in samples} == {Quality.GOOD}


def test_a_session_that_the_server_forgot_is_a_lost_connection(server: OpcUaServer) -> None:
    async def scenario() -> None:
        async with reader_of(server.port, NAMES, mode="subscribe") as reader:
            await reader.read()
            await asyncio.to_thread(server.run, forget_sessions(server))
            with pytest.raises(ConnectionLost):
                await reader.until(lambda _seen: False)
            await reader.driver.close()
            await reader.driver.connect()
            assert {s.quality for s in await reader.read()} == {Quality.GOOD}

    asyncio.run(scenario())


async def forget_sessions(server: OpcUaServer) -> None:
    bserver = server.server.bserver
    assert bserver is not None
    for client in list(bserver.clients):
        session = client.processor.session
        if session is not None:
            await session.close_session(True)


SERVER_PROGRAM = """
import asyncio, sys
sys.path.insert(0, {folder!r})
from opcua_server import OpcUaServer
with OpcUaServer() as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_a_frozen_server_is_given_up_and_no_old_value_is_repeated(mode: str) -> None:
    program = SERVER_PROGRAM.format(folder=str(Path(__file__).parent))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        seen, outage_s = asyncio.run(frozen(process, port, mode))
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()
    assert seen == [] or {s.quality for s in seen} <= {Quality.STALE}
    assert outage_s < 3.0


async def frozen(
    process: "subprocess.Popen[bytes]", port: int, mode: str
) -> tuple[list[Sample], float]:
    keys: dict[str, Any] = {"mode": mode, "timeout_s": 0.5}
    async with reader_of(port, NAMES, **keys) as reader:
        await reader.read()
        process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{process.pid}/stat")
        # On a busy machine it still answers for a moment.
        await asyncio.to_thread(eventually, lambda: stat.read_text().rpartition(") ")[2][0] == "T")
        await drained(reader)
        seen: list[Sample] = []
        frozen_mono = time.monotonic()
        with pytest.raises(ConnectionLost) as caught:
            await reader.until(lambda so_far: seen.extend(so_far[len(seen) :]))
        assert caught.value.quality is Quality.BAD_TIMEOUT
        return seen, time.monotonic() - frozen_mono


async def drained(reader: Reader) -> None:
    """Fetch what the server had sent before it froze."""
    if reader.device.mode == "subscribe":
        await asyncio.sleep(0.1)
        await reader.read()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    file = tmp_path_factory.mktemp("plant") / "plant.toml"
    file.write_text(
        'protocol = "opcua"\nhost = "127.0.0.1"\nport = 0\nupdate_s = 0.02\ncontrol_port = 0\n'
        '[[signals]]\nname = "n"\naddress = "ns=2;s=n"\ntype = "uint32"\n'
        'wave = { kind = "counter", start = 0, step = 1, step_s = 0.02 }\n'
    )
    with RunningSimulator(file) as simulator:
        yield simulator


@pytest.mark.parametrize(
    ("status", "is_made_anew"),
    [
        (0x8078_0000, False),  # BadTooManyPublishRequests
        (0x800A_0000, False),  # BadTimeout
        (0x8079_0000, True),  # BadNoSubscription
    ],
)
def test_a_publish_request_that_is_refused_costs_no_connection(
    plant: RunningSimulator, status: int, is_made_anew: bool
) -> None:
    async def scenario() -> tuple[list[Sample], int]:
        points = [{"name": "n", "node_id": "ns=2;s=n"}]
        async with reader_of(plant.port, (), points=points, mode="subscribe") as reader:
            await reader.read()
            await asyncio.to_thread(plant.fault, "exception", code=status, count=2)
            seen = await reader.until(lambda seen: len(seen) > 10 and not has_fault(plant))
            seen += await reader.until(lambda seen: len(seen) > 10)
            assert reader.lost == []
            return seen, reader.traffic.lost_changes

    seen, lost_changes = asyncio.run(scenario())
    assert (Quality.STALE in {s.quality for s in seen}) is is_made_anew
    assert lost_changes == 0


def has_fault(plant: RunningSimulator) -> bool:
    return bool(plant.devices()[0]["faults"])
