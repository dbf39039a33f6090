"""The store that needs no server, as the historian writes it; see ``schema`` for the files."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

from collectors.history.embedded.codec import ChunkError
from collectors.history.embedded.compact import compact_some
from collectors.history.embedded.files import StoreFiles
from collectors.history.embedded.live import LiveFile
from collectors.history.embedded.rollup import NS_PER_HOUR
from collectors.history.embedded.schema import (
    day_of,
    files_by_day,
    rollups_by_month,
    start_of,
)
from collectors.history.embedded.seal import seal
from collectors.history.spool_reader import Record
from collectors.history.troubles import Troubles

_log = logging.getLogger(__name__)

SEAL_AGE_S = 300.0
"""A batch waits this long, so that there is something to compress."""
_SEAL_SAMPLES = 400_000
_MOST_WAITING = 400_000
"""Samples of all tables together; from then on the largest is sealed."""
_MOST_KEPT = 20_000
"""Batches behind a table's oldest one, which keeps them from being deleted."""
_SEAL_BATCHES = 1000
"""Reading a series means looking into each waiting batch of its poll group."""
_GRACE_NS = 600 * 10**9
"""An hour is taken to be over so long after its end."""
_BUDGET_S = 0.2
_RETRY_S = 5.0
_NOT_SEALED = "history cannot be sealed; it waits in live.db"
_STEP_BACK_S = 30.0
"""Late samples make an hour wait so long for more of them."""


class EmbeddedStore:
    """Writes the files below ``directory``; one process and one thread at a time."""

    def __init__(
        self,
        directory: Path,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._files = StoreFiles()
        self._live = LiveFile(directory, self._files, monotonic)
        self._sealed_mono: dict[int, float] = {}
        self._damaged_hours: set[int] = set()
        self._next_try_mono = 0.0
        self._troubles = Troubles({"directory": str(directory)}, monotonic)

    def append(self, collector: str, records: Sequence[Record]) -> int:
        """Store the samples of ``records``; return how many.

        A record is known by its place in its spool and a sample by series and source time, so
        storing it again changes nothing. After an exception some may be stored: call again with
        the same records.

        Raises:
            sqlite3.Error: the files cannot be written now.
            OSError: the directory cannot be made.
        """
        if not records:
            return 0
        if not self._live.path.exists():
            self._begin_live()
        try:
            self._live.append(collector, records)
        except sqlite3.DatabaseError:
            if self._live.path.exists():
                raise
            self._begin_live()  # it was damaged, and has been set aside
            self._live.append(collector, records)
        if self._monotonic() >= self._next_try_mono:
            with self._trying():
                self._seal(most_age_s=None)
        return sum(len(record.batch) for record in records)

    def maintain(self, budget_s: float = _BUDGET_S) -> bool:
        """Seal and compact what is due, for about ``budget_s``; return whether more is due.

        Raises:
            sqlite3.Error: the files cannot be written now.
            OSError: the disk did not confirm.
        """
        end_mono = self._monotonic() + budget_s
        if self._seal(most_age_s=SEAL_AGE_S, end_mono=end_mono):
            return True
        while (hour := self._due_hour()) is not None:
            if self._monotonic() >= end_mono:
                return True
            self._compact(hour)
        return False

    def seal_all(self) -> None:
        """Seal and compact everything now, however young.

        Raises:
            sqlite3.Error: the files cannot be written now.
            OSError: the disk did not confirm.
        """
        while self._live.waiting():
            self._seal(most_age_s=0.0)
        for hour in self._live.pending():
            while hour in self._live.pending() and hour not in self._damaged_hours:
                self._compact(hour)

    def sync(self) -> None:
        """Wait until the disk has all that was stored, so that its source may be deleted.

        Seals and compacts what is due; if that fails, it is logged, and nothing is lost by it.

        Raises:
            OSError: the disk did not confirm.
        """
        self._files.sync()
        if self._live.path.exists() and self._monotonic() >= self._next_try_mono:
            with self._trying():
                self.maintain()

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Log an error of sealing when it changes; try again some time later."""
        self._next_try_mono = self._monotonic() + _RETRY_S
        with self._troubles.noting(_NOT_SEALED, sqlite3.Error, OSError, ValueError):
            yield
            self._next_try_mono = 0.0

    def prune(
        self, keep_days: int, *, keep_rollup_days: int | None = None, now_ns: int | None = None
    ) -> list[date]:
        """Delete the days before the last ``keep_days`` and today; return them.

        Rollups are kept for ``keep_rollup_days``, by months; the same if not given. If our clock
        is ahead of all data, the newest day counts as today, so that a wrong clock does not
        delete everything.

        Raises:
            OSError: a file cannot be deleted.
            sqlite3.Error: ``live.db`` cannot be written now.
        """
        if not self._directory.is_dir():
            return []
        files = files_by_day(self._directory)
        now_ns = self._wall_ns() if now_ns is None else now_ns
        today = min(day_of(now_ns), max(files, default=date.max))
        first_kept = today - timedelta(days=keep_days)
        old = sorted(day for day in files if day < first_kept)
        self._delete([path for day in old for path in files[day]])
        rollup_days = keep_days if keep_rollup_days is None else max(keep_days, keep_rollup_days)
        first_rolled = (today - timedelta(days=rollup_days)).replace(day=1)
        months = rollups_by_month(self._directory)
        self._delete([p for month in months if month < first_rolled for p in months[month]])
        if old:
            self._live.forget_before(start_of(first_kept))
        if self._live.path.exists():
            self._live.forget_unused_tables()
        return old

    def close(self) -> None:
        """Close all files; opens them again if used again."""
        self._files.close()

    def _seal(self, *, most_age_s: float | None, end_mono: float | None = None) -> bool:
        """Seal tables that are old or large enough; return whether time ran out before."""
        now_mono = self._monotonic()
        failure: Exception | None = None
        tables = self._live.waiting()
        is_much = sum(waiting.samples for waiting in tables.values()) > _MOST_WAITING
        largest = max(tables, key=lambda table_id: tables[table_id].samples, default=None)
        for table_id, waiting in list(tables.items()):
            is_old = most_age_s is not None and now_mono - waiting.since_mono >= most_age_s
            is_large = waiting.samples >= _SEAL_SAMPLES or waiting.batches >= _SEAL_BATCHES
            is_in_the_way = self._live.newest_id - waiting.first_id > _MOST_KEPT
            if not (is_old or is_large or is_in_the_way or (is_much and table_id == largest)):
                continue
            if end_mono is not None and self._monotonic() >= end_mono:
                return True
            try:
                hours = seal(self._directory, self._files, self._live, table_id, _SEAL_SAMPLES)
            except (sqlite3.Error, OSError, ValueError) as exc:
                failure = failure or exc  # the file of one day must not keep others from sealing
            else:
                self._sealed_mono.update(dict.fromkeys(hours, self._monotonic()))
        if failure is not None:
            raise failure
        return False

    def _due_hour(self) -> int | None:
        """Return the oldest hour that is over and gets no more samples, as far as we know."""
        newest = (self._wall_ns() - _GRACE_NS) // NS_PER_HOUR
        settled_mono = self._monotonic() - _STEP_BACK_S
        for hour in self._live.pending():
            is_settled = self._sealed_mono.get(hour, settled_mono) <= settled_mono
            if hour < newest and is_settled and hour not in self._damaged_hours:
                return hour
        return None

    def _compact(self, hour: int) -> None:
        try:
            compact_some(self._directory, self._files, self._live, hour)
        except ChunkError as exc:
            # Who asks for this hour is told; all others are not concerned.
            self._damaged_hours.add(hour)
            _log.error("an hour cannot be compacted", extra={"hour": hour, "reason": str(exc)})

    def _begin_live(self) -> None:
        """Make ``live.db``; look into the day files for hours to compact."""
        self._live.begin_anew()
        hours: set[int] = set()
        paths = files_by_day(self._directory) if self._directory.is_dir() else {}
        for path in (p for found in paths.values() for p in found if p.suffix == ".db"):
            try:
                with closing(sqlite3.connect(path)) as connection:
                    query = "SELECT DISTINCT hour FROM unrolled"
                    hours.update(hour for (hour,) in connection.execute(query))
            except sqlite3.Error as exc:
                _log.warning("history file passed over", extra={"reason": f"{path}: {exc}"})
        self._live.add_pending(hours)

    def _delete(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._files.close(path)
            path.unlink(missing_ok=True)
