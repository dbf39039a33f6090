"""Every good value in the spool is a value that the device really had at that moment."""

from pathlib import Path
from typing import Any

import pytest

from collectors.contract.points import Quality, Sample
from collectors.runtime.testing import RunningCollector
from simulators.testing import RunningSimulator

SINE = 'wave = {kind = "sine", mean = 20, amplitude = 300, period_s = 0.7}'
COUNTER = 'wave = {kind = "counter", start = 100, step = 7, step_s = 0.05}'
SQUARE = 'wave = {kind = "square", period_s = 0.3}'
TEXTS = 'wave = {kind = "text_list", values = ["Rezept 1", "配方二", "x"], step_s = 0.1}'

ORDERS = ("ABCD", "BADC", "CDAB", "DCBA")
NUMBERS = ("int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def modbus_signals() -> list[tuple[str, str]]:
    """Return place and wave of each signal: every type in every order, bits and text."""
    signals = []
    offset = 0
    for order in ORDERS:
        for kind in NUMBERS:
            wave = COUNTER if kind.startswith("uint") else SINE
            place = f'type = "{kind}", order = "{order}", address = "holding:{offset}"'
            signals.append((f'name = "{kind} {order}", {place}', wave))
            offset += 5
    signals += [
        (
            f'name = "text {o}", type = "string", length = 6, order = "{o}", address = "input:{i}"',
            TEXTS,
        )
        for o, i in zip(ORDERS, (0, 8, 16, 40), strict=True)
    ]
    signals += [
        (f'name = "{where}", type = "bool", address = "{where}"', SQUARE)
        for where in ("coil:3", "coil:900", "discrete:17", "holding:400.0", "holding:400.15")
    ]
    return signals


def mc_signals() -> list[tuple[str, str]]:
    signals = [
        (
            f'name = "{kind}", type = "{kind}", address = "D{100 + 5 * i}"',
            COUNTER if kind.startswith("uint") else SINE,
        )
        for i, kind in enumerate(NUMBERS)
    ]
    signals += [
        (f'name = "{where}", type = "bool", address = "{where}"', SQUARE)
        for where in ("M0", "M8191", "X1F", "Y20", "D300.A", "B7F")
    ]
    return [
        *signals,
        ('name = "text", type = "string", length = 6, address = "ZR1000"', TEXTS),
        ('name = "W", type = "int16", address = "W1F"', SINE),
    ]


def opcua_signals() -> list[tuple[str, str]]:
    kinds = {**dict.fromkeys(NUMBERS, SINE), "bool": SQUARE, "string": TEXTS}
    kinds |= dict.fromkeys(("uint16", "uint32", "uint64"), COUNTER)
    return [
        (f'name = "{kind}", type = "{kind}", address = "ns=2;s={kind}"', wave)
        for kind, wave in kinds.items()
    ]


SIGNALS = {
    "modbus_tcp": modbus_signals(),
    "mitsubishi_mc": mc_signals(),
    "opcua": opcua_signals(),
}


def write_files(tmp_path: Path, protocol: str) -> tuple[Path, Path]:
    simulator, collector = tmp_path / "sim.toml", tmp_path / "line1.toml"
    unit = "[[units]]\n" if protocol == "modbus_tcp" else ""
    signals = ",\n".join(f"{{{place}, {wave}}}" for place, wave in SIGNALS[protocol])
    simulator.write_text(f'protocol = "{protocol}"\n{unit}signals = [\n{signals}\n]\n')
    points = ",\n".join(f"{{{place}}}" for place, _ in SIGNALS[protocol])
    if protocol == "opcua":
        points = ",\n".join(
            f'{{name = "{kind}", node_id = "ns=2;s={kind}"}}'
            for kind in (*NUMBERS, "bool", "string")
        )
    collector.write_text(
        f'name = "line1"\nprotocol = "{protocol}"\n[[devices]]\nid = "plc"\nPLACE\n'
        f"groups = [{{interval_s = 0.05}}]\npoints = [\n{points}\n]\n"
    )
    return simulator, collector


def matches(sample: Sample, line: dict[str, Any], name: str) -> bool:
    if line["values"].get(name) != sample.value:
        return False
    if "source_ns" in line:
        return bool(line["source_ns"] // 1000 == sample.source_ns // 1000)
    # The moment of serving lies between the request and the answer.
    half_ns = sample.received_ns - sample.source_ns
    return bool(abs(line["t_ns"] - sample.source_ns) <= half_ns + 2_000_000)


@pytest.mark.parametrize("protocol", SIGNALS)
def test_what_is_stored_is_what_the_device_had(tmp_path: Path, protocol: str) -> None:
    simulator_file, collector_file = write_files(tmp_path, protocol)
    with RunningSimulator(simulator_file, truth=tmp_path / "truth.jsonl") as simulator:
        place = f'host = "127.0.0.1"\nport = {simulator.port}'
        if protocol == "opcua":
            place = f'endpoint = "opc.tcp://127.0.0.1:{simulator.port}"'
        collector_file.write_text(collector_file.read_text().replace("PLACE", place))
        with RunningCollector(collector_file, tmp_path) as collector:
            collector.beat_with(lambda b: b.connections[0].requests >= 60)
            collector.stop()
        simulator.stop()
        truth = simulator.truth_lines()

    samples = collector.samples()
    names = {sample.point.removeprefix("plc/") for sample in samples}
    assert len(names) == len(SIGNALS[protocol])
    assert {sample.quality for sample in samples} == {Quality.GOOD}
    values_seen: dict[str, set[object]] = {}
    by_name = {name: [line for line in truth if name in line.get("values", {})] for name in names}
    for sample in samples:
        name = sample.point.removeprefix("plc/")
        values_seen.setdefault(name, set()).add(sample.value)
        assert any(matches(sample, line, name) for line in by_name[name]), sample
    assert all(len(values) > 1 for values in values_seen.values())
