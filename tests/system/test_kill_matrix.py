"""Nothing that a collector acknowledged is lost, whichever part is killed, or shown twice.

A whole installation with two collectors stores into the embedded store and into a VictoriaMetrics.
Collectors, historian, control plane, supervisord and VictoriaMetrics get SIGKILL at random moments.
What was acknowledged is in the spools, of which every segment is linked elsewhere as it is begun;
at the end each store must show exactly that.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from engines import VictoriaMetrics, find_engine
from installation import Installation, wait_for

from collectors.contract.historian_status import HistorianStatus, read_historian_status
from collectors.contract.points import Sample, series_key
from collectors.contract.store_urls import parse_stores
from collectors.history.read import HistoryReader
from collectors.history.readers import open_reader
from collectors.history.spool_reader import SpoolReader
from simulators.testing import RunningSimulator

pytestmark = [
    pytest.mark.supervisord,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        find_engine("victoria-metrics") is None,
        reason="no victoria-metrics here; .ci/system.sh fetches it from Debian",
    ),
]

_SEED = 20261123
_NAMES = ("line1", "line2")
# A collector that crashes for the fourth time in ten minutes is quarantined, and waits before that.
_KILLS = {
    "line1": 2,
    "line2": 2,
    "historian": 6,
    "store": 6,
    "control plane": 4,
    "supervisord": 2,
}
_FOREVER_NS = 2**62
_MS = 10**6
_SIMULATED = """
protocol = "modbus_tcp"
[[units]]
[[units.signals]]
name = "level"
type = "int16"
address = "holding:0"
wave = {kind = "sine", mean = 0, amplitude = 30000, period_s = 7.0}
[[units.signals]]
name = "count"
type = "uint16"
address = "holding:10"
wave = {kind = "counter", step = 1, step_s = 0.1}
"""
_COLLECTOR = """
name = "NAME"
protocol = "modbus_tcp"
[[devices]]
id = "plc"
host = "127.0.0.1"
port = PORT
groups = [{id = "fast", interval_s = 0.05}]
points = [
    {name = "level", type = "int16", address = "holding:0", group = "fast"},
    {name = "count", type = "uint16", address = "holding:10", group = "fast"},
]
"""


@dataclass
class StoringInstallation(Installation):
    """Stores into the stores of its own."""

    stores: str = ""

    @property
    def environment(self) -> dict[str, str]:
        store = parse_stores(self.stores)[-1].name
        return super().environment | {"DAQ_STORES": self.stores, "DAQ_READER": store}


class Audit:
    """Keeps every segment of the spools under a second name, so that none is ever gone."""

    def __init__(self, home: Path, directory: Path) -> None:
        self._spools = home / "spool"
        self.directory = directory
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.link()

    def link(self) -> None:
        for segment in self._spools.glob("*/*.seg"):
            kept = self.directory / segment.parent.name / segment.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            # A segment that has gone since it was listed was linked before.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(segment, kept)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def acknowledged(self) -> dict[str, list[Sample]]:
        """Return all that was put, by series, in order of time."""
        found: dict[str, list[Sample]] = defaultdict(list)
        for name in _NAMES:
            reader = SpoolReader(self.directory / name, "audit")
            for record in reader.read(10**9, max_samples=10**9):
                for sample in record.batch.samples():
                    found[series_key(name, sample.point)].append(sample)
            reader.close()
        return {series: sorted(all_, key=lambda s: s.source_ns) for series, all_ in found.items()}


@dataclass
class Matrix:
    """The installation and what may be killed in it."""

    installation: StoringInstallation
    store: VictoriaMetrics
    rng: random.Random
    killed: Counter[str] = field(default_factory=Counter)

    def pid_of(self, target: str) -> int | None:
        """Return the process to kill, ``None`` if it is down already."""
        home = self.installation.home
        if target == "supervisord":
            return int((home / "run" / "supervisord.pid").read_text())
        wanted = {
            "historian": ["historian", "--home", str(home)],
            "control plane": ["control_plane", "serve"],
        }.get(target, ["run", str(home / "collectors.d" / f"{target}.toml")])
        for process in self.installation.processes_left():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if all(any(part in word for word in words) for part in wanted):
                    return int(process.pid)
        return None

    def kill(self, target: str) -> None:
        if target == "store":
            self.store.kill()
            time.sleep(self.rng.uniform(0.0, 1.0))  # it stays away for a while
            self.store.start()
        else:
            pid = wait_for(lambda: self.pid_of(target), f"a {target} to kill", 30.0)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.killed[target] += 1
        if target == "supervisord":
            runner = self.installation.runner
            assert runner is not None
            runner.wait(20)
            for orphan in ("control plane", "historian"):
                wait_for(
                    lambda orphan=orphan: self.pid_of(orphan) is None,
                    f"{orphan} ends without supervisord",
                    30.0,
                )
            self.installation.start()

    def status(self) -> HistorianStatus | None:
        return read_historian_status(self.installation.home / "run")

    def is_drained(self) -> bool:
        """Tell whether both stores have confirmed all of both collectors."""
        status = self.status()
        if status is None or not psutil.pid_exists(status.pid):
            return False
        ledgers = [ledger for stores in status.collectors.values() for ledger in stores.values()]
        return len(ledgers) == 2 * len(_NAMES) and all(
            ledger.records_queued == 0 and ledger.queued_bytes == 0 for ledger in ledgers
        )


@pytest.fixture
def matrix(make_installation: Callable[..., Installation], tmp_path: Path) -> Iterator[Matrix]:
    (tmp_path / "plc.toml").write_text(_SIMULATED)
    store = VictoriaMetrics(tmp_path / "vm")
    made = make_installation()
    installation = StoringInstallation(made.home, made.port, stores=f"embedded: vm+{store.url}")
    with RunningSimulator(tmp_path / "plc.toml") as device:
        (installation.home / "collectors.d").mkdir(parents=True)
        for name in _NAMES:
            text = _COLLECTOR.replace("NAME", name).replace("PORT", str(device.port))
            (installation.home / "collectors.d" / f"{name}.toml").write_text(text)
        try:
            store.start()
            installation.start()
            yield Matrix(installation, store, random.Random(_SEED))
        finally:
            installation.stop()
            store.kill()


def shown(reader: HistoryReader, series: str) -> list[Sample]:
    return list(reader.range(series, 0, _FOREVER_NS, buckets=None).samples)


def facts(samples: list[Sample], resolution_ns: int) -> list[tuple[object, ...]]:
    return [
        (s.source_ns // resolution_ns * resolution_ns, s.value, s.quality, s.code) for s in samples
    ]


def test_every_acknowledged_sample_is_shown_once_by_both_stores_after_22_kills(
    matrix: Matrix, tmp_path: Path
) -> None:
    installation = matrix.installation
    audit = Audit(installation.home, tmp_path / "audit")
    try:
        targets = [target for target, count in _KILLS.items() for _ in range(count)]
        matrix.rng.shuffle(targets)
        for target in targets:
            time.sleep(matrix.rng.uniform(0.3, 2.0))  # the moment of the kill is what varies here
            matrix.kill(target)
        for name in _NAMES:
            wait_for(lambda name=name: matrix.pid_of(name), f"{name} runs again", 30.0)
        installation.stop()
        installation.start()
        # Both collectors have ended, so all that is to be stored is there.
        for name in _NAMES:
            assert installation.run("stop", name).returncode == 0
        sent = time.time()
        wait_for(
            lambda: (
                matrix.is_drained() and (matrix.status() or None).sent_at.timestamp() > sent + 1
            ),
            "all is stored",
            60.0,
        )
    finally:
        audit.stop()
    audit.link()
    assert sum(matrix.killed.values()) == sum(_KILLS.values()) >= 20
    matrix.store.flush()
    acknowledged = audit.acknowledged()
    assert len(acknowledged) == 2 * len(_NAMES)
    assert sum(map(len, acknowledged.values())) > 500
    stores = parse_stores(installation.stores)
    for url, resolution_ns in zip(stores, (1, _MS), strict=True):
        reader = open_reader(url, installation.home)
        for series, samples in acknowledged.items():
            found = facts(shown(reader, series), resolution_ns)
            expected = facts(samples, resolution_ns)
            missing = len(set(expected) - set(found))
            assert missing == 0, f"{url.name}: {missing} of {len(expected)} of {series} are missing"
            assert found == expected, f"{url.name}: {series} shows more than was put, or twice"
    chart = installation.request("/api/v1/history?series=line1/plc/count&from=-1h&to=now&buckets=9")
    assert sum(row[4] for row in chart["rows"]) == len(acknowledged["line1/plc/count"])
    status = matrix.status()
    assert status is not None
    for ledgers in status.collectors.values():
        for ledger in ledgers.values():
            assert ledger.missing == 0
            assert ledger.records_dropped == ledger.records_dead == 0
