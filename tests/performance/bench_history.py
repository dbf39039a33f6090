"""Print what the data path costs: put into the spool, store, query, start with a backlog.

Run with ``python tests/performance/bench_history.py [--points N]``. 500 points are read once a
second in five poll groups: 60 % slow walks in steps of 0.01, 20 % noise, 10 % counters, 10 % bools.
The store is printed beside plain SQLite rows of the same samples in the same run, so that the
ratio holds on a busy machine too. Only the store's own work is timed, not the making of samples.
"""

import argparse
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from collectors.contract.columns import Columns, Runs
from collectors.contract.points import Value, series_key
from collectors.history.batch import decode
from collectors.history.columns import INLINE, PointTable, batch_body, encode_columns
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.segment import Position, segment_path
from collectors.history.spool import SpoolWriter
from collectors.history.spool_reader import Record, SpoolReader
from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import running
from control_plane.settings import load_settings

_GROUPS = 5
_POINTS = 100
_A_CYCLE = _GROUPS * _POINTS
_CYCLES_A_BATCH = 40
_START_NS = 1_795_435_200 * 10**9
_S = 10**9
_QUESTIONS = 200
_TABLES = [
    PointTable(f"plc{group}/temperature_zone_{n}" for n in range(_POINTS))
    for group in range(_GROUPS)
]
_SERIES = [series_key("line1", point) for table in _TABLES for point in table.points]


class Plant:
    """Makes the readings of one poll after the other."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)
        self._walks = np.full((_GROUPS, 60), 20.0)
        self._counts = np.zeros((_GROUPS, 10), np.int64)
        self.cycle = 0

    def polls(self) -> list[Columns]:
        """Return the next poll of every group."""
        rng, at_ns = self._rng, _START_NS + self.cycle * _S
        self.cycle += 1
        self._walks += rng.integers(-2, 3, (_GROUPS, 60)) * 0.01
        self._counts += rng.integers(0, 20, (_GROUPS, 10))
        return [self._poll(group, at_ns + int(rng.integers(5_000_000))) for group in range(_GROUPS)]

    def _poll(self, group: int, at_ns: int) -> Columns:
        values: list[Value | None] = [
            *np.round(self._walks[group], 2).tolist(),
            *(self._rng.random(20) * 100).tolist(),
            *self._counts[group].tolist(),
            *(self._rng.random(10) < 0.9).tolist(),
        ]
        return Columns(
            points=_TABLES[group].points,
            values=values,
            qualities=bytes(_POINTS),
            source_ns=Runs([(at_ns, _POINTS)]),
            received_ns=Runs([(at_ns + 2_345_678, _POINTS)]),
        )


@dataclass(slots=True)
class Cost:
    """What some work has cost so far; bytes are those passed to ``write``."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    written_bytes: int = 0
    steps_s: list[float] = field(default_factory=list)

    @contextmanager
    def adding(self) -> Iterator[None]:
        wall_s, cpu_s, written = time.perf_counter(), time.process_time(), _written_bytes()
        yield
        self.steps_s.append(time.perf_counter() - wall_s)
        self.wall_s += self.steps_s[-1]
        self.cpu_s += time.process_time() - cpu_s
        self.written_bytes += _written_bytes() - written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=5_000_000, help="samples to store")
    cycles = max(_CYCLES_A_BATCH, parser.parse_args().points // _A_CYCLE)
    with _directory() as home:
        _bench_put(home)
        _bench_start(home)
    with _directory() as home:
        _bench_store(home, cycles)


def _bench_put(home: Path) -> None:
    plant = Plant()
    polls = [poll for _ in range(100) for poll in plant.polls()]
    samples = [poll.samples() for poll in polls]
    floats = array("d", np.round(np.random.default_rng(2).random(_POINTS), 2))
    whole = [
        Columns(
            points=poll.points,
            values=floats,
            qualities=poll.qualities,
            source_ns=poll.source_ns,
            received_ns=poll.received_ns,
        )
        for poll in polls
    ]
    some = [sorted(random.Random(n).sample(range(_POINTS), 10)) for n in range(len(polls))]
    spool = SpoolWriter(home / "put", max_bytes=10**9, max_age_s=10.0**6)
    works: dict[str, tuple[int, Callable[[int], object]]] = {
        "100 columns of mixed types": (_POINTS, lambda n: spool.put_columns(polls[n])),
        "100 columns of floats": (_POINTS, lambda n: spool.put_columns(whole[n])),
        "10 of 100 columns": (10, lambda n: spool.put_columns(polls[n], some[n])),
        "100 samples": (_POINTS, lambda n: spool.put(samples[n])),
    }
    print("put into the spool                  p50      p99   CPU/sample")
    for name, (count, put) in works.items():
        cost = Cost()
        for number in range(10 * len(polls)):
            with cost.adding():
                put(number % len(polls))
        _, cpu_ns = _cpu_of(put, len(polls), count)
        p50, p99 = _percentiles(cost.steps_s)
        print(f"{name:32}{p50 * 1e6:6.0f} us{p99 * 1e6:6.0f} us{cpu_ns:8.0f} ns")
    spool.close()


def _cpu_of(put: Callable[[int], object], polls: int, count: int) -> tuple[float, float]:
    """Return seconds and ns CPU a sample, without the cost of asking for the time each time."""
    rounds = []
    for _ in range(5):
        started_s = time.process_time()
        for number in range(polls):
            put(number)
        rounds.append(time.process_time() - started_s)
    median_s = statistics.median(rounds)
    return median_s, median_s / polls / count * 1e9


def _bench_start(home: Path) -> None:
    directory = home / "backlog"
    spool = SpoolWriter(directory, max_bytes=10**12, max_age_s=10.0**6)
    plant = Plant()
    while spool.status().backlog_bytes < 7 << 20:
        for poll in plant.polls():
            spool.put_columns(poll)
    spool.close()
    (full,) = directory.glob("*.seg")
    for number in range(1, 4000):
        os.link(full, segment_path(directory, number * 100_000))
    cost = Cost()
    with cost.adding():
        spool = SpoolWriter(directory, max_bytes=10**12, max_age_s=10.0**6)
        spool.put_columns(plant.polls()[0])
    with cost.adding():
        reader = SpoolReader(directory, "bench")
        reader.read(1)
    size_bytes = spool.status().backlog_bytes
    reader.close()
    spool.close()
    writer_s, reader_s = cost.steps_s
    print(f"start with {size_bytes / 1e9:.0f} GB of backlog in 4000 segments: ", end="")
    print(f"first put {writer_s * 1e3:.0f} ms, first read {reader_s * 1e3:.0f} ms\n")


def _bench_store(home: Path, cycles: int) -> None:
    store = EmbeddedStore(home / "history")
    with closing(_plain_rows(home / "plain.db")) as plain:
        embedded_cost, plain_cost, plant = Cost(), Cost(), Plant()
        for _ in range(cycles // _CYCLES_A_BATCH):
            polls = [poll for _ in range(_CYCLES_A_BATCH) for poll in plant.polls()]
            records = [_record(number, poll) for number, poll in enumerate(polls)]
            for record in records:
                _ = record.batch.kinds
            with embedded_cost.adding():
                store.append("line1", records)
            rows = _rows(polls)
            with plain_cost.adding():
                plain.execute("BEGIN IMMEDIATE")
                plain.executemany("INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?)", rows)
                plain.execute("COMMIT")
        with embedded_cost.adding():
            store.seal_all()
            store.sync()
            store.close()
        with plain_cost.adding():
            plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        count = plant.cycle * _A_CYCLE
        print(f"{count:,} samples of {_A_CYCLE} points")
        print("                        samples/s  CPU/sample   disk   written, a sample")
        sizes = (
            sum(path.stat().st_size for path in (home / "history").iterdir()),
            (home / "plain.db").stat().st_size,
        )
        names = ("embedded, sealed", "plain SQLite rows")
        for name, cost, size in zip(names, (embedded_cost, plain_cost), sizes, strict=True):
            print(
                f"{name:20}{count / cost.wall_s:13,.0f}{cost.cpu_s / count * 1e6:9.2f} us", end=""
            )
            print(f"{size / count:7.1f} B{cost.written_bytes / count:9.1f} B")
        print(f"longest append of 20,000 samples {max(embedded_cost.steps_s[:-1]) * 1e3:.0f} ms\n")
        _bench_queries(EmbeddedReader(home / "history"), plain, plant.cycle)
        _bench_api(home, plant.cycle)


def _record(number: int, poll: Columns) -> Record:
    table = _TABLES[number % _GROUPS]
    at_ns = poll.source_ns[0]
    body = batch_body(encode_columns(poll, table), _POINTS, table, INLINE)
    end = Position(segment=1, offset=0, sequence=1)
    return Record(sequence=at_ns, wall_ns=at_ns, batch=decode(body), end=end)


def _plain_rows(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        """CREATE TABLE point (series_id INTEGER, t_ns INTEGER, value, quality INTEGER,
        PRIMARY KEY (series_id, t_ns)) WITHOUT ROWID"""
    )
    return connection


def _rows(polls: list[Columns]) -> list[tuple[int, int, Value | None, int]]:
    rows = [
        (number % _GROUPS * _POINTS + place, poll.source_ns[0], value, 0)
        for number, poll in enumerate(polls)
        for place, value in enumerate(poll.values)
    ]
    return sorted(rows, key=lambda row: row[:2])


def _bench_queries(reader: EmbeddedReader, plain: sqlite3.Connection, cycles: int) -> None:
    rng = random.Random(3)
    buckets = 1000
    print(
        f"one series, {buckets} buckets   p50      p95      CPU   plain rows p50      p95      CPU"
    )
    for hours in (1, 24, 24 * 7):
        if hours > 1 and hours * 3600 > cycles:
            break
        embedded_cost, plain_cost = Cost(), Cost()
        for _ in range(_QUESTIONS if hours == 1 else 20):
            number = rng.randrange(_A_CYCLE)
            start_ns = _START_NS + rng.randrange(max(1, cycles - hours * 3600)) * _S
            end_ns = start_ns + hours * 3600 * _S
            with embedded_cost.adding():
                found = reader.range(_SERIES[number], start_ns, end_ns, buckets=buckets)
            with plain_cost.adding():
                width_ns = -(-(end_ns - start_ns) // buckets)
                query = """SELECT (t_ns - ?) / ? AS bucket, min(value), avg(value), max(value),
                    count(*) FROM point WHERE series_id = ? AND t_ns >= ? AND t_ns < ?
                    GROUP BY bucket"""
                arguments = (start_ns, width_ns, number, start_ns, end_ns)
                rows = plain.execute(query, arguments).fetchall()
            if sum(bucket.good for bucket in found.buckets) != sum(row[4] for row in rows) and (
                found.resolution_ns
            ):
                raise SystemExit(f"{_SERIES[number]}: the two do not agree")
        print(f"{hours:3} h{' ':16}{_row(embedded_cost)}{' ':10}{_row(plain_cost)}")
    cost = Cost()
    for _ in range(20):
        with cost.adding():
            reader.latest(_SERIES)
    print(f"newest value of {_A_CYCLE} series {_percentiles(cost.steps_s)[0] * 1e3:.1f} ms")


def _bench_api(home: Path, cycles: int) -> None:
    """Ask for one hour through the whole control plane: HTTP, sign-in, reader, JSON."""
    rng = random.Random(4)
    me = Actor(name="console:bench", role=Role.ADMIN, origin="console")
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        token = plane.console.account_commands.create_token(me, "bench", Role.VIEWER)
        client = create_app(plane).test_client()
        cost = Cost()
        for _ in range(_QUESTIONS):
            start_s = _START_NS // _S + rng.randrange(max(1, cycles - 3600))
            query = {
                "series": _SERIES[rng.randrange(_A_CYCLE)],
                "from": datetime.fromtimestamp(start_s, UTC).isoformat(),
                "to": datetime.fromtimestamp(start_s + 3600, UTC).isoformat(),
                "buckets": 1000,
            }
            with cost.adding():
                answer = client.get(
                    "/api/v1/history",
                    query_string=query,
                    headers={"Authorization": f"Bearer {token}"},
                )
            if answer.status_code != 200 or not answer.json["rows"]:
                raise SystemExit(f"{query['series']}: {answer.status_code}")
    print(f"  1 h at the API    {_row(cost)}")


def _row(cost: Cost) -> str:
    p50, p95 = _percentiles(cost.steps_s)
    cpu_s = cost.cpu_s / len(cost.steps_s)
    return "".join(f"{value * 1e3:6.2f} ms" for value in (p50, p95, cpu_s))


def _percentiles(values: list[float]) -> tuple[float, float]:
    """Return the median, and what 99 % (95 % of few) are below."""
    highest = 98 if len(values) > 1000 else 94
    return statistics.median(values), statistics.quantiles(values, n=100)[highest]


def _written_bytes() -> int:
    fields = Path("/proc/self/io").read_text(encoding="ascii").split()
    return int(fields[fields.index("wchar:") + 1])


@contextmanager
def _directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="bench-history-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
