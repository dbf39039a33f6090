"""What the historian says about itself each second, in ``run/historian.json``, for its readers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

STATUS_FILE = "historian.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStatus:
    """How far one store is with one collector. A record is one ``put`` of the collector.

    The counts survive restarts, and ``records_in`` comes from the spool's own numbers.

    Attributes:
        records_in: Put since the store was added.
        records_stored: In the store, at least in part.
        records_queued: In the spool, still to be stored.
        records_dropped: Gone or damaged before the store had them.
        records_dead: Refused by the store in every sample; see ``dead/STORE/COLLECTOR.jsonl``.
        samples_stored: Samples in the store.
        samples_dead: Samples that the store refused.
        samples_dropped: Samples that the spool could not keep: bounds, a full disk, no such value.
        queued_bytes: Size of what is still to be read.
        lag_s: Age of the oldest record that is not stored; 0 if all are.
        last_error: What does not work now, ``None`` as soon as it does.
    """

    records_in: int = 0
    records_stored: int = 0
    records_queued: int = 0
    records_dropped: int = 0
    records_dead: int = 0
    samples_stored: int = 0
    samples_dead: int = 0
    samples_dropped: int = 0
    queued_bytes: int = 0
    lag_s: float = 0.0
    last_error: str | None = None

    @property
    def missing(self) -> int:
        """Records of which nobody knows what became; anything but 0 is a fault of ours."""
        known = self.records_stored + self.records_queued + self.records_dropped
        return self.records_in - known - self.records_dead


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """One store as a whole.

    Attributes:
        name: As in ``collectors`` of :class:`HistorianStatus` and in ``DAQ_READER``.
        url: Where it is, without secrets.
        error: Why nothing can be stored now, ``None`` if it can.
        retry_in_s: Seconds until the next attempt while there is an error.
    """

    name: str
    url: str
    error: str | None = None
    retry_in_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorianStatus:
    """All that the historian says; ``collectors`` is by collector, then by store."""

    pid: int
    sent_at: datetime
    stores: tuple[StoreStatus, ...] = ()
    collectors: dict[str, dict[str, LedgerStatus]] = field(default_factory=dict)


_STATUS = TypeAdapter(HistorianStatus)


def write_historian_status(run_dir: Path, status: HistorianStatus) -> None:
    """Replace the status file in one step.

    Raises:
        OSError: the disk is full or the directory is gone.
    """
    temporary = run_dir / f"{STATUS_FILE}.tmp"
    temporary.write_bytes(_STATUS.dump_json(status))
    temporary.replace(run_dir / STATUS_FILE)


def read_historian_status(run_dir: Path) -> HistorianStatus | None:
    """Return what the historian said last, ``None`` if there is nothing that can be understood."""
    try:
        return _STATUS.validate_json((run_dir / STATUS_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
