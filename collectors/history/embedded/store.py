"""The store that needs no server: SQLite files, one a UTC day, written by the historian alone."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from operator import itemgetter, sub
from pathlib import Path

from collectors.contract.points import Quality, series_key
from collectors.history.batch import Batch
from collectors.history.embedded.schema import (
    CATALOGUE,
    CATALOGUE_TABLES,
    DAY_TABLES,
    NS_PER_DAY,
    SCHEMA_VERSION,
    day_of,
    day_path,
    files_by_day,
    schema_version,
    start_of,
)
from collectors.history.spool_reader import Record
from collectors.history.values import Raw

_log = logging.getLogger(__name__)

_OPEN_DAYS = 3
"""Day files kept open: today, and its neighbours around midnight or while a backlog is drained."""
_BUSY_S = 0.5
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA cache_size=-32768",
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=67108864",
)
_CLOCK_BEHIND_NS = 30 * NS_PER_DAY
_CLOCK_AHEAD_NS = 3600 * 10**9
"""A device clock that differs more from ours is taken for wrong, see ``_trusted_times``."""

_PUT_POINT = """INSERT INTO point VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (series_id, t_ns) DO UPDATE SET value = excluded.value, kind = excluded.kind,
    quality = excluded.quality, code = excluded.code, received_ns = excluded.received_ns"""
_PUT_LATEST = """INSERT INTO latest VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET t_ns = excluded.t_ns, value = excluded.value,
    kind = excluded.kind, quality = excluded.quality, code = excluded.code,
    received_ns = excluded.received_ns WHERE excluded.t_ns >= latest.t_ns"""

_Row = tuple[str, int, Raw, int, int, int, int]
"""Series key, time ns, raw value, kind, quality, code, receive time ns."""


@dataclass(slots=True, kw_only=True)
class _DayFile:
    connection: sqlite3.Connection
    series_ids: dict[str, int] = field(default_factory=dict)


class EmbeddedStore:
    """Writes the day files below ``directory``; one process and one thread at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._days: OrderedDict[date, _DayFile] = OrderedDict()
        self._catalogue: sqlite3.Connection | None = None
        self._unsynced: set[Path] = set()

    def append(self, collector: str, records: Sequence[Record]) -> int:
        """Store the samples of ``records``; return how many.

        A sample is known by series and source time, so storing it again changes nothing. After an
        exception some may be stored: call again with the same records.

        Raises:
            sqlite3.Error: the files cannot be written now.
            OSError: the directory cannot be made.
        """
        rows = [row for record in records for row in _rows(collector, record.batch)]
        if not rows:
            return 0
        self._directory.mkdir(parents=True, exist_ok=True)
        # In key order, a batch touches each page once; of equal keys the newest record comes last.
        rows.sort(key=itemgetter(0, 1))
        for day, day_rows in _by_day(rows).items():
            try:
                self._store_day(day, day_rows)
            except sqlite3.DatabaseError as exc:
                self._set_aside_if_damaged(day_path(self._directory, day), exc)
                self._store_day(day, day_rows)
        latest = {row[0]: row for row in rows}
        try:
            self._store_latest(latest.values())
        except sqlite3.DatabaseError as exc:
            self._set_aside_if_damaged(self._directory / CATALOGUE, exc)
            self._store_latest(latest.values())
        return len(rows)

    def sync(self) -> None:
        """Wait until the disk has all that was stored, so that its source may be deleted.

        SQLite itself does so only at a checkpoint (``synchronous=NORMAL``).

        Raises:
            OSError: the disk did not confirm.
        """
        for path in tuple(self._unsynced):
            try:
                # Nothing locks the WAL file itself, so closing it here frees no lock of SQLite's.
                fd = os.open(path.with_name(path.name + "-wal"), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._note_missing_wal(path)
            else:
                try:
                    os.fdatasync(fd)
                finally:
                    os.close(fd)
            self._unsynced.discard(path)

    def _note_missing_wal(self, path: Path) -> None:
        """Closing a database ends its WAL; if the database is gone too, somebody deleted it."""
        if not path.exists():
            _log.error("a history file was deleted while in use", extra={"file": str(path)})
            self.close()

    def prune(self, keep_days: int, *, now_ns: int | None = None) -> list[date]:
        """Delete the days before the last ``keep_days`` and today; return them.

        If our clock is ahead of all data, the newest day counts as today, so that a wrong clock
        does not delete everything.

        Raises:
            OSError: a file cannot be deleted.
            sqlite3.Error: the catalogue cannot be written now.
        """
        if not self._directory.is_dir():
            return []
        files = files_by_day(self._directory)
        today = min(
            day_of(time.time_ns() if now_ns is None else now_ns), max(files, default=date.max)
        )
        first_kept = today - timedelta(days=keep_days)
        old = sorted(day for day in files if day < first_kept)
        for day in old:
            self._close_day(day)
            for path in files[day]:
                path.unlink(missing_ok=True)
        if old:
            with _transaction(self._open_catalogue()) as catalogue:
                catalogue.execute("DELETE FROM latest WHERE t_ns < ?", (start_of(first_kept),))
        return old

    def close(self) -> None:
        """Close all files; opens them again if used again."""
        for day in tuple(self._days):
            self._close_day(day)
        self._close_catalogue()

    def _store_day(self, day: date, rows: Sequence[_Row]) -> None:
        file = self._open_day(day)
        ids = file.series_ids
        new = sorted({row[0] for row in rows} - ids.keys())
        with _transaction(file.connection) as connection:
            if new:
                connection.executemany(
                    "INSERT OR IGNORE INTO series (key) VALUES (?)", [(key,) for key in new]
                )
                ids = dict(connection.execute("SELECT key, id FROM series"))
            connection.executemany(_PUT_POINT, [(ids[row[0]], *row[1:]) for row in rows])
        file.series_ids = ids
        self._unsynced.add(day_path(self._directory, day))

    def _store_latest(self, rows: Iterable[_Row]) -> None:
        with _transaction(self._open_catalogue()) as catalogue:
            catalogue.executemany(_PUT_LATEST, rows)
        self._unsynced.add(self._directory / CATALOGUE)

    def _open_day(self, day: date) -> _DayFile:
        if day in self._days:
            self._days.move_to_end(day)
            return self._days[day]
        while len(self._days) >= _OPEN_DAYS:
            self._close_day(next(iter(self._days)))
        connection = _open(day_path(self._directory, day), DAY_TABLES)
        file = _DayFile(connection=connection)
        file.series_ids.update(connection.execute("SELECT key, id FROM series"))
        self._days[day] = file
        return file

    def _open_catalogue(self) -> sqlite3.Connection:
        if self._catalogue is None:
            self._catalogue = _open(self._directory / CATALOGUE, CATALOGUE_TABLES)
        return self._catalogue

    def _close_day(self, day: date) -> None:
        file = self._days.pop(day, None)
        if file is not None:
            file.connection.close()

    def _close_catalogue(self) -> None:
        catalogue, self._catalogue = self._catalogue, None
        if catalogue is not None:
            catalogue.close()

    def _set_aside_if_damaged(self, path: Path, exc: sqlite3.DatabaseError) -> None:
        """Rename a file that SQLite cannot read, so that storing goes on in a new one.

        Raises:
            sqlite3.DatabaseError: ``exc``, if it is about anything else.
        """
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise exc
        self.close()
        aside = f"{path.name}.damaged-{time.time_ns()}"
        for suffix in ("", "-wal", "-shm"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                source.rename(path.with_name(aside + suffix))
        facts = {"file": str(path), "kept_as": aside, "reason": str(exc)}
        _log.error("a history file is damaged; set aside and begun anew", extra=facts)


def _rows(collector: str, batch: Batch) -> Iterator[_Row]:
    times_ns, qualities = _trusted_times(batch)
    return zip(
        _keys(collector, batch.points),
        times_ns,
        batch.raws,
        batch.kinds,
        qualities,
        batch.codes,
        batch.received_ns,
        strict=True,
    )


def _trusted_times(batch: Batch) -> tuple[Sequence[int], Sequence[int]]:
    """Return the time and quality to store for each sample.

    A device with a wrong clock would open a file for a day long past, or in the future hide its
    own newer values for years. Such a sample is stored under our receive time, as uncertain.
    """
    behind_ns = [*map(sub, batch.received_ns, batch.source_ns)]
    if max(behind_ns) <= _CLOCK_BEHIND_NS and min(behind_ns) >= -_CLOCK_AHEAD_NS:
        return batch.source_ns, batch.qualities
    times_ns, qualities = list(batch.source_ns), list(batch.qualities)
    for index, difference_ns in enumerate(behind_ns):
        if not -_CLOCK_AHEAD_NS <= difference_ns <= _CLOCK_BEHIND_NS:
            times_ns[index] = batch.received_ns[index]
            qualities[index] = max(qualities[index], Quality.UNCERTAIN)
    return times_ns, qualities


@lru_cache(maxsize=256)
def _keys(collector: str, points: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([series_key(collector, point) for point in points])


def _by_day(rows: list[_Row]) -> dict[date, list[_Row]]:
    """Split rows at midnight UTC; nearly always all are of one day."""
    days: defaultdict[int, list[_Row]] = defaultdict(list)
    first, last = min(map(itemgetter(1), rows)), max(map(itemgetter(1), rows))
    if first // NS_PER_DAY == last // NS_PER_DAY:
        return {day_of(first): rows}
    for row in rows:
        days[row[1] // NS_PER_DAY].append(row)
    return {day_of(day * NS_PER_DAY): found for day, found in days.items()}


def _open(path: Path, tables: Sequence[str]) -> sqlite3.Connection:
    """Open a file for writing, making it first if there is none."""
    if not path.exists():
        # A reader that met a file half made could not open it, so it gets its name when complete.
        temporary = path.with_name(path.name + ".new")
        temporary.unlink(missing_ok=True)
        _configured(temporary, tables).close()
        temporary.rename(path)
    return _configured(path, tables)


def _configured(path: Path, tables: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if schema_version(connection) == 0:
            with _transaction(connection):
                for table in tables:
                    connection.execute(table)
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Take the write lock at once: a lock taken later fails without waiting."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
