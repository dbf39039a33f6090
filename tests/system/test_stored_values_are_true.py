"""What is stored equals what the devices say they served, value by value.

The simulators share no code with the collectors and write down every value that leaves them, so a
wrong byte order, offset or time would show here.
"""

import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from installation import Installation, is_delivering, wait_for

from collectors.contract.points import Quality, Sample
from collectors.history.embedded.reader import EmbeddedReader

pytestmark = pytest.mark.supervisord

ENOUGH = 1000
"""Values of each protocol to compare, at least."""
SIMULATOR = (sys.executable, "-m", "simulators")
_INTERVAL_S = 0.02
_FOREVER_NS = 1 << 62
_CLOSE_NS = 1_000_000_000

WAVES = {
    "counter": '{ kind = "counter", start = 7, step = 3, step_s = 0.01 }',
    "sine": '{ kind = "sine", mean = 20.5, amplitude = 300.25, period_s = 3, noise = 0.5 }',
    "walk": '{ kind = "random_walk", start = 0, step = 5, step_s = 0.01, low = -900, high = 900 }',
    "square": '{ kind = "square", low = 0, high = 1, period_s = 0.3 }',
}
Signal = tuple[str, str, str, str, str]
"""Name, address, type, order, wave."""

MODBUS: tuple[Signal, ...] = (
    ("count32", "holding:0", "uint32", "ABCD", "counter"),
    ("count32_cdab", "holding:2", "uint32", "CDAB", "counter"),
    ("sine_float", "holding:4", "float32", "ABCD", "sine"),
    ("sine_badc", "holding:6", "float32", "BADC", "sine"),
    ("sine_dcba", "holding:8", "float32", "DCBA", "sine"),
    ("sine_double", "holding:10", "float64", "ABCD", "sine"),
    ("walk16", "holding:40", "int16", "ABCD", "walk"),
    ("walk_input", "input:5", "int32", "ABCD", "walk"),
    ("on_coil", "coil:3", "bool", "ABCD", "square"),
    ("on_discrete", "discrete:300", "bool", "ABCD", "square"),
)
MITSUBISHI: tuple[Signal, ...] = (
    ("count32", "D100", "uint32", "ABCD", "counter"),
    ("sine_float", "D102", "float32", "ABCD", "sine"),
    ("walk16", "D110", "int16", "ABCD", "walk"),
    ("walk32", "W1F", "int32", "ABCD", "walk"),
    ("count16", "R0", "uint16", "ABCD", "counter"),
    ("on_m", "M20", "bool", "ABCD", "square"),
    ("on_x", "X1F", "bool", "ABCD", "square"),
)
OPCUA: tuple[Signal, ...] = (
    ("count", "ns=2;s=Count", "uint32", "", "counter"),
    ("sine", "ns=2;s=Sine", "float64", "", "sine"),
    ("sine_single", "ns=2;s=Sine32", "float32", "", "sine"),
    ("walk", "ns=2;s=Walk", "int16", "", "walk"),
    ("on", "ns=2;s=On", "bool", "", "square"),
)


def simulator_file(protocol: str, signals: tuple[Signal, ...]) -> str:
    table = "units.signals" if protocol == "modbus_tcp" else "signals"
    head = f'protocol = "{protocol}"\nhost = "127.0.0.1"\nport = 0\nseed = 3\n'
    head += "[[units]]\nunit_id = 1\n" if protocol == "modbus_tcp" else ""
    head += f"update_s = {_INTERVAL_S}\n" if protocol == "opcua" else ""
    for name, address, kind, order, wave in signals:
        head += f'[[{table}]]\nname = "{name}"\naddress = "{address}"\ntype = "{kind}"\n'
        head += f'order = "{order}"\n' if protocol == "modbus_tcp" else ""
        head += f"wave = {WAVES[wave]}\n"
    return head


def collector_file(protocol: str, port: int, signals: tuple[Signal, ...]) -> str:
    where = {
        "opcua": f'endpoint = "opc.tcp://127.0.0.1:{port}"',
    }.get(protocol, f'host = "127.0.0.1"\nport = {port}')
    text = (
        f'name = "{name_of(protocol)}"\nprotocol = "{protocol}"\n[[devices]]\nid = "dev"\n{where}\n'
    )
    text += f'groups = [{{ id = "fast", interval_s = {_INTERVAL_S} }}]\n'
    for name, address, kind, order, _ in signals:
        text += f'[[devices.points]]\nname = "{name}"\ngroup = "fast"\n'
        text += f'node_id = "{address}"\n' if protocol == "opcua" else f'address = "{address}"\n'
        text += f'type = "{kind}"\n' if protocol != "opcua" else ""
        text += f'order = "{order}"\n' if protocol == "modbus_tcp" else ""
    return text


def name_of(protocol: str) -> str:
    return f"true-{protocol.split('_', maxsplit=1)[0]}"


PROTOCOLS = {"modbus_tcp": MODBUS, "mitsubishi_mc": MITSUBISHI, "opcua": OPCUA}


@pytest.fixture(scope="module")
def recorded(
    make_installation: Callable[..., Installation], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Record from three devices until each gave enough; return (truth logs, history)."""
    truths = tmp_path_factory.mktemp("truth")
    installation = make_installation()
    collectors = installation.home / "collectors.d"
    collectors.mkdir(parents=True)
    devices = []
    try:
        for protocol, signals in PROTOCOLS.items():
            file = truths / f"{protocol}.toml"
            file.write_text(simulator_file(protocol, signals))
            device = subprocess.Popen(
                [*SIMULATOR, str(file), "--truth", str(truths / f"{protocol}.jsonl")],
                stdout=subprocess.PIPE,
                text=True,
            )
            devices.append(device)
            port = json.loads(device.stdout.readline())["port"]
            text = collector_file(protocol, port, signals)
            (collectors / f"{name_of(protocol)}.toml").write_text(text)
        installation.start()
        for protocol in PROTOCOLS:
            installation.wait_until(name_of(protocol), is_delivering, "delivers")
        history = EmbeddedReader(installation.home / "history")

        def all_stored() -> bool:
            return all(len(stored(history, p)) >= ENOUGH for p in PROTOCOLS)

        wait_for(all_stored, f"{ENOUGH} stored values of each protocol", 60)
        # Collectors first, so that all they read is stored; devices last, so that every stored
        # value is in a truth log.
        for protocol in PROTOCOLS:
            assert installation.run("stop", name_of(protocol)).returncode == 0
        stopped_at = datetime.now(UTC)
        wait_for(
            lambda: is_drained(installation.home, stopped_at), "the historian stored everything"
        )
        assert installation.stop() == 0
    finally:
        for device in devices:
            device.send_signal(signal.SIGTERM)
        for device in devices:
            device.wait(10)
            device.stdout.close()
    return truths, installation.home / "history"


def stored(history: EmbeddedReader, protocol: str) -> list[Sample]:
    return [
        sample
        for name, *_ in PROTOCOLS[protocol]
        for sample in history.range(
            f"{name_of(protocol)}/dev/{name}", 0, _FOREVER_NS, buckets=None
        ).samples
        if sample.quality is Quality.GOOD
    ]


def is_drained(home: Path, since: datetime) -> bool:
    """Tell whether the historian has nothing left to store, by a report later than ``since``."""
    report = json.loads((home / "run" / "historian.json").read_text())
    if datetime.fromisoformat(report["sent_at"]) <= since:
        return False
    sizes = [stores["embedded"]["queued_bytes"] for stores in report["collectors"].values()]
    return len(sizes) == len(PROTOCOLS) and sum(sizes) == 0


def truth_of(truths: Path, protocol: str) -> list[dict[str, object]]:
    lines = (truths / f"{protocol}.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "values" in line]


@pytest.mark.parametrize("protocol", ["modbus_tcp", "mitsubishi_mc"])
def test_every_answer_of_the_device_is_stored_once_in_order_and_unchanged(
    recorded: tuple[Path, Path], protocol: str
) -> None:
    truths, directory = recorded
    served: dict[str, list[tuple[int, object]]] = defaultdict(list)
    for line in truth_of(truths, protocol):
        for name, value in line["values"].items():
            served[name].append((line["t_ns"], value))
    compared = 0
    for name, *_ in PROTOCOLS[protocol]:
        samples = [
            s for s in stored(EmbeddedReader(directory), protocol) if s.point == f"dev/{name}"
        ]
        values = [value for _, value in served[name]]
        assert [s.value for s in samples] == values[: len(samples)], name
        # An answer may be under way when the collector is told to stop.
        assert len(values) - len(samples) <= 1, name
        assert {type(s.value) for s in samples} == {type(v) for v in values}
        for sample, (at_ns, _) in zip(samples, served[name], strict=False):
            assert abs(sample.source_ns - at_ns) < _CLOSE_NS
        compared += len(samples)
    assert compared >= ENOUGH


def test_every_stored_opcua_value_is_the_one_that_the_server_gave_at_that_time(
    recorded: tuple[Path, Path],
) -> None:
    truths, directory = recorded
    served = {
        (f"dev/{name}", line["source_ns"]): value
        for line in truth_of(truths, "opcua")
        for name, value in line["values"].items()
    }
    samples = stored(EmbeddedReader(directory), "opcua")
    wrong = [s for s in samples if served.get((s.point, s.source_ns)) != s.value]
    assert wrong == []
    assert len({(s.point, s.source_ns) for s in samples}) == len(samples) >= ENOUGH
