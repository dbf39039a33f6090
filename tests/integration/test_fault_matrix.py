"""Every fault against every protocol: nothing wrong is stored as good, and reading resumes.

Many devices in one simulator, read by one collector, each with faults of its own. The simulators
share no code with the collectors and write down what left them, so each stored good value can be
looked up: it must have left that device between the request and the answer, in an answer that was
whole.
"""

import bisect
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from collectors.contract.points import Quality, Sample
from collectors.runtime.testing import RunningCollector
from simulators.testing import RunningSimulator

INTERVAL_S = 0.1
TIMEOUT_S = 0.25
FAULT_S = 1.2
ROUNDS = 3
LEAST_VALUES = 10_000
SLACK = 3
"""A machine that does other work besides is slow; the figures themselves are printed."""
LATE = {"delay_s": 0.3}
"""Longer than the collector waits: the answer to one request comes when the next one is asked."""

FAULTS = {
    "refuse": ("refuse", {}),
    "full": ("max_connections", {"connections": 0}),
    "silent": ("silent", {}),
    "drop": ("drop", {"every": 3}),
    "late": ("delay", LATE),
    "late-sometimes": ("delay", LATE | {"every": 3}),
    "jitter": ("delay", {"delay_s": 0.05, "jitter_s": 0.4}),
    "bytes": ("split", {"chunk_bytes": 1, "pause_s": 0.0005}),
    "pieces": ("split", {"chunk_bytes": 23, "pause_s": 0.02}),
    "close": ("close_before", {"every": 2}),
    "close-after": ("close_after", {}),
    "reset": ("reset", {"every": 3}),
    "truncate": ("truncate", {"every": 2}),
    "garbage": ("garbage", {"every": 2}),
    "exception": ("exception", {"every": 2}),
    "freeze": ("freeze", {}),
    "nan": ("nan", {}),
}
NO_ANSWER = ("refuse", "full", "silent")
"""Faults under which nothing at all is read, so that every point must be told to be bad."""
FRAMED = {
    "duplicate": ("duplicate", {"every": 2}),
    "short": ("short", {"every": 2}),
    "bad-length": ("bad_length", {"every": 2}),
    "wrong-id": ("wrong_id", {"every": 2}),
    "wrong-unit": ("wrong_unit", {"every": 2}),
}
MODBUS = FAULTS | FRAMED | {"wrong-function": ("wrong_function", {"every": 2})}
MC = FAULTS | FRAMED
OPCUA = FAULTS | {
    "bad-quality": ("bad_quality", {}),
    "stuck": ("stuck_time", {}),
    "session": ("session_loss", {}),
    "restart": ("restart", {"pause_s": 0.2}),
}

NUMBERS = ("int64", "float64", "uint32", "float32")
WORDS = {"int64": 4, "float64": 4, "uint32": 2, "float32": 2}


def signals(addresses):
    """Return name, type, address and wave of each signal, which never shows a value twice."""
    found = []
    for number, address in enumerate(addresses):
        kind = NUMBERS[number % 4]
        # A float32 is exact up to 2**24, the 16,000 s of a counter of milliseconds.
        start = number * 100_000 if kind == "float32" else number * 50_000_000
        wave = f'{{kind = "counter", start = {start}, step_s = 0.001}}'
        found.append((f"s{number}", kind, address, wave))
    return found


def words_apart(prefix, count, gap):
    """Return addresses of ``count`` signals; a gap makes the collector ask twice."""
    at, addresses = 0, []
    for number in range(count):
        addresses.append(f"{prefix}{at}")
        at += WORDS[NUMBERS[number % 4]] + (gap if number == count // 2 else 0)
    return addresses


@dataclass(frozen=True)
class Device:
    """A simulated device: its faults, one in each round, and its lines in both files."""

    faults: list
    simulator: str
    collector: str


@dataclass(frozen=True)
class Plant:
    """All devices of one protocol, by id, which have the same signals."""

    protocol: str
    devices: dict
    signals: list
    resumes_within_s: float
    rounds: int


def a_device_each(faults, variants):
    """Return a device for every fault in each variant: name and both lines of it."""
    return {
        f"{name}-{variant}": Device([fault], *lines)
        for variant, lines in variants.items()
        for name, fault in faults.items()
    }


def a_few_devices(faults, variants, count):
    """Return ``count`` devices for each variant that share the faults among them."""
    return {
        f"{variant}{number}": Device(list(faults.values())[number::count], *lines)
        for variant, lines in variants.items()
        for number in range(count)
    }


OPCUA_SERVERS = 3
"""Of each mode; a server takes a second to start."""
RTU = 'framing = "rtu_over_tcp"'
ASCII_4E = 'frame = "4e"\ncode = "ascii"'
PLANTS = {
    "modbus_tcp": Plant(
        "modbus_tcp",
        a_device_each(MODBUS, {"tcp": ("", ""), "rtu": (RTU, RTU)}),
        signals(words_apart("holding:", 100, 60)),
        2.0,
        ROUNDS,
    ),
    "mitsubishi_mc": Plant(
        "mitsubishi_mc",
        a_device_each(MC, {"3e": ('frame = "3e"', 'frame = "3e"'), "4e": (ASCII_4E, ASCII_4E)}),
        signals(words_apart("D", 100, 400)),
        2.0,
        ROUNDS,
    ),
    "opcua": Plant(
        "opcua",
        a_few_devices(
            OPCUA,
            {
                "poll": ("update_s = 0.05", 'mode = "poll"'),
                "subscribe": ("update_s = 0.05", 'mode = "subscribe"'),
            },
            OPCUA_SERVERS,
        ),
        signals([f"ns=2;s=S{number}" for number in range(40)]),
        5.0,
        -(-len(OPCUA) // OPCUA_SERVERS),
    ),
}


def simulator_file(plant):
    lines = [f'protocol = "{plant.protocol}"', "seed = 11"]
    listed = ",\n".join(
        f'{{name = "{name}", type = "{kind}", address = "{address}", wave = {wave}}}'
        for name, kind, address, wave in plant.signals
    )
    for name, device in plant.devices.items():
        lines += ["[[devices]]", f'id = "{name}"', device.simulator]
        if plant.protocol == "modbus_tcp":
            lines.append("[[devices.units]]")
        lines.append(f"signals = [\n{listed}\n]")
    return "\n".join(lines) + "\n"


def collector_file(plant, ports):
    lines = ['name = "line1"', f'protocol = "{plant.protocol}"']
    for name, device in plant.devices.items():
        place = f'host = "127.0.0.1"\nport = {ports[name]}'
        key = "address"
        if plant.protocol == "opcua":
            place, key = f'endpoint = "opc.tcp://127.0.0.1:{ports[name]}"', "node_id"
        lines += ["[[devices]]", f'id = "{name}"', place, device.collector]
        lines.append(f"timeout_s = {TIMEOUT_S}")
        lines.append(f"groups = [{{interval_s = {INTERVAL_S}}}]")
        typed = "" if plant.protocol == "opcua" else 'type = "{kind}", '
        points = ",\n".join(
            f'{{name = "{point}", {typed.format(kind=kind)}{key} = "{address}"}}'
            for point, kind, address, _ in plant.signals
        )
        lines.append(f"points = [\n{points}\n]")
    return "\n".join(lines) + "\n"


@dataclass
class Recording:
    """What one run left behind; times in ns since the Unix epoch."""

    samples: list
    truth: list
    began_ns: list
    ended_ns: list
    met: dict
    """Kinds of faults that each device really had."""


def run(plant, tmp_path):
    simulator_path, collector_path = tmp_path / "sim.toml", tmp_path / "line1.toml"
    simulator_path.write_text(simulator_file(plant))
    began, ended = [], []
    with RunningSimulator(simulator_path, truth=tmp_path / "truth.jsonl") as simulator:
        collector_path.write_text(collector_file(plant, simulator.ports))
        with RunningCollector(collector_path, tmp_path) as collector:
            collector.beat_with(all_read_since(datetime.now(UTC)), 60)
            for number in range(plant.rounds):
                began.append(time.time_ns())
                for name, device in plant.devices.items():
                    kind, options = device.faults[number % len(device.faults)]
                    simulator.fault(kind, device=name, **options)
                time.sleep(FAULT_S)  # the faults act for a known time: nothing to wait for
                simulator.clear()
                ended.append(time.time_ns())
                collector.beat_with(all_read_since(datetime.now(UTC)), 30)
            collector.beat_with(all_read_since(datetime.now(UTC)), 30)
            collector.stop()
        met = {device["id"]: set(device["counters"]["faults"]) for device in simulator.devices()}
        simulator.stop()
        return Recording(collector.samples(), simulator.truth_lines(), began, ended, met)


def all_read_since(at):
    def condition(beat):
        return all(
            c.last_good_at and c.last_good_at > at and c.bad_points == 0 for c in beat.connections
        )

    return condition


class Truth:
    """When each value of each signal left its device in an answer that one may believe."""

    def __init__(self, lines):
        self._times = defaultdict(list)
        for line in lines:
            if "spoilt" in line or line.get("status") or "values" not in line:
                continue
            t_ns = line.get("t_ns", line.get("source_ns"))
            for name, value in line["values"].items():
                self._times[f"{line['device']}/{name}", value].append(t_ns)

    def had(self, sample, earliest_ns, latest_ns):
        times = self._times.get((sample.point, sample.value), ())
        at = bisect.bisect_left(times, earliest_ns)
        return at < len(times) and times[at] <= latest_ns


def wrong(plant, samples, truth):
    """Return the good samples that the device did not have at their time."""
    found = []
    for sample in samples:
        if plant.protocol == "opcua":
            # The server's own time, in whole microseconds.
            window = sample.source_ns - 1000, sample.source_ns + 1000
        else:
            # The middle of request and answer; the clocks of two processes differ by little.
            half_ns = sample.received_ns - sample.source_ns + 2_000_000
            window = sample.source_ns - half_ns, sample.source_ns + half_ns
        if not truth.had(sample, *window):
            found.append(sample)
    return found


def by_device(samples):
    """Return the samples of each device."""
    found = defaultdict(list)
    for sample in samples:
        found[sample.point.partition("/")[0]].append(sample)
    return found


def resumed_after_s(good, ended_ns):
    """Return the longest time from the end of a fault to the next of a device's good samples."""
    times = sorted(sample.received_ns for sample in good)
    after = [bisect.bisect_left(times, at_ns) for at_ns in ended_ns]
    return max((times[at] - at_ns) / 1e9 for at, at_ns in zip(after, ended_ns, strict=True))


def untold_losses(samples, recording):
    """Return the points of a device that a round without any answer left without a bad sample."""
    told = defaultdict(list)
    for sample in samples:
        told[sample.point].append(sample)
    return [
        point
        for began_ns, ended_ns in zip(recording.began_ns, recording.ended_ns, strict=True)
        for point, own in told.items()
        if not any(s.quality.is_bad and began_ns < s.received_ns < ended_ns for s in own)
    ]


@pytest.mark.parametrize("protocol", PLANTS)
def test_no_fault_makes_a_wrong_value_good_and_reading_resumes(protocol, tmp_path):
    plant = PLANTS[protocol]
    recording = run(plant, tmp_path)
    good = [sample for sample in recording.samples if sample.quality is Quality.GOOD]
    assert recording.met == {
        name: {kind for kind, _ in device.faults} for name, device in plant.devices.items()
    }, "a fault was never met"
    assert len(good) >= LEAST_VALUES
    assert wrong(plant, good, Truth(recording.truth)) == []
    samples, good_of = by_device(recording.samples), by_device(good)
    silent = [name for name in plant.devices if name.startswith(NO_ANSWER)]
    assert [untold_losses(samples[name], recording) for name in silent] == [[]] * len(silent)
    resumed = {name: resumed_after_s(good_of[name], recording.ended_ns) for name in plant.devices}
    print(protocol, len(good), "good, of each device", min(map(len, good_of.values())), "or more")
    print("resumed after s:", dict(sorted(resumed.items(), key=lambda entry: -entry[1])[:6]))
    assert max(resumed.values()) <= SLACK * plant.resumes_within_s, resumed


def test_the_check_finds_values_of_another_moment_and_of_spoilt_answers():
    line = {"t_ns": 5_000_000_000, "device": "plc", "unit": 1, "values": {"a": 7, "b": 8}}
    spoilt = line | {"t_ns": 9_000_000_000, "spoilt": ["wrong_id"]}

    def sample(value, at_s):
        at_ns = int(at_s * 1e9)
        times = {"source_ns": at_ns, "received_ns": at_ns + 1_000_000}
        return Sample(point="plc/a", value=value, quality=Quality.GOOD, **times)

    right, other_signal, late, from_spoilt = (
        sample(7, 5.001), sample(8, 5.001), sample(7, 5.1), sample(7, 9.0),
    )  # fmt: skip
    found = wrong(
        PLANTS["modbus_tcp"], [right, other_signal, late, from_spoilt], Truth([line, spoilt])
    )
    assert found == [other_signal, late, from_spoilt]
