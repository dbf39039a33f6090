"""A stock OPC UA client reads from a running simulator what the truth log says it served."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from asyncua import Client, ua
from asyncua.ua.uaerrors import UaStatusCodeError

from simulators.testing import RunningSimulator

FILE = """
protocol = "opcua"
seed = 3
update_s = 0.02
[[signals]]
name = "level"
address = "ns=2;s=Tank1.Level"
type = "float64"
wave = { kind = "sine", mean = 50, amplitude = 40, period_s = 0.7, noise = 0.5 }

[[signals]]
name = "ph"
address = "ns=2;s=Tank1.PH"
type = "float32"
wave = { kind = "random_walk", start = 7, step = 0.1, step_s = 0.01 }

[[signals]]
name = "running"
address = "ns=2;s=Tank1.Agitator.Running"
type = "bool"
wave = { kind = "square", period_s = 0.2 }

[[signals]]
name = "count"
address = "ns=2;i=1001"
type = "uint64"
wave = { kind = "counter", start = 9007199254740990, step = 1, step_s = 0.02 }

[[signals]]
name = "delta"
address = "ns=2;s=Delta"
type = "int16"
wave = { kind = "triangle", low = -40000, high = 40000, period_s = 1 }

[[signals]]
name = "recipe"
address = "ns=2;s=Tank1.Recipe"
type = "string"
wave = { kind = "text_list", values = ["基础 A", "CIP"], step_s = 0.05 }

[[signals]]
name = "setpoint"
address = "ns=2;s=Tank1.Setpoint"
type = "float64"
wave = { kind = "writable", value = 62.5 }
"""
ADDRESSES = {
    "level": "ns=2;s=Tank1.Level",
    "ph": "ns=2;s=Tank1.PH",
    "running": "ns=2;s=Tank1.Agitator.Running",
    "count": "ns=2;i=1001",
    "delta": "ns=2;s=Delta",
    "recipe": "ns=2;s=Tank1.Recipe",
    "setpoint": "ns=2;s=Tank1.Setpoint",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ns(at):
    return (at - EPOCH) // timedelta(microseconds=1) * 1000


def start(tmp_path):
    file = tmp_path / "tank.toml"
    file.write_text(FILE)
    return RunningSimulator(file, truth=tmp_path / "truth.jsonl")


def client_of(simulator):
    return Client(f"opc.tcp://{simulator.host}:{simulator.port}", timeout=10)


def truth_of(simulator):
    """Return the value of each signal at each source timestamp, ns."""
    return {
        (name, line["source_ns"]): value
        for line in simulator.truth_lines()
        for name, value in (line.get("values") or line["write"]).items()
    }


def test_asyncua_reads_exactly_what_the_truth_log_records(tmp_path):
    async def read_for_a_while(simulator):
        seen = {}
        async with client_of(simulator) as client:
            nodes = {name: client.get_node(address) for name, address in ADDRESSES.items()}
            while len(seen) < 100:
                for name, node in nodes.items():
                    content = await node.read_data_value()
                    assert content.StatusCode.is_good()
                    seen[name, to_ns(content.SourceTimestamp)] = content.Value.Value
        return seen

    with start(tmp_path) as simulator:
        seen = asyncio.run(read_for_a_while(simulator))
        simulator.stop()
        truth = truth_of(simulator)
    assert seen == {key: truth[key] for key in seen}
    assert {name for name, _ in seen} == set(ADDRESSES)


def test_a_subscriber_is_told_every_update_with_its_source_timestamp(tmp_path):
    class Recorder:
        def __init__(self):
            self.seen = {}

        def datachange_notification(self, node, value, notification):
            content = notification.monitored_item.Value
            self.seen[node.nodeid.to_string(), to_ns(content.SourceTimestamp)] = value

    async def subscribe_for_a_while(simulator):
        recorder = Recorder()
        async with client_of(simulator) as client:
            subscription = await client.create_subscription(20, recorder)
            nodes = [client.get_node(ADDRESSES[name]) for name in ("level", "ph")]
            await subscription.subscribe_data_change(nodes, queuesize=500)
            deadline = asyncio.get_running_loop().time() + 20
            while len(recorder.seen) < 60 and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)
            await subscription.delete()
        return recorder.seen

    with start(tmp_path) as simulator:
        seen = asyncio.run(subscribe_for_a_while(simulator))
        simulator.stop()
        truth = truth_of(simulator)
    assert len(seen) >= 60
    names = {address: name for name, address in ADDRESSES.items()}
    assert seen == {(a, at): truth[names[a], at] for a, at in seen}
    for address in (ADDRESSES["level"], ADDRESSES["ph"]):
        told = [at for a, at in seen if a == address]
        values = [(at, value) for (name, at), value in truth.items() if name == names[address]]
        # A late round leaves less than a step of the walk to the next one, which tells nothing new.
        updates = [at for (_, old), (at, new) in pairwise([(0, None), *values]) if new != old]
        # The first one told is what was there, changed or not.
        assert [at for at in updates if told[0] < at <= told[-1]] == told[1:]


def test_writable_variables_take_writes_and_all_others_refuse_them(tmp_path):
    async def write(simulator):
        async with client_of(simulator) as client:
            setpoint = client.get_node(ADDRESSES["setpoint"])
            value = ua.DataValue(ua.Variant(71.25, ua.VariantType.Double))
            await setpoint.write_value(value)
            content = await setpoint.read_data_value()
            assert content.Value.Value == 71.25
            level = client.get_node(ADDRESSES["level"])
            with pytest.raises(UaStatusCodeError):
                await level.write_value(ua.DataValue(ua.Variant(1.0, ua.VariantType.Double)))
            return to_ns(content.SourceTimestamp)

    with start(tmp_path) as simulator:
        source_ns = asyncio.run(write(simulator))
        simulator.stop()
        (line,) = [line for line in simulator.truth_lines() if "write" in line]
    assert line["write"] == {"setpoint": 71.25}
    assert line["source_ns"] == source_ns
    assert abs(line["t_ns"] - source_ns) < 5e9


def test_variables_are_typed_and_found_by_browsing_below_their_dotted_names(tmp_path):
    async def browse(simulator):
        async with client_of(simulator) as client:
            uris = await client.get_namespace_array()
            assert uris[2] == "urn:daqplane:simulator:signals"
            objects = client.nodes.objects
            running = await objects.get_child(["2:Tank1", "2:Agitator", "2:Running"])
            assert running.nodeid.to_string() == ADDRESSES["running"]
            kinds = {
                name: (await client.get_node(address).read_data_value()).Value.VariantType
                for name, address in ADDRESSES.items()
            }
            return {name: kind.name for name, kind in kinds.items()}

    with start(tmp_path) as simulator:
        kinds = asyncio.run(browse(simulator))
    assert kinds == {
        "level": "Double",
        "ph": "Float",
        "running": "Boolean",
        "count": "UInt64",
        "delta": "Int16",
        "recipe": "String",
        "setpoint": "Double",
    }


def test_it_stops_at_once_with_a_subscriber_connected(tmp_path):
    async def stop_while_subscribed(simulator):
        loop = asyncio.get_running_loop()
        client = client_of(simulator)
        await client.connect()
        subscription = await client.create_subscription(20)
        await subscription.subscribe_data_change(client.get_node(ADDRESSES["level"]))
        began = loop.time()
        code = await asyncio.to_thread(simulator.stop)
        took_s = loop.time() - began
        client.disconnect_socket()
        return code, took_s

    with start(tmp_path) as simulator:
        code, took_s = asyncio.run(stop_while_subscribed(simulator))
    assert code == 0
    assert took_s < 0.5
