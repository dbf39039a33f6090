"""Every fault against every protocol: nothing wrong is stored as good, and reading resumes.

Many devices in one simulator, read by one collector, each with faults of its own. The simulators
share no code with the collectors and write down what left them, so each stored good value can be
looked up: it must have left that device between the request and the answer, in an answer that was
whole.
"""

import bisect
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from fault_plants import FAULTS, NO_ANSWER, PLANTS, collector_file, simulator_file
from truth_check import Truth, wrong

from collectors.contract.points import Quality, Sample
from collectors.runtime.testing import RunningCollector
from simulators.testing import RunningSimulator

LEAST_READS = 10_000
"""Of points while each fault acts; and so many good values of the same devices, all right."""
MOST_ROUNDS = 3
"""So many times as planned, on a machine that is too slow for so many reads."""
PATIENCE_S = 120.0
MARGIN_S = 1.0
"""A machine that does other work besides is slow; the figures themselves are printed."""


@dataclass
class Recording:
    """What one run left behind; times in ns since the Unix epoch."""

    samples: list = field(default_factory=list)
    truth: list = field(default_factory=list)
    began_ns: list = field(default_factory=list)
    ended_ns: list = field(default_factory=list)
    met: dict = field(default_factory=dict)
    """Kinds of faults that each device really had."""
    failures: list = field(default_factory=list)
    """Of each round: by device, the cycles in which not every point could be read."""


def run(plant, tmp_path):
    simulator_path, collector_path = tmp_path / "sim.toml", tmp_path / "line1.toml"
    simulator_path.write_text(simulator_file(plant))
    recording = Recording()
    with RunningSimulator(simulator_path, truth=tmp_path / "truth.jsonl") as simulator:
        collector_path.write_text(collector_file(plant, simulator.ports))
        with RunningCollector(collector_path, tmp_path) as collector:
            collector.beat_with(all_read_since(datetime.now(UTC)), PATIENCE_S)
            for number in range(MOST_ROUNDS * plant.rounds):
                if number >= plant.rounds and has_enough(plant, recording, collector.samples()):
                    break
                meet_faults(plant, number, simulator, collector, recording)
            collector.stop()
        recording.met = {
            device["id"]: set(device["counters"]["faults"]) for device in simulator.devices()
        }
        simulator.stop()
        recording.samples = collector.samples()
        recording.truth = simulator.truth_lines()
    return recording


def meet_faults(plant, number, simulator, collector, recording):
    before = collector.beat_with(all_read_since(datetime.now(UTC)), PATIENCE_S)
    recording.began_ns.append(time.time_ns())
    for name, kind, options in plant.faults_in(number):
        simulator.fault(kind, device=name, **options)
    time.sleep(plant.fault_s)  # the faults act for a known time: nothing to wait for
    recording.failures.append(connection_errors(collector.beat()) - connection_errors(before))
    simulator.clear()
    recording.ended_ns.append(time.time_ns())
    collector.beat_with(all_read_since(datetime.now(UTC)), PATIENCE_S)
    time.sleep(plant.calm_s)  # what is left of a fault may show later


def connection_errors(beat):
    return Counter({c.device_id: c.connection_errors for c in beat.connections})


def all_read_since(at):
    def condition(beat):
        return all(
            c.last_good_at and c.last_good_at > at and c.bad_points == 0 for c in beat.connections
        )

    return condition


def by_device(samples):
    """Return the samples of each device."""
    found = defaultdict(list)
    for sample in samples:
        found[sample.point.partition("/")[0]].append(sample)
    return found


@dataclass
class Tally:
    """What was read of all devices that had one fault.

    Attributes:
        reads: Points that were due while it acted: told as good, uncertain or bad, or due in a
            cycle that failed while they were bad already.
        good: Of them, told as good.
        failed: Cycles that failed.
        checked: Good values of these devices that were looked up, also after the fault.
        resumed_s: The longest time from the end of the fault to the next good value, of devices
            that are asked again as by default.
    """

    reads: int = 0
    good: int = 0
    failed: int = 0
    checked: int = 0
    resumed_s: float = 0.0


def tallies(plant, recording, samples):
    """Return the tally of each fault."""
    found = {fault: Tally() for fault in FAULTS[plant.protocol]}
    good = by_device([sample for sample in samples if sample.quality is Quality.GOOD])
    good_ns = {name: times_of(good[name]) for name in plant.devices}
    told = by_device(samples)
    told_ns = {name: times_of(told[name]) for name in plant.devices}
    ends = [*recording.began_ns[1:], time.time_ns()]
    for number, (began, ended) in enumerate(
        zip(recording.began_ns, recording.ended_ns, strict=True)
    ):
        for name, device in plant.devices.items():
            tally = found[device.fault_in(number)]
            failed = recording.failures[number][name]
            tally.failed += failed
            tally.good += between(good_ns[name], began, ended)
            tally.reads += between(told_ns[name], began, ended) + failed * device.variant.points
            tally.checked += between(good_ns[name], began, ends[number])
            if not device.variant.eager:
                tally.resumed_s = max(tally.resumed_s, resumed_after_s(good_ns[name], ended))
    return found


def too_few(found):
    return {
        fault: tally
        for fault, tally in found.items()
        if min(tally.reads, tally.checked) < LEAST_READS
    }


def has_enough(plant, recording, samples):
    return not too_few(tallies(plant, recording, samples))


def times_of(samples):
    return sorted(sample.received_ns for sample in samples)


def between(times, first, last):
    return bisect.bisect_left(times, last) - bisect.bisect_left(times, first)


def resumed_after_s(times, ended_ns):
    return (times[bisect.bisect_left(times, ended_ns)] - ended_ns) / 1e9


def show(plant, found):
    print(f"\n{plant.protocol}: fault, reads while it acted, good of them, failed cycles,")
    print("good values looked up, seconds until values came again")
    for fault, tally in found.items():
        print(
            f"  {fault:15} {tally.reads:7} {tally.good:7} {tally.failed:5}"
            f" {tally.checked:7} {tally.resumed_s:6.2f}"
        )


def untold_losses(plant, recording, samples):
    """Return the points that a round without any answer left without a bad sample."""
    found = []
    for number, (began_ns, ended_ns) in enumerate(
        zip(recording.began_ns, recording.ended_ns, strict=True)
    ):
        for name, device in plant.devices.items():
            if device.fault_in(number) not in NO_ANSWER:
                continue
            told = {
                s.point
                for s in samples[name]
                if s.quality.is_bad and began_ns < s.received_ns < ended_ns
            }
            found += {s.point for s in samples[name]} - told
    return found


def silences(plant, samples):
    """Return the points of which a good value was the last word for too long, and for how long."""
    found = {}
    for name, device in plant.devices.items():
        longest_s = plant.interval_s + 2 * device.variant.timeout_s + MARGIN_S
        last = {}
        for sample in sorted(samples[name], key=lambda sample: sample.received_ns):
            before = last.get(sample.point)
            if before is not None and before.quality is Quality.GOOD:
                silent_s = (sample.received_ns - before.received_ns) / 1e9
                if silent_s > longest_s:
                    found[sample.point] = silent_s
            last[sample.point] = sample
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("protocol", PLANTS)
def test_no_fault_makes_a_wrong_value_good_and_reading_resumes(protocol, tmp_path):
    plant = PLANTS[protocol]
    recording = run(plant, tmp_path)
    good = [sample for sample in recording.samples if sample.quality is Quality.GOOD]
    kinds = FAULTS[protocol]
    assert recording.met == {
        name: {kinds[fault][0] for fault in device.faults} for name, device in plant.devices.items()
    }, "a fault was never met"
    assert wrong(protocol, good, Truth(recording.truth)) == []
    found = tallies(plant, recording, recording.samples)
    show(plant, found)
    samples = by_device(recording.samples)
    assert untold_losses(plant, recording, samples) == []
    assert silences(plant, samples) == {}
    assert too_few(found) == {}
    slow = {fault: tally.resumed_s for fault, tally in found.items()}
    assert max(slow.values()) <= plant.resumes_within_s + MARGIN_S, slow


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
    found = wrong("modbus_tcp", [right, other_signal, late, from_spoilt], Truth([line, spoilt]))
    assert found == [other_signal, late, from_spoilt]
