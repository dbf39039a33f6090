"""Moves one collector's spool into the store, and keeps its troubles to itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collectors.history.embedded.store import EmbeddedStore
from collectors.history.segment import Position
from collectors.history.spool_reader import Record, SpoolReader

_log = logging.getLogger(__name__)

STORE = "embedded"
"""Names the cursor file in each spool."""

_BATCH_RECORDS = 500
_BATCH_SAMPLES = 20_000
"""One transaction, some 100 ms of work, so that a stop never waits for long."""
_NOT_STORED = "samples cannot be stored; they wait in the spool"
_NOT_COMMITTED = "cursor cannot be written; a restart will store samples again"
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 30.0
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStatus:
    """How far the store is behind one collector.

    Attributes:
        stored: Samples stored since the historian started.
        queued_bytes: Size of what is still to be read.
        lag_s: Age of the oldest record that is not stored; 0 if all are.
        corrupt_records: Damaged places in the spool, skipped.
        gaps: Times that the spool had dropped records before they were read.
        last_error: What does not work now; ``None`` as soon as it does.
    """

    stored: int
    queued_bytes: int
    lag_s: float
    corrupt_records: int
    gaps: int
    last_error: str | None


class Drain:
    """Reads the spool of ``collector`` and appends to a store that it shares with other drains."""

    def __init__(
        self,
        collector: str,
        spool: Path,
        store: EmbeddedStore,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collector = collector
        self._store = store
        self._monotonic = monotonic
        self._reader = SpoolReader(spool, STORE)
        self._unstored: list[Record] = []
        self._stored_up_to: Position | None = None
        self._stored = 0
        self._failures = 0
        self._retry_mono = 0.0
        self._troubles: dict[str, _Trouble] = {}

    def step(self) -> bool:
        """Store the next batch; return whether there was one.

        Never raises: a failure is logged when it changes, and the same batch tried again later.
        """
        if self._failures and self._monotonic() < self._retry_mono:
            return False
        try:
            had_batch = self._store_batch()
        except Exception as exc:  # noqa: BLE001 - one spool must not stop the others
            retry_s = min(_FIRST_RETRY_S * 2**self._failures, _LONGEST_RETRY_S)
            self._retry_mono = self._monotonic() + retry_s
            self._failures = min(self._failures + 1, _MOST_DOUBLINGS)
            self._failed(_NOT_STORED, exc)
            return False
        self._failures = 0
        self._succeeded(_NOT_STORED)
        return had_batch

    def commit(self) -> None:
        """Remember what is stored. Call this only after the store has been synced."""
        if self._stored_up_to is None:
            return
        try:
            self._reader.commit(self._stored_up_to)
        except OSError as exc:
            self._failed(_NOT_COMMITTED, exc)
        else:
            self._succeeded(_NOT_COMMITTED)

    def status(self, now_ns: int) -> DrainStatus:
        """Return the state at ``now_ns``, the wall clock in ns."""
        queued_bytes, lag_s = 0, 0.0
        troubles = [trouble.reason for trouble in self._troubles.values()]
        try:
            queued_bytes = self._reader.backlog_bytes()
            oldest_ns = (
                self._unstored[0].wall_ns
                if self._unstored
                else self._reader.oldest_unread_wall_ns()
            )
            lag_s = 0.0 if oldest_ns is None else max(0.0, (now_ns - oldest_ns) / 1e9)
        except OSError as exc:
            troubles.append(_reason(exc))
        return DrainStatus(
            stored=self._stored,
            queued_bytes=queued_bytes,
            lag_s=round(lag_s, 3),
            corrupt_records=self._reader.corrupt_records,
            gaps=self._reader.gaps,
            last_error=troubles[0] if troubles else None,
        )

    def close(self) -> None:
        """Let go of the spool's files."""
        self._reader.close()

    def _store_batch(self) -> bool:
        # Kept until stored: reading them again would count the same damage again.
        self._unstored = self._unstored or self._reader.read(
            _BATCH_RECORDS, max_samples=_BATCH_SAMPLES
        )
        batch = self._unstored
        if batch:
            self._stored += self._store.append(self._collector, batch)
            self._stored_up_to = batch[-1].end
            self._unstored = []
        return bool(batch)

    def _failed(self, event: str, exc: Exception) -> None:
        """Log ``event`` if it or its reason is new."""
        known = self._troubles.get(event)
        reason = _reason(exc)
        if known is None or known.reason != reason:
            since_mono = self._monotonic() if known is None else known.since_mono
            self._troubles[event] = _Trouble(reason=reason, since_mono=since_mono)
            facts = {"collector": self._collector, "reason": reason}
            _log.error(event, extra=facts, exc_info=exc)

    def _succeeded(self, event: str) -> None:
        trouble = self._troubles.pop(event, None)
        if trouble is not None:
            duration_s = round(self._monotonic() - trouble.since_mono, 1)
            facts = {"collector": self._collector, "trouble": event, "duration_s": duration_s}
            _log.info("trouble is over", extra=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """What does not work now, and since when."""

    reason: str
    since_mono: float


def _reason(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"
