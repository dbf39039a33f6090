"""One way through a spool for one store: what is confirmed, and what is safe to forget."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from collectors.history.ledger import Ledger
from collectors.history.segment import Position
from collectors.history.spool_reader import Record, SpoolReader
from collectors.history.store import Refusal

BATCH_RECORDS = 500
BATCH_SAMPLES = 20_000
"""One batch is some 100 ms of work, so that a stop never waits for long."""
_MARK_S = 1.0


class Lane:
    """Reads in order; what a store confirmed is safe once ``replay_window_s`` has passed since.

    A store that dies can forget what it last confirmed. So only a safe position is committed, and
    :meth:`rewind` goes back to it. Between them at most one mark a second is kept.

    Attributes:
        ledger: Counts what this lane has stored.
        confirmed: The last record that the store has confirmed, and all before it.
        end: Records from this sequence on are not for this lane.
        is_at_end: It has met one of them, so all before are in its batch or behind it.
    """

    def __init__(
        self,
        reader: SpoolReader,
        ledger: Ledger,
        replay_window_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.reader = reader
        self.ledger = ledger
        self.confirmed: Position | None = reader.position
        self.end: int | None = None
        self.is_at_end = False
        self._safe: Position | None = reader.position
        self._window_s = replay_window_s
        self._monotonic = monotonic
        self._unstored: list[Record] = []
        self._marks: deque[tuple[float, Position]] = deque()

    def batch(self) -> Sequence[Record]:
        """Return the next records, the same again until they are confirmed or rewound.

        Raises:
            OSError: the spool cannot be read now.
        """
        # Kept, as reading them again would report the same damage again.
        records = self._unstored or self.reader.read(BATCH_RECORDS, max_samples=BATCH_SAMPLES)
        if self.end is not None and records and records[-1].sequence >= self.end:
            self.is_at_end = True
            records = [record for record in records if record.sequence < self.end]
        self._unstored = records
        return records

    def confirm(self, refusals: Sequence[Refusal]) -> None:
        """Count the batch; the store has stored or refused it."""
        if self._unstored:
            self.ledger.count(self._unstored, refusals)
            self._pass_to(self._unstored[-1].end)

    def join(self, ahead: Lane) -> None:
        """Go on where ``ahead`` is, which began where this lane ends."""
        self.end, self.is_at_end = None, False
        self.ledger.join(ahead.ledger)
        if ahead.confirmed is not None:
            self.reader.seek(ahead.confirmed)
            self._pass_to(ahead.confirmed)

    def settle(self) -> Position | None:
        """Return how far everything is safe, if the store has not died until now."""
        until_mono = self._monotonic() - self._window_s
        while self._marks and self._marks[0][0] <= until_mono:
            self._safe = self._marks.popleft()[1]
        return self._safe

    def rewind(self) -> None:
        """Go back to what is safe."""
        self._unstored = []
        self._marks.clear()
        self.is_at_end = False
        self.confirmed = self._safe
        self.reader.seek(self._safe)

    def oldest_unstored_ns(self) -> int | None:
        """Return when the next record was put, ``None`` if all are confirmed.

        Raises:
            OSError: the spool cannot be read now.
        """
        if self._unstored:
            return self._unstored[0].wall_ns
        return self.reader.oldest_unread_wall_ns()

    def _pass_to(self, position: Position) -> None:
        self._unstored = []
        self.confirmed = position
        now_mono = self._monotonic()
        # The newest mark moves on until it is a second old, so a window of n s has n marks.
        if len(self._marks) > 1 and now_mono - self._marks[-2][0] < _MARK_S:
            self._marks.pop()
        self._marks.append((now_mono, position))
