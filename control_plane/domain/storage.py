"""What became of everything that the collectors have put, store by store: the conservation ledger.

For each collector and store ``records_in = stored + queued + dropped + dead`` must hold.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLedger:
    """One collector and one store; a record is one ``put`` of the collector.

    Attributes:
        records_in: Put since the store was added; the counts survive restarts.
        records_missing: Of which nobody knows what became; anything but 0 is a fault of ours.
        samples_dropped: That the spool could not keep: bounds, a full disk, no such value.
        queued_bytes: Size of what is still to be stored.
        lag_s: Age of the oldest record that is not stored; 0 if all are.
        last_error: What does not work now, ``None`` as soon as it does.
    """

    collector: str
    store: str
    records_in: int = 0
    records_stored: int = 0
    records_queued: int = 0
    records_dropped: int = 0
    records_dead: int = 0
    records_missing: int = 0
    samples_stored: int = 0
    samples_dropped: int = 0
    samples_dead: int = 0
    queued_bytes: int = 0
    lag_s: float = 0.0
    last_error: str | None = None

    @property
    def trouble(self) -> tuple[object, ...]:
        """Orders ledgers by how much they want to be looked at."""
        lost = self.records_dropped + self.records_dead
        return (self.records_missing != 0, self.last_error is not None, self.lag_s, lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreView:
    """One store as a whole; ``error`` says why nothing can be stored in it now."""

    name: str
    url: str
    error: str | None
    retry_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageView:
    """What the historian said last, ``age_s`` seconds ago."""

    age_s: float
    stores: tuple[StoreView, ...]
    ledgers: tuple[StoreLedger, ...]

    @property
    def records_missing(self) -> int:
        """Over all ledgers; anything but 0 is a fault of ours."""
        return sum(abs(each.records_missing) for each in self.ledgers)

    def total(self, store: str) -> StoreLedger:
        """Return the sum over all collectors; the lag is the longest."""
        return _sum(store, [each for each in self.ledgers if each.store == store])


def _sum(store: str, ledgers: Iterable[StoreLedger]) -> StoreLedger:
    ledgers = list(ledgers)
    return StoreLedger(
        collector="",
        store=store,
        records_in=sum(each.records_in for each in ledgers),
        records_stored=sum(each.records_stored for each in ledgers),
        records_queued=sum(each.records_queued for each in ledgers),
        records_dropped=sum(each.records_dropped for each in ledgers),
        records_dead=sum(each.records_dead for each in ledgers),
        records_missing=sum(each.records_missing for each in ledgers),
        samples_stored=sum(each.samples_stored for each in ledgers),
        samples_dropped=sum(each.samples_dropped for each in ledgers),
        samples_dead=sum(each.samples_dead for each in ledgers),
        queued_bytes=sum(each.queued_bytes for each in ledgers),
        lag_s=max((each.lag_s for each in ledgers), default=0.0),
        last_error=next((each.last_error for each in ledgers if each.last_error), None),
    )
