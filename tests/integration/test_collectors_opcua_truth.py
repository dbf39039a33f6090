"""What is kept is what the simulator's truth log says, through every fault that it has.

One collector polls the simulator as one device and subscribes to it as another.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collectors.contract.heartbeat import Heartbeat
from collectors.contract.points import Quality, Sample
from collectors.runtime.testing import RunningCollector
from simulators.testing import RunningSimulator

FAULTS: dict[str, dict[str, Any]] = {
    "refuse": {},
    "silent": {},
    "drop": {"every": 3},
    "delay": {"delay_s": 0.2, "jitter_s": 0.2},
    "split": {"chunk_bytes": 7, "pause_s": 0.001},
    "close_before": {"every": 5},
    "close_after": {"every": 5},
    "reset": {"every": 5},
    "truncate": {"every": 5},
    "garbage": {"every": 5},
    "exception": {"every": 5},
    "freeze": {},
    "nan": {},
    "bad_quality": {},
    "stuck_time": {},
    "session_loss": {},
    "restart": {"pause_s": 0.5},
}
FAULT_S = 0.5
RECOVERY_S = 5.0
RESTART_S = 4.0
"""The simulator itself needs so long on a busy machine before it listens again."""
CLEAN_S = 2.0
UPDATE_S = 0.05
SIGNALS = {
    "count": ("uint32", '{ kind = "counter", start = 0, step = 1, step_s = 0.01 }'),
    "sine": ("float64", '{ kind = "sine", mean = 20.5, amplitude = 300.25, period_s = 3 }'),
    "single": ("float32", '{ kind = "sine", mean = 1, amplitude = 9, period_s = 2 }'),
    "walk": (
        "int16",
        '{ kind = "random_walk", start = 0, step = 5, step_s = 0.01, low = -900, high = 900 }',
    ),
    "on": ("bool", '{ kind = "square", low = 0, high = 1, period_s = 0.3 }'),
    "text": ("string", '{ kind = "text_list", values = ["运行", "停止"], step_s = 0.2 }'),
}


@dataclass
class Record:
    samples: list[Sample]
    truth: dict[tuple[str, int], set[Any]]
    """Values by signal and source time."""
    clean_until_ns: int
    recoveries_s: dict[str, float]


def simulator_file(folder: Path) -> Path:
    text = f'protocol = "opcua"\nhost = "127.0.0.1"\nport = 0\nseed = 5\nupdate_s = {UPDATE_S}\n'
    text += "control_port = 0\n"
    for name, (kind, wave) in SIGNALS.items():
        text += f'[[signals]]\nname = "{name}"\naddress = "ns=2;s={name}"\n'
        text += f'type = "{kind}"\nwave = {wave}\n'
    file = folder / "plant.toml"
    file.write_text(text, encoding="utf-8")
    return file


def collector_file(folder: Path, port: int) -> Path:
    text = 'name = "line1"\nprotocol = "opcua"\n'
    for mode in ("poll", "subscribe"):
        text += f'[[devices]]\nid = "{mode}"\nmode = "{mode}"\ntimeout_s = 1.0\n'
        text += f'endpoint = "opc.tcp://127.0.0.1:{port}"\n'
        text += f"groups = [{{ interval_s = {UPDATE_S} }}]\n"
        for name in SIGNALS:
            text += f'[[devices.points]]\nname = "{name}"\nnode_id = "ns=2;s={name}"\n'
    file = folder / "line1.toml"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    folder = tmp_path_factory.mktemp("truth")
    simulator = RunningSimulator(simulator_file(folder), truth=folder / "truth.jsonl")
    recoveries_s = {}
    with simulator:
        with RunningCollector(collector_file(folder, simulator.port), folder) as collector:
            collector.reading()
            until_ns = time.time_ns() + int(CLEAN_S * 1e9)
            collector.beat_with(lambda beat: beat.sent_at.timestamp() * 1e9 > until_ns)
            for kind, options in FAULTS.items():
                simulator.fault(kind, **options)
                time.sleep(FAULT_S)
                simulator.clear()
                recoveries_s[kind] = recovery_s(collector)
            collector.stop()
        simulator.stop()
        yield Record(collector.samples(), truth_of(simulator), until_ns, recoveries_s)


def recovery_s(collector: RunningCollector) -> float:
    """Return how long it took until both devices had new good values of all points."""
    cleared = time.monotonic()
    cleared_at = time.time()

    def is_well(beat: Heartbeat) -> bool:
        return all(
            c.is_connected
            and c.bad_points == 0
            and c.last_good_at is not None
            and c.last_good_at.timestamp() > cleared_at
            for c in beat.connections
        )

    collector.beat_with(is_well, 20.0)
    return time.monotonic() - cleared


def truth_of(simulator: RunningSimulator) -> dict[tuple[str, int], set[Any]]:
    truth = defaultdict(set)
    for line in simulator.truth_lines():
        if "status" not in line:
            for name, value in line["values"].items():
                truth[name, line["source_ns"]].add(value)
    return dict(truth)


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_no_value_is_kept_as_good_that_was_not_served(record: Record, mode: str) -> None:
    good = [
        sample
        for sample in record.samples
        if sample.point.startswith(f"{mode}/") and sample.quality is Quality.GOOD
    ]
    assert len(good) > 1000
    wrong = [
        sample
        for sample in good
        if sample.value
        not in record.truth.get((sample.point.partition("/")[2], sample.source_ns), ())
    ]
    assert wrong == []


def test_a_subscription_keeps_every_change(record: Record) -> None:
    for name in ("count", "sine", "walk"):
        kept = {
            sample.source_ns
            for sample in record.samples
            if sample.point == f"subscribe/{name}" and sample.received_ns < record.clean_until_ns
        }
        first, last = min(kept), max(kept)
        served = {at for signal, at in record.truth if signal == name and first <= at <= last}
        changed = {
            at
            for before, at in zip(sorted(served), sorted(served)[1:], strict=False)
            if record.truth[name, before] != record.truth[name, at]
        }
        assert len(changed) > 20
        assert changed - kept == set()


@pytest.mark.parametrize("kind", FAULTS)
def test_reading_goes_on_soon_after_a_fault(record: Record, kind: str) -> None:
    patience_s = RECOVERY_S + (RESTART_S if kind == "restart" else 0.0)
    assert record.recoveries_s[kind] < patience_s


def test_every_outage_leaves_its_mark(record: Record) -> None:
    for mode in ("poll", "subscribe"):
        bad = {s.quality for s in record.samples if s.point == f"{mode}/sine" and s.value is None}
        assert {Quality.BAD_COMM, Quality.BAD_TIMEOUT, Quality.BAD_RANGE} <= bad
        assert {Quality.BAD_DEVICE} <= bad
