"""Print what export, backup and restore cost, each beside the barest way to do the same.

Run with ``python tests/performance/bench_exports.py [--rows N]``. Peers: ``csv.writer`` over a list
of samples in memory, and SQLite's ``VACUUM INTO``, which copies pages and leaves out the rest.
Medians of three runs; CPU time of this process beside the time that passed.
"""

import argparse
import csv
import io
import math
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).parents[2]))

from collectors.contract.points import Quality, Sample
from collectors.history.batch import decode, encode
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.segment import Position
from collectors.history.spool_reader import Record
from control_plane.backup.create import back_up
from control_plane.backup.restore import restore
from control_plane.clock import SystemClock
from control_plane.console import prepare_home
from control_plane.exports.formats import XLSX_ROWS, csv_chunks
from control_plane.exports.pages import ExportRequest, pages
from control_plane.exports.xlsx import write_xlsx
from control_plane.settings import Settings, load_settings
from control_plane.storage.database import StateDatabase

_S = 10**9
_START_NS = 1_795_435_200 * _S
_BATCH = 5000
_RUNS = 3
_ZONE = ZoneInfo("Asia/Shanghai")
_HEAD = ["time", "time", "series", "value", "unit", "quality", "code"]
_CHECKS = '[{"check_type": "data_flow", "status": "healthy", "code": "data.ok", "penalty": 0.0}]'


def measure(what: str, rows: int, work: Callable[[], object]) -> None:
    wall_s, cpu_s = [], []
    for _ in range(_RUNS):
        began, began_cpu = time.perf_counter(), time.process_time()
        work()
        wall_s.append(time.perf_counter() - began)
        cpu_s.append(time.process_time() - began_cpu)
    wall, cpu = statistics.median(wall_s), statistics.median(cpu_s)
    print(f"{what:<44} {rows / wall:>12,.0f} rows/s {1e6 * cpu / rows:>8.2f} us CPU a row")


def sample(number: int) -> Sample:
    at, good = _START_NS + number * _S, Quality.GOOD
    value = math.sin(number)
    return Sample(point="plc/x", value=value, quality=good, source_ns=at, received_ns=at)


def fill_history(directory: Path, rows: int) -> None:
    store = EmbeddedStore(directory)
    for number, first in enumerate(range(0, rows, _BATCH), 1):
        batch = decode(encode([sample(n) for n in range(first, min(first + _BATCH, rows))]))
        end = Position(segment=1, offset=0, sequence=number)
        store.append("line1", [Record(sequence=number, wall_ns=_START_NS, batch=batch, end=end)])
    store.close()


def bench_export(directory: Path, rows: int) -> None:
    fill_history(directory, rows)
    reader = EmbeddedReader(directory)

    def asked(samples: int) -> ExportRequest:
        end_ns = _START_NS + samples * _S
        return ExportRequest(
            units={"line1/plc/x": "bar"}, start_ns=_START_NS, end_ns=end_ns, width_ns=0
        )

    def as_csv() -> None:
        for _ in csv_chunks(_HEAD, pages(reader, asked(rows)), _ZONE, with_bom=True):
            pass

    def as_xlsx() -> None:
        with tempfile.TemporaryFile() as file:
            write_xlsx(file, _HEAD, pages(reader, asked(few)), _ZONE, [])

    few = min(rows, XLSX_ROWS // 10)
    known = [sample(n) for n in range(rows)]
    measure("export CSV", rows, as_csv)
    measure(
        "  csv.writer, samples in memory",
        rows,
        lambda: csv.writer(io.StringIO()).writerows(
            (s.source_ns, s.point, s.value, s.quality.name, s.code) for s in known
        ),
    )
    measure("export XLSX", few, as_xlsx)


def settings_of(home: Path) -> Settings:
    settings = load_settings({"DAQ_HOME": str(home)})
    prepare_home(home)
    return settings


def bench_backup(directory: Path, rows: int) -> None:
    settings, archive = settings_of(directory / "home"), directory / "daq.zip"
    database = StateDatabase(settings.database_url)
    database.migrate(settings.home / "run")
    with database.connection() as db, db.atomic():
        db.connection().executemany(
            "INSERT INTO health_history (process, at_ms, status, score, checks) "
            "VALUES (?, ?, 'healthy', 99.5, ?)",
            ((f"line{n % 100}", _START_NS // 10**6 + n, _CHECKS) for n in range(rows)),
        )

    def quiet(_done: int, _total: int) -> None:
        pass

    def copy() -> None:
        (directory / "copy.db").unlink(missing_ok=True)
        with closing(sqlite3.connect(settings.home / "state.db")) as source:
            source.execute(f"VACUUM INTO '{directory / 'copy.db'}'")

    clock = SystemClock()
    measure(
        "backup",
        rows,
        lambda: back_up(settings, database, clock, archive, with_history=False, progress=quiet),
    )
    measure("  VACUUM INTO", rows, copy)
    other = settings_of(directory / "other")
    measure(
        "restore",
        rows,
        lambda: restore(other, clock, archive, actor="bench", progress=quiet),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows: int = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as directory:
        bench_export(Path(directory) / "history", rows)
        bench_backup(Path(directory), rows)


if __name__ == "__main__":
    main()
