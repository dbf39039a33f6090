"""What became of every record that one collector spooled, for one store; survives restarts.

A record is one ``put`` of the collector. The spool numbers them without a gap, so nothing can get
lost in these accounts: ``sequence - since == stored + dropped + dead`` always holds, and what the
spool has beyond ``sequence`` is queued.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from collectors.history.losses import AGE, SIZE, Loss
from collectors.history.spool_reader import Record
from collectors.history.store import Refusal


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Counts each record once, however often it is stored.

    Attributes:
        since: The record before the first that is counted.
        sequence: The last record that is counted.
        stored: Records in the store, at least in part.
        dropped: Records that were gone or damaged before the store had them.
        dead: Records of which the store refused every sample.
        samples_stored: Samples in the store.
        samples_dead: Samples that the store refused, also those of records that it took in part.
        samples_dropped: Samples that the spool could not keep, as far as it has told yet.
        untold_gap: 1 if records are missing of which the spool has not told the samples yet.
    """

    since: int = 0
    sequence: int = 0
    stored: int = 0
    dropped: int = 0
    dead: int = 0
    samples_stored: int = 0
    samples_dead: int = 0
    samples_dropped: int = 0
    untold_gap: int = 0

    def uncounted(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return those of ``records`` that are not stored again after a rewind."""
        return [record for record in records if record.sequence > self.sequence]

    def count(self, records: Sequence[Record], refusals: Sequence[Refusal]) -> None:
        """Count records that the store has answered for, and those missing before them."""
        refused = Counter(refusal.sequence for refusal in refusals)
        for record in self.uncounted(records):
            self.skip_to(record.sequence - 1)
            self._hear(record.losses)
            dead = refused[record.sequence]
            self.sequence = record.sequence
            self.samples_dead += dead
            self.samples_stored += len(record.batch) - dead
            if dead == len(record.batch):
                self.dead += 1
            else:
                self.stored += 1

    def skip_to(self, sequence: int) -> None:
        """Count all records up to ``sequence`` that are not counted yet as dropped."""
        if sequence > self.sequence:
            self.dropped += sequence - self.sequence
            self.sequence = sequence
            self.untold_gap = 1

    def join(self, other: Ledger) -> None:
        """Take over the counts of the records behind ours."""
        self.skip_to(other.since)
        self.sequence = other.sequence
        self.stored += other.stored
        self.dropped += other.dropped
        self.dead += other.dead
        self.samples_stored += other.samples_stored
        self.samples_dead += other.samples_dead
        self.samples_dropped += other.samples_dropped
        self.untold_gap = other.untold_gap

    def _hear(self, losses: Sequence[Loss]) -> None:
        """Count what the spool tells; it drops for all stores what the slowest has not read."""
        for loss in losses:
            if loss.reason not in (SIZE, AGE) or self.untold_gap:
                self.samples_dropped += loss.samples
        if losses:
            self.untold_gap = 0


_FIELDS = tuple(field.name for field in fields(Ledger))


def ledger_path(directory: Path, store: str) -> Path:
    """Return the file beside the cursor of ``store``."""
    return directory / f"ledger.{store}"


def read_ledger(path: Path, default_since: int) -> Ledger:
    """Return the stored counts, or new ones that begin behind ``default_since``."""
    try:
        found = json.loads(path.read_bytes())
        return Ledger(**{name: int(found.get(name, 0)) for name in _FIELDS})
    except (OSError, ValueError, TypeError, AttributeError):
        return Ledger(since=default_since, sequence=default_since)


def write_ledger(path: Path, ledger: Ledger) -> None:
    """Replace the stored counts in one step.

    Raises:
        OSError: the disk is full or the directory is gone.
    """
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(json.dumps(asdict(ledger)).encode())
    temporary.replace(path)
