"""Print what the data path costs: put into the spool, then store into SQLite.

Run with ``python tests/performance/bench_history.py``. The historian's part is printed beside plain
``sqlite3.executemany`` of the same rows into the same table, measured in turn in the same run, so
that the ratio holds on a busy machine too. Times are medians of five rounds.
"""

import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from collectors.contract.points import Quality, Sample
from collectors.history.dead_letters import DeadLetters
from collectors.history.drain import Drain
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.schema import DAY_TABLES, NS_PER_DAY
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.spool import SpoolWriter
from collectors.history.spool_reader import SpoolReader
from collectors.history.stores import EmbeddedSink

_ROUNDS = 5
_POINTS = 500
_CYCLES = 120
_SAMPLES = _POINTS * _CYCLES
_DAY = "2026-11-23"
_NOON_NS = 1_795_435_200 * 10**9
_CYCLE_NS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one part of one round."""

    wall_s: float
    cpu_s: float


def main() -> None:
    cycles = [_poll_cycle(number, random.Random(number)) for number in range(_CYCLES)]
    puts: list[float] = []
    put_costs: list[Cost] = []
    store_costs: list[Cost] = []
    live_costs: list[Cost] = []
    raw_costs: list[Cost] = []
    spool_bytes = 0
    for _ in range(_ROUNDS):
        with _directory() as home:
            put_costs.append(_measured(lambda: puts.extend(_put(home, cycles))))
            spool_bytes = sum(path.stat().st_size for path in home.rglob("*.seg"))
            store_costs.append(_measured(lambda: _drain(home)))
            live_costs.append(_measured(lambda: _store_each_cycle(home)))
            raw_costs.append(_measured(lambda: _insert_plainly(home / "plain.db", cycles)))
    print(f"{_POINTS} points, {_CYCLES} poll cycles, medians of {_ROUNDS} rounds")
    print(f"put of {_POINTS} samples   {statistics.median(puts) * 1e6:8.0f} us", end="")
    print(f"   99 % below {statistics.quantiles(puts, n=100)[98] * 1e6:.0f} us")
    _print("put", put_costs)
    print(f"{'spool':24}{spool_bytes / _SAMPLES:8.1f} bytes/sample")
    _print("historian into SQLite", store_costs)
    _print("same, cycle by cycle", live_costs)
    _print("plain executemany", raw_costs)
    ratios = [s.wall_s / r.wall_s for s, r in zip(store_costs, raw_costs, strict=True)]
    print(f"{'historian : plain':24}{statistics.median(ratios):8.2f} times the time")
    _print_queries()


def _poll_cycle(number: int, rng: random.Random) -> list[Sample]:
    """Return 60 % slow walks in steps of 0.01, 20 % noise, 10 % counters and 10 % bools."""
    received_ns = _NOON_NS + number * _CYCLE_NS + rng.randrange(5_000_000)
    kinds: tuple[Callable[[int], float], ...] = (
        *[lambda n: round(20 + n % 17 + 0.01 * rng.randrange(-20, 20), 2)] * 6,
        *[lambda n: rng.random() * 100] * 2,
        lambda n: n * 1000 + number,
        lambda n: rng.random() < 0.9,
    )
    return [
        Sample(
            point=f"plc{n // 50}/temperature_zone_{n % 50}",
            value=kinds[n % 10](n),
            quality=Quality.GOOD,
            source_ns=received_ns - 2_000_000 + n // 50 * 100_000,
            received_ns=received_ns + n // 50 * 100_000,
        )
        for n in range(_POINTS)
    ]


def _put(home: Path, cycles: list[list[Sample]]) -> Iterator[float]:
    """Yield the seconds of each put."""
    spool = SpoolWriter(home / "spool" / "line1", max_bytes=10**9, max_age_s=10.0**6)
    for samples in cycles:
        started_s = time.perf_counter()
        spool.put(samples)
        yield time.perf_counter() - started_s
    spool.close()


def _drain(home: Path) -> None:
    store = EmbeddedSink(home / "history")
    letters = DeadLetters(home / "dead")
    drain = Drain("line1", home / "spool" / "line1", store, letters)
    while drain.step():
        pass
    stored = drain.status().ledger.samples_stored
    drain.close()
    store.close()
    if stored != _SAMPLES:
        raise SystemExit(f"{stored} of {_SAMPLES} samples stored")


def _store_each_cycle(home: Path) -> None:
    """Store as in live operation: a transaction a poll cycle, and a sync each tenth."""
    store = EmbeddedStore(home / "history-live")
    reader = SpoolReader(home / "spool" / "line1", "bench")
    for number, record in enumerate(reader.read(_CYCLES)):
        store.append("line1", [record])
        if number % 10 == 0:
            store.sync()
    reader.close()
    store.close()


def _insert_plainly(path: Path, cycles: list[list[Sample]]) -> None:
    """Insert the same rows with as many samples in a transaction, as a script would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        for table in DAY_TABLES:
            connection.execute(table)
        ids = {sample.point: number for number, sample in enumerate(cycles[0])}
        for at in range(0, len(cycles), 40):
            rows = [
                (ids[s.point], s.source_ns, s.value, 4, int(s.quality), s.code, s.received_ns)
                for cycle in cycles[at : at + 40]
                for s in cycle
            ]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO point VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")


def _print_queries() -> None:
    with _directory() as directory:
        path = directory / f"{_DAY}.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            for table in DAY_TABLES:
                connection.execute(table)
            connection.execute("PRAGMA user_version=1")
            connection.execute("INSERT INTO series VALUES (1, 'line1/plc/x')")
            start_ns = _NOON_NS - NS_PER_DAY // 2
            connection.executemany(
                "INSERT INTO point VALUES (1, ?, ?, 4, 0, 0, ?)",
                ((start_ns + n * _CYCLE_NS, n % 977 / 7, start_ns) for n in range(86_400)),
            )
        reader = EmbeddedReader(directory)
        for hours in (1, 24):
            end_ns = start_ns + hours * 3600 * _CYCLE_NS
            ask = partial(reader.range, "line1/plc/x", start_ns, end_ns, buckets=1000)
            costs = [_measured(ask) for _ in range(_ROUNDS)]
            wall_ms = statistics.median(cost.wall_s for cost in costs) * 1e3
            print(f"{f'{hours} h at 1 Hz, 1000 buckets':24}{wall_ms:8.1f} ms")


def _measured(work: Callable[[], object]) -> Cost:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return Cost(wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s)


def _print(what: str, costs: list[Cost]) -> None:
    wall_s = statistics.median(cost.wall_s for cost in costs)
    cpu_s = statistics.median(cost.cpu_s for cost in costs)
    print(
        f"{what:24}{_SAMPLES / wall_s:8,.0f} samples/s"
        f"   {wall_s / _SAMPLES * 1e6:.2f} us/sample"
        f"   {cpu_s / _SAMPLES * 1e6:.2f} us CPU/sample"
    )


@contextmanager
def _directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="bench-history-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
