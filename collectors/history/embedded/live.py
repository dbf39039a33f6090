"""The youngest samples of the embedded store: batches as spooled, until they are sealed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from collectors.contract.points import series_key
from collectors.history.batch import Batch
from collectors.history.columns import FORMAT, HEAD
from collectors.history.device_time import CLOCK_AHEAD_NS
from collectors.history.embedded.files import StoreFile, StoreFiles
from collectors.history.embedded.points import Points, raw_of, stored_batch, time_bounds
from collectors.history.embedded.schema import LIVE, LIVE_TABLES
from collectors.history.spool_reader import Record
from collectors.history.values import Raw

_PUT = """INSERT OR IGNORE INTO batch
    (table_id, sequence, put_ns, first_ns, last_ns, samples, body)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_PUT_SEALED = """INSERT INTO sealed VALUES (?, ?)
    ON CONFLICT (table_id) DO UPDATE SET batch_id = excluded.batch_id"""
# The newest stays, so that no later one gets its id.
_DELETE = "DELETE FROM batch WHERE id < ? AND id < (SELECT max(id) FROM batch)"
# A newest sample in the future of what has come after it is of a clock that was ahead.
_PUT_LATEST = """INSERT INTO latest
    VALUES (:id, :sequence, :t_ns, :value, :kind, :quality, :code, :received_ns)
    ON CONFLICT (series_id) DO UPDATE SET sequence = excluded.sequence, t_ns = excluded.t_ns,
    value = excluded.value, kind = excluded.kind, quality = excluded.quality,
    code = excluded.code, received_ns = excluded.received_ns
    WHERE excluded.t_ns >= latest.t_ns
    OR (excluded.sequence > latest.sequence AND latest.t_ns > :limit_ns)"""


@dataclass(slots=True, kw_only=True)
class Waiting:
    """What of one table is not sealed yet."""

    since_mono: float
    first_id: int
    batches: int = 0
    samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBatch:
    """A batch that waits; ``body`` has no names."""

    id: int
    sequence: int
    batch: Batch

    @property
    def latest_ns(self) -> int:
        """What is later than this came of a clock that is ahead, if the batch is the newest."""
        return self.batch.received.low + CLOCK_AHEAD_NS


class LiveFile:
    """Writes ``live.db``."""

    def __init__(
        self, directory: Path, files: StoreFiles, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = directory / LIVE
        self._files = files
        self._monotonic = monotonic
        self._table_ids: dict[tuple[str, tuple[str, ...]], int] = {}
        self._waiting: dict[int, Waiting] | None = None
        self.newest_id = 0
        """Of the batches stored by this process."""

    def append(self, collector: str, records: Sequence[Record]) -> None:
        """Store records; one that is stored already changes nothing.

        Raises:
            sqlite3.Error: the file cannot be written now.
        """
        waiting = self.waiting()
        with self._writing() as file:
            rows = [self._row(file, collector, record) for record in records]
            put = file.connection.execute
            results = [(row, put(_PUT, row)) for row in rows]
            new = [(row, result.lastrowid) for row, result in results if result.rowcount > 0]
            file.connection.executemany(
                "INSERT OR IGNORE INTO loss VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (collector, r.sequence, loss.reason, loss.samples, loss.first_ns, loss.last_ns)
                    for r in records
                    for loss in r.losses
                ],
            )
        now_mono = self._monotonic()
        for (table_id, *_, samples, _), batch_id in new:
            table = waiting.setdefault(
                table_id, Waiting(since_mono=now_mono, first_id=batch_id or 0)
            )
            table.batches += 1
            table.samples += samples
            self.newest_id = batch_id or 0

    def begin_anew(self) -> None:
        """Forget what was known of a file that is gone."""
        self._files.close(self.path)
        self._table_ids.clear()
        self._waiting = None

    def waiting(self) -> dict[int, Waiting]:
        """Return what waits to be sealed, by table.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        if self._waiting is None:
            file = self._files.reading(self.path, LIVE_TABLES)
            query = """SELECT table_id, min(id), count(*), sum(samples) FROM waiting
                GROUP BY table_id"""
            now_mono = self._monotonic()
            self._waiting = {
                table_id: Waiting(
                    since_mono=now_mono, first_id=first_id, batches=batches, samples=samples
                )
                for table_id, first_id, batches, samples in file.connection.execute(query)
            }
        return self._waiting

    def batches(self, table_id: int, most_samples: int) -> list[StoredBatch]:
        """Return the oldest batches of a table, in the order of their arrival."""
        file = self._files.reading(self.path, LIVE_TABLES)
        found, samples = [], 0
        width = len(self.series_keys(table_id))
        query = "SELECT id, sequence, body FROM waiting WHERE table_id = ? ORDER BY id"
        rows = file.connection.execute(query, (table_id,))
        for batch_id, sequence, body in rows:
            batch = stored_batch(body, width)
            found.append(StoredBatch(id=batch_id, sequence=sequence, batch=batch))
            samples += len(batch)
            if samples >= most_samples:
                break
        rows.close()
        return found

    def series_keys(self, table_id: int) -> list[str]:
        """Return the series of a table, in its order."""
        file = self._files.reading(self.path, LIVE_TABLES)
        query = "SELECT series FROM point_table WHERE id = ?"
        (series,) = file.connection.execute(query, (table_id,)).fetchone()
        keys = {number: key for key, number in file.series_ids.items()}
        return [keys[number] for number in np.frombuffer(series, np.int32).tolist()]

    def sealed(
        self,
        table_id: int,
        batches: Sequence[StoredBatch],
        hours: Iterable[int],
        latest: Iterable[tuple[str, Points]],
    ) -> None:
        """Forget batches that are in day files; ``hours`` are to be compacted."""
        with self._writing() as file:
            last_id = batches[-1].id
            file.connection.execute(_PUT_SEALED, (table_id, last_id))
            first_id = min(
                (t.first_id for other, t in self.waiting().items() if other != table_id),
                default=last_id + 1,
            )
            file.connection.execute(_DELETE, (min(first_id, last_id + 1),))
            self._put_pending(file, hours)
            last = max(batches, key=lambda batch: batch.sequence)
            newest = {"sequence": last.sequence, "limit_ns": last.latest_ns}
            rows = [newest | _latest(file.series_ids[key], points) for key, points in latest]
            file.connection.executemany(_PUT_LATEST, rows)
        table = self.waiting()[table_id]
        table.since_mono = self._monotonic()
        table.first_id = last_id + 1
        table.batches -= len(batches)
        table.samples -= sum(len(batch.batch) for batch in batches)
        if table.batches <= 0:
            del self.waiting()[table_id]

    def pending(self) -> list[int]:
        """Return the hours that are to be compacted, oldest first."""
        file = self._files.reading(self.path, LIVE_TABLES)
        return [hour for (hour,) in file.connection.execute("SELECT hour FROM pending")]

    def add_pending(self, hours: Iterable[int]) -> None:
        """Have hours compacted."""
        with self._writing() as file:
            self._put_pending(file, hours)

    def compacted(self, hour: int) -> None:
        """Tell readers that the rollups of an hour hold."""
        with self._writing() as file:
            file.connection.execute("DELETE FROM pending WHERE hour = ?", (hour,))

    def forget_unused_tables(self) -> None:
        """Forget poll groups of which no batch is here; they are noted again when one comes."""
        unused = "table_id NOT IN (SELECT table_id FROM batch)"
        with self._writing() as file:
            file.connection.execute(f"DELETE FROM sealed WHERE {unused}")
            file.connection.execute(f"DELETE FROM table_series WHERE {unused}")
            file.connection.execute(
                "DELETE FROM point_table WHERE id NOT IN (SELECT table_id FROM batch)"
            )
        self._table_ids.clear()

    def forget_before(self, t_ns: int) -> None:
        """Forget newest values and losses that are older."""
        with self._writing() as file:
            file.connection.execute("DELETE FROM latest WHERE t_ns < ?", (t_ns,))
            file.connection.execute("DELETE FROM loss WHERE last_ns < ?", (t_ns,))

    @staticmethod
    def _put_pending(file: StoreFile, hours: Iterable[int]) -> None:
        rows = [(hour,) for hour in hours]
        file.connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", rows)

    @contextmanager
    def _writing(self) -> Iterator[StoreFile]:
        try:
            with self._files.writing(self.path, LIVE_TABLES) as file:
                yield file
        except sqlite3.Error:
            # Rolled back or set aside, so nothing is certain that was known of it.
            self._table_ids.clear()
            self._waiting = None
            raise

    def _row(
        self, file: StoreFile, collector: str, record: Record
    ) -> tuple[int, int, int, int, int, int, bytes]:
        batch = record.batch
        first_ns, last_ns = time_bounds(batch)
        head = HEAD.pack(FORMAT, len(batch), 0, 0, 0)
        return (
            self._table_id(file, collector, batch.table),
            record.sequence,
            record.wall_ns,
            first_ns,
            last_ns,
            len(batch),
            head + batch.body[batch.columns_at :],
        )

    def _table_id(self, file: StoreFile, collector: str, table: tuple[str, ...]) -> int:
        known = self._table_ids.get((collector, table))
        if known is not None:
            return known
        keys = [series_key(collector, point) for point in table]
        ids = file.ids_of(keys)
        series = np.array([ids[key] for key in keys], np.int32)
        connection = file.connection
        connection.execute(
            "INSERT OR IGNORE INTO point_table (series) VALUES (?)", (series.tobytes(),)
        )
        query = "SELECT id FROM point_table WHERE series = ?"
        (table_id,) = connection.execute(query, (series.tobytes(),)).fetchone()
        rows = [(number, table_id) for number in series.tolist()]
        connection.executemany("INSERT OR IGNORE INTO table_series VALUES (?, ?)", rows)
        self._table_ids[collector, table] = table_id
        return int(table_id)


def _latest(series_id: int, points: Points) -> dict[str, Raw]:
    """Return the last sample as columns of table ``latest``."""
    kind, raw = raw_of(points, len(points) - 1)
    return {
        "id": series_id,
        "t_ns": int(points.source_ns[-1]),
        "value": raw,
        "kind": kind,
        "quality": int(points.qualities[-1]),
        "code": int(points.codes[-1]),
        "received_ns": int(points.received_ns[-1]),
    }
