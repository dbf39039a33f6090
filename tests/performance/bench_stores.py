"""Print what storing into time series servers costs, and how an outage of 5 minutes ends.

Run with ``python tests/performance/bench_stores.py``. Needs VictoriaMetrics, and for one part
InfluxDB 1.6, see ``.ci/system.sh``. The sink stands beside influxdb-client's own batching of the
same points into the same server, measured in turn in the same run, so that the ratio holds on a
busy machine too. Figures are medians of three rounds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from engines import InfluxOne, VictoriaMetrics, find_engine, get, shim_before
from influxdb_client import InfluxDBClient, Point, WriteOptions
from influxdb_client.domain.write_precision import WritePrecision

from collectors.contract.columns import Columns, Runs
from collectors.contract.historian_status import LedgerStatus, read_historian_status
from collectors.history.clocks import Clocks
from collectors.history.dead_letters import DeadLetters
from collectors.history.drain import Drain
from collectors.history.influx import InfluxStore, InfluxTarget
from collectors.history.promql import PromqlReader
from collectors.history.spool import SpoolWriter
from collectors.history.store import Store
from collectors.history.victoria import VictoriaStore
from collectors.history.victoria_http import VictoriaHttp

_ROUNDS = 3
_POINTS = 500
_RECORDS = 400
_SAMPLES = _POINTS * _RECORDS
_OUTAGE_S = 300
_RATE = 10_000
_BEFORE = 600
_SUSTAINED_S = 15.0
_NAMES = tuple(f"plc{n // 50}/temperature_zone_{n % 50}" for n in range(_POINTS))
_GOOD = bytes(_POINTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one part of one round."""

    wall_s: float
    cpu_s: float


def main() -> None:
    if find_engine("victoria-metrics") is None:
        raise SystemExit("no victoria-metrics here; run .ci/system.sh")
    with _directory() as directory, _victoria(directory / "vm") as engine:
        target = InfluxTarget(url=engine.url)
        _compare("VictoriaMetrics", directory, target, lambda: VictoriaStore("vm", target))
    if find_engine("influxd") is not None:
        with _directory() as directory:
            _compare_influx(directory)
    with _directory() as directory:
        _outage(directory)
    with _directory() as directory, _victoria(directory / "vm") as engine:
        _sustain(directory, f"embedded: vm+{engine.url}")


def _compare_influx(directory: Path) -> None:
    engine = InfluxOne(directory / "influx")
    engine.start()
    get(f"{engine.url}/query", b"q=CREATE%20DATABASE%20plant")
    shim = shim_before(engine)
    try:
        target = InfluxTarget(url=shim.url, org="o", bucket="plant", token="t")
        name = "InfluxDB 1.6 behind a shim in Python"
        _compare(name, directory, target, lambda: InfluxStore("influx", target))
    finally:
        shim.close()
        engine.kill()


def _compare(
    name: str, directory: Path, target: InfluxTarget, open_store: Callable[[], Store]
) -> None:
    """Drain a spool into the server, and write the same points by the client's own batching."""
    print(f"\n{name}: {_SAMPLES} points, medians of {_ROUNDS} rounds")
    ours: list[Cost] = []
    theirs: list[Cost] = []
    for number in range(_ROUNDS):
        home = directory / str(number)
        start_ns = time.time_ns() - 3600 * 10**9
        _fill(home / "spool" / "line1", _RECORDS, start_ns, 10**9)
        ours.append(_measured(lambda home=home: _drain(home, open_store())))
        theirs.append(_measured(lambda at=start_ns: _write_by_points(target, at)))
    _print("spool to server, our sink", ours)
    _print("influxdb-client, batching", theirs)
    ratios = [t.wall_s / o.wall_s for t, o in zip(theirs, ours, strict=True)]
    print(f"{'ours is faster by':28}{statistics.median(ratios):8.1f} times")


def _outage(directory: Path) -> None:
    """Store 5 minutes of 10,000 points a second that came while the server was away."""
    print(f"\nafter an outage of {_OUTAGE_S} s at {_RATE} points/s")
    engine = VictoriaMetrics(directory / "vm")
    engine.start()
    with (directory / "output").open("wb") as output:
        historian = _historian(directory, f"vm+{engine.url}", output)
    spool = _Spool(directory / "spool" / "line1")
    records = _OUTAGE_S * _RATE // _POINTS
    start_ns = time.time_ns() - _OUTAGE_S * 10**9
    step_ns = _OUTAGE_S * 10**9 // records
    try:
        with_server = _put(spool, _BEFORE, start_ns - _BEFORE * step_ns, step_ns)
        _wait(lambda: _ledger(directory).records_stored == _BEFORE)
        engine.kill()
        before_mb = _rss_mb(historian)
        without = _put(spool, records, start_ns, step_ns)
        time.sleep(3.0)
        print(f"{'put of 500, server up':28}{_p99_us(with_server):8.0f} us at 99 %")
        print(f"{'put of 500, server down':28}{_p99_us(without):8.0f} us at 99 %")
        print(f"{'historian, server up':28}{before_mb:8.0f} MB")
        print(f"{'historian, server down':28}{_rss_mb(historian):8.0f} MB")
        engine.start()
        _recover(directory, engine, spool, start_ns + _OUTAGE_S * 10**9)
        print(f"{'historian, afterwards':28}{_rss_mb(historian):8.0f} MB")
        engine.flush()
        shown = sum(len(series["values"]) for series in engine.export())
        print(f"{'points missing':28}{(_BEFORE + records + 1) * _POINTS - shown:8}")
    finally:
        historian.terminate()
        historian.wait(10)
        spool.writer.close()
        engine.kill()


def _recover(home: Path, engine: VictoriaMetrics, spool: "_Spool", end_ns: int) -> None:
    """Print how long it takes until the present is shown, and until all is stored."""
    _wait(lambda: _ledger(home).records_stored > _BEFORE)
    started_s = time.monotonic()
    _put(spool, 1, time.time_ns(), 0)
    print(f"{'live value shown after':28}{_until_shown(engine, end_ns):8.1f} s")
    _wait(lambda: _ledger(home).records_queued == 0, 300)
    took_s = time.monotonic() - started_s
    print(f"{'backlog stored after':28}{took_s:8.1f} s", end="")
    print(f"   {_OUTAGE_S / took_s:.0f} times as fast as it came")


def _sustain(home: Path, stores: str) -> None:
    """Store what 8 collectors put at 100,000 points a second into two stores at once."""
    collectors, cycle_s = 8, _POINTS * 8 / 100_000
    print(f"\n{collectors} collectors, 100000 points/s, embedded store and VictoriaMetrics")
    spools = [_Spool(home / "spool" / f"line{n}") for n in range(collectors)]
    with (home / "output").open("wb") as output:
        historian = _historian(home, stores, output)
    process = psutil.Process(historian.pid)
    lags_s: list[float] = []
    try:
        _wait(lambda: read_historian_status(home / "run") is not None)
        begun_mono, begun_cpu_s = time.monotonic(), sum(process.cpu_times()[:2])
        cycles = int(_SUSTAINED_S / cycle_s)
        for cycle in range(cycles):
            for spool in spools:
                _put(spool, 1, time.time_ns(), 0)
            lags_s += _lags_s(home) if cycle % 25 == 0 else []
            time.sleep(max(0.0, begun_mono + (cycle + 1) * cycle_s - time.monotonic()))
        wall_s = time.monotonic() - begun_mono
        cpu = (sum(process.cpu_times()[:2]) - begun_cpu_s) / wall_s
        print(f"{'points/s put':28}{cycles * collectors * _POINTS / wall_s:8.0f}")
        print(f"{'historian':28}{cpu * 100:8.0f} % of one core, {_rss_mb(historian):.0f} MB")
        print(f"{'behind, worst of both':28}{max(lags_s):8.2f} s")
    finally:
        historian.terminate()
        historian.wait(10)
        for spool in spools:
            spool.writer.close()


def _lags_s(home: Path) -> list[float]:
    status = read_historian_status(home / "run")
    stores = status.collectors.values() if status else ()
    return [ledger.lag_s for by_store in stores for ledger in by_store.values()]


def _historian(home: Path, stores: str, output: IO[bytes]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "collectors", "historian", "--home", str(home)]
    environment = os.environ | {"DAQ_STORES": stores}
    return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def _until_shown(engine: VictoriaMetrics, newer_than_ns: int) -> float:
    started_s = time.monotonic()
    series = f"line1/{_NAMES[0]}"
    reader = PromqlReader(VictoriaHttp(engine.url))

    def is_shown() -> bool:
        found = reader.latest([series]).get(series)
        return found is not None and found.source_ns > newer_than_ns

    _wait(is_shown)
    return time.monotonic() - started_s


class _Spool:
    """A spool whose records are as old as their samples."""

    def __init__(self, directory: Path) -> None:
        self.now_ns = time.time_ns()
        self.writer = SpoolWriter(
            directory,
            max_bytes=10**9,
            max_age_s=10.0**6,
            clocks=Clocks(wall_ns=lambda: self.now_ns),
        )


def _fill(directory: Path, records: int, start_ns: int, step_ns: int) -> None:
    spool = _Spool(directory)
    _put(spool, records, start_ns, step_ns)
    spool.writer.close()


def _put(spool: "_Spool", records: int, start_ns: int, step_ns: int) -> list[float]:
    """Put records of 500 floats; return the seconds of each put."""
    took = []
    for number in range(records):
        at_ns = spool.now_ns = start_ns + number * step_ns
        values = array("d", [20 + n % 17 + (number * 7 + n) % 100 / 100 for n in range(_POINTS)])
        columns = Columns(
            points=_NAMES,
            values=values,
            qualities=_GOOD,
            source_ns=Runs([(at_ns, _POINTS)]),
            received_ns=Runs([(at_ns + 10**6, _POINTS)]),
        )
        started_s = time.perf_counter()
        spool.writer.put_columns(columns)
        took.append(time.perf_counter() - started_s)
    return took


def _drain(home: Path, store: Store) -> None:
    drain = Drain("line1", home / "spool" / "line1", store, DeadLetters(home / "dead"))
    while drain.step() or drain.step_backlog():
        pass
    stored = drain.status().ledger.samples_stored
    drain.close()
    store.close()
    if stored != _SAMPLES:
        raise SystemExit(f"{stored} of {_SAMPLES} samples stored")


def _write_by_points(target: InfluxTarget, start_ns: int) -> None:
    """Write as the client's documentation shows, with 5,000 points a request."""
    client = InfluxDBClient(url=target.url, token="t", org=target.org or "o")
    options = WriteOptions(batch_size=5_000, flush_interval=1_000)
    with client, client.write_api(write_options=options) as api:
        for number in range(_RECORDS):
            at_ns = start_ns + number * 10**9
            for n, point in enumerate(_NAMES):
                device, _, name = point.partition("/")
                value = 20 + n % 17 + (number * 7 + n) % 100 / 100
                api.write(
                    bucket=target.bucket,
                    record=Point("peer")
                    .tag("collector", "line1")
                    .tag("device", device)
                    .tag("point", name)
                    .field("float", value)
                    .time(at_ns, WritePrecision.NS),
                )


def _measured(work: Callable[[], None]) -> Cost:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return Cost(wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s)


def _print(name: str, costs: list[Cost]) -> None:
    wall_s = statistics.median(cost.wall_s for cost in costs)
    cpu_s = statistics.median(cost.cpu_s for cost in costs)
    print(f"{name:28}{_SAMPLES / wall_s:8.0f} points/s", end="")
    print(f"   {cpu_s / _SAMPLES * 1e6:.2f} us of CPU a point here")


def _p99_us(took_s: list[float]) -> float:
    return statistics.quantiles(took_s, n=100)[98] * 1e6


def _rss_mb(process: "subprocess.Popen[bytes]") -> float:
    return float(psutil.Process(process.pid).memory_info().rss) / 2**20


def _ledger(home: Path) -> LedgerStatus:
    status = read_historian_status(home / "run")
    stores = status.collectors.get("line1", {}) if status else {}
    return next(iter(stores.values()), LedgerStatus())


def _wait(condition: Callable[[], bool], deadline_s: float = 60.0) -> None:
    deadline_mono = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline_mono:
            raise SystemExit(f"not within {deadline_s} s")
        time.sleep(0.02)


@contextmanager
def _victoria(directory: Path) -> Iterator[VictoriaMetrics]:
    engine = VictoriaMetrics(directory)
    engine.start()
    try:
        yield engine
    finally:
        engine.kill()


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="daq-bench-") as path:
        yield Path(path)


if __name__ == "__main__":
    main()
