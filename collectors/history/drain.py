"""Moves one collector's spool into one store, and keeps its troubles to itself.

In order and with what is live in front: once the store is far behind, a second lane starts with
the newest records, so that charts show the present at once, while the first works off the backlog.
What the live lane has stored is skipped when the first one gets there. A restart forgets the live
lane; what it had stored is then stored again, which changes nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from collectors.history.breaker import Breaker
from collectors.history.dead_letters import DeadLetters
from collectors.history.lane import Lane
from collectors.history.ledger import Ledger, ledger_path, read_ledger, write_ledger
from collectors.history.segment import (
    Position,
    list_segments,
    segment_path,
    whole_records,
)
from collectors.history.spool_reader import SpoolReader
from collectors.history.store import Store, StoreUnavailable
from collectors.history.troubles import Troubles, reason_of

LIVE_LAG_S = 10.0
"""A store that is further behind gets the newest samples first."""
_NOT_STORED = "samples cannot be stored; they wait in the spool"
_NOT_COMMITTED = "cursor cannot be written; a restart will store samples again"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStatus:
    """How far the store is behind one collector.

    Attributes:
        ledger: What became of the records so far.
        live: The same of the live lane, if there is one; its records are further ahead.
        queued_bytes: Size of what is still to be read.
        oldest_ns: When the oldest record that is not stored was put, ``None`` if all are stored.
        last_error: What does not work now; ``None`` as soon as it does.
    """

    ledger: Ledger
    live: Ledger | None
    queued_bytes: int
    oldest_ns: int | None
    last_error: str | None


class Drain:
    """Reads the spool of ``collector`` for a store that it shares with other drains.

    Raises:
        OSError: the spool cannot be read.
    """

    def __init__(
        self,
        collector: str,
        spool: Path,
        store: Store,
        dead_letters: DeadLetters,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.collector = collector
        self._spool = spool
        self._store = store
        self._dead_letters = dead_letters
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        self._breaker = Breaker(monotonic=monotonic)
        self._troubles = Troubles({"collector": collector, "store": store.name}, monotonic)
        reader = _with_cursor(spool, store.name)
        behind = reader.position.sequence if reader.position else 0
        ledger = read_ledger(ledger_path(spool, store.name), behind)
        self._main = Lane(reader, ledger, store.replay_window_s, monotonic)
        self._live: Lane | None = None
        self._written = Ledger()

    def step(self) -> bool:
        """Store the next batch, the newest first; return whether there was one.

        Any failure but that of the whole store is kept here: logged when it changes, and the same
        batch tried again later.

        Raises:
            StoreUnavailable: the store takes nothing now.
        """
        return self._guarded(lambda: self._store_from(self._live or self._main))

    def step_backlog(self) -> bool:
        """Store the next batch of what is behind the live lane; return whether there was one.

        Raises:
            StoreUnavailable: the store takes nothing now.
        """
        return self._live is not None and self._guarded(lambda: self._store_from(self._main))

    @property
    def confirmed(self) -> int:
        """The last record that is in the store with all before it."""
        return self._main.ledger.sequence

    def commit(self) -> None:
        """Remember what is safe in the store.

        Call this only after the store has been synced, and was seen not to have died.
        """
        if self._live is not None:
            self._live.settle()
        safe = self._main.settle()
        try:
            if self._main.ledger != self._written:
                write_ledger(ledger_path(self._spool, self._store.name), self._main.ledger)
                self._written = replace(self._main.ledger)
            if safe is not None:
                self._main.reader.commit(safe)
        except OSError as exc:
            self._troubles.note(_NOT_COMMITTED, exc)
        else:
            self._troubles.over(_NOT_COMMITTED)

    def rewind(self) -> None:
        """Store again what the store has confirmed within its replay window."""
        for lane in (self._main, self._live):
            if lane is not None:
                lane.rewind()

    def status(self) -> DrainStatus:
        """Return the state of this moment."""
        ledger, error = replace(self._main.ledger), self._troubles.first
        queued_bytes, oldest_ns = 0, None
        try:
            queued_bytes = self._main.reader.backlog_bytes()
            oldest_ns = self._main.oldest_unstored_ns()
        except OSError as exc:
            error = error or reason_of(exc)
        return DrainStatus(
            ledger=ledger,
            live=None if self._live is None else replace(self._live.ledger),
            queued_bytes=queued_bytes,
            oldest_ns=oldest_ns,
            last_error=error,
        )

    def close(self) -> None:
        """Let go of the spool's files."""
        self._main.reader.close()
        if self._live is not None:
            self._live.reader.close()

    def _guarded(self, work: Callable[[], bool]) -> bool:
        if not self._breaker.is_due:
            return False
        try:
            had_batch = work()
        except StoreUnavailable:
            raise
        except Exception as exc:  # noqa: BLE001 - one spool must not stop the others
            self._breaker.failed()
            self._troubles.note(_NOT_STORED, exc)
            return False
        self._breaker.succeeded()
        self._troubles.over(_NOT_STORED)
        return had_batch

    def _store_from(self, lane: Lane) -> bool:
        records = lane.batch()
        if records:
            appended = self._store.append(self.collector, records)
            new = [r for r in appended.refusals if r.sequence > lane.ledger.sequence]
            if new:
                self._dead_letters.bury(self.collector, new)
            lane.confirm(appended.refusals)
            if self._live is None and self._is_late(records[0].wall_ns):
                self._open_live_lane(records[-1].sequence)
        elif self._live is not None and self._main.is_at_end:
            self._join_lanes(self._live)
        return bool(records)

    def _is_late(self, put_ns: int) -> bool:
        return self._wall_ns() - put_ns > LIVE_LAG_S * 1e9

    def _open_live_lane(self, stored: int) -> None:
        start = self._live_start()
        if start is None or start.sequence <= stored:
            return
        reader = SpoolReader(self._spool, self._store.name)
        reader.seek(start)
        # After a rewind these records can be counted already.
        counted = max(start.sequence, self._main.ledger.sequence)
        ledger = Ledger(since=counted, sequence=counted)
        self._live = Lane(reader, ledger, self._store.replay_window_s, self._monotonic)
        self._main.end = start.sequence + 1

    def _live_start(self) -> Position | None:
        """Return the place before the first record that is not late; it is in the last segment."""
        newest = list_segments(self._spool)[-1:]
        if not newest:
            return None
        at = Position(segment=newest[0], offset=0, sequence=newest[0] - 1)
        for frame in whole_records(segment_path(self._spool, newest[0]).read_bytes()):
            if not self._is_late(frame.wall_ns):
                return replace(at, offset=frame.start, sequence=frame.sequence - 1)
            at = replace(at, offset=frame.end, sequence=frame.sequence)
        return at

    def _join_lanes(self, live: Lane) -> None:
        self._main.join(live)
        live.reader.close()
        self._live = None


def _with_cursor(spool: Path, store: str) -> SpoolReader:
    """Return a reader whose cursor exists, so that no other store's progress removes segments."""
    reader = SpoolReader(spool, store)
    if reader.position is None:
        first = next(iter(list_segments(spool)), 1)
        start = Position(segment=first, offset=0, sequence=first - 1)
        reader.seek(start)
        with contextlib.suppress(OSError):  # a full disk; the next commit writes it
            reader.commit(start)
    return reader
