"""Every fault of a simulated OPC UA server, as a stock client meets it."""

import asyncio
import math
import time
from datetime import UTC, datetime

import pytest
from asyncua import Client, ua
from asyncua.ua.uaerrors import UaStatusCodeError

from simulators.testing import RunningSimulator

FILE = """
protocol = "opcua"
update_s = 0.02
[[signals]]
name = "level"
address = "ns=2;s=Level"
type = "float64"
wave = { kind = "counter", step_s = 0.001 }

[[signals]]
name = "count"
address = "ns=2;s=Count"
type = "int64"
wave = { kind = "counter", step_s = 0.001 }
"""
LOST = (ConnectionError, TimeoutError, asyncio.TimeoutError, UaStatusCodeError, OSError)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opcua")
    file = folder / "tank.toml"
    file.write_text(FILE)
    with RunningSimulator(file, truth=folder / "truth.jsonl") as running:
        yield running


@pytest.fixture
def simulator(shared):
    yield shared
    shared.clear()


def client_of(simulator, timeout_s=5.0):
    return Client(f"opc.tcp://{simulator.host}:{simulator.port}", timeout=timeout_s)


async def read(client, name="Level"):
    return await client.get_node(f"ns=2;s={name}").read_data_value(raise_on_bad_status=False)


def connected(simulator, scenario, timeout_s=5.0):
    async def run():
        client = client_of(simulator, timeout_s)
        await client.connect()
        try:
            return await scenario(client)
        finally:
            simulator.clear()
            try:
                await client.disconnect()
            except LOST:
                client.disconnect_socket()

    return asyncio.run(run())


def test_bad_quality_is_in_the_status_and_in_the_truth_log(simulator):
    async def scenario(client):
        assert (await read(client)).StatusCode.is_good()
        simulator.fault("bad_quality", code=0x80310000)
        return await until(client, lambda content: content.StatusCode.value == 0x80310000)

    connected(simulator, scenario)
    deadline = time.monotonic() + 5
    lines = []
    while not lines and time.monotonic() < deadline:
        lines = [line for line in simulator.truth_lines() if line.get("status") == 0x80310000]
    assert {"level", "count"} == set(lines[0]["values"])


async def until(client, condition, name="Level"):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        content = await read(client, name)
        if condition(content):
            return content
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to be so")


def test_nan_meets_floats_only(simulator):
    async def scenario(client):
        simulator.fault("nan")
        await until(client, lambda content: math.isnan(content.Value.Value))
        return await read(client, "Count")

    assert connected(simulator, scenario).Value.Value > 0


def test_freeze_stops_values_and_stuck_time_stops_their_times(simulator):
    async def changes(client):
        """Return whether value and source time change within a few updates."""
        simulator_now = await read(client)
        for _ in range(30):
            later = await read(client)
            if later.SourceTimestamp != simulator_now.SourceTimestamp:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        later = await read(client)
        return (
            later.Value.Value != simulator_now.Value.Value,
            later.SourceTimestamp != simulator_now.SourceTimestamp,
        )

    async def settle(client):
        reached = datetime.now(UTC).timestamp()
        for _ in range(5):
            await read(client)
            await asyncio.sleep(0.02)
        return reached

    async def scenario(client):
        seen = [await changes(client)]
        simulator.fault("freeze")
        await settle(client)
        seen.append(await changes(client))
        simulator.clear()
        simulator.fault("stuck_time")
        await settle(client)
        seen.append(await changes(client))
        return seen

    assert connected(simulator, scenario) == [(True, True), (False, True), (True, False)]


def test_refuse_takes_no_connection(simulator):
    simulator.fault("refuse")
    with pytest.raises(OSError, match="Connect call failed"):
        asyncio.run(client_of(simulator).connect())
    simulator.clear()

    async def scenario(client):
        return await read(client)

    assert connected(simulator, scenario).StatusCode.is_good()


def test_silent_lets_requests_time_out(simulator):
    async def scenario(client):
        simulator.fault("silent")
        with pytest.raises(LOST):
            await read(client)

    connected(simulator, scenario, timeout_s=0.3)


def test_delay_holds_answers_back(simulator):
    async def scenario(client):
        simulator.fault("delay", delay_s=0.2)
        began = time.monotonic()
        await read(client)
        return time.monotonic() - began

    assert 0.2 <= connected(simulator, scenario) < 3


@pytest.mark.parametrize("kind", ["close_before", "reset", "close_after"])
def test_a_closed_connection_ends_requests_at_once(simulator, kind):
    async def scenario(client):
        simulator.fault(kind, count=1)
        began = time.monotonic()
        with pytest.raises(LOST):
            await until(client, lambda _content: False)
        return time.monotonic() - began

    assert connected(simulator, scenario) < 3


@pytest.mark.parametrize("kind", ["garbage", "truncate"])
def test_what_is_no_message_breaks_the_connection_and_is_never_a_value(simulator, kind):
    async def scenario(client):
        simulator.fault(kind, count=1)
        with pytest.raises(LOST):
            await read(client)

    connected(simulator, scenario, timeout_s=0.5)


def test_split_messages_are_put_together(simulator):
    async def scenario(client):
        simulator.fault("split", chunk_bytes=5, pause_s=0.0005)
        return await read(client)

    assert connected(simulator, scenario).StatusCode.is_good()


def test_exception_is_a_service_fault(simulator):
    async def scenario(client):
        simulator.fault("exception", count=1, code=ua.StatusCodes.BadTooManyOperations)
        with pytest.raises(UaStatusCodeError, match="BadTooManyOperations"):
            await read(client)
        return await read(client)

    assert connected(simulator, scenario).StatusCode.is_good()


def test_session_loss_forgets_the_session_and_keeps_the_connection(simulator):
    async def scenario(client):
        before = simulator.counters()["connections"]
        simulator.fault("session_loss")
        with pytest.raises(UaStatusCodeError, match="BadSessionIdInvalid"):
            await read(client)
        assert simulator.counters()["connections"] == before

    connected(simulator, scenario)


def test_a_restart_ends_connections_and_comes_back_on_the_same_port(simulator):
    async def scenario(client):
        simulator.write("count", 5)
        simulator.fault("restart", pause_s=0.1)
        with pytest.raises(LOST):
            await until(client, lambda _content: False)

    connected(simulator, scenario, timeout_s=2)

    async def again():
        deadline = time.monotonic() + 20
        while True:
            client = client_of(simulator)
            try:
                await client.connect()
            except LOST:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
                continue
            try:
                return (await read(client, "Count")).Value.Value
            finally:
                await client.disconnect()

    assert asyncio.run(again()) == 5, "what was held is forgotten"
    simulator.write("count", None)
