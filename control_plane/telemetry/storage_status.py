"""What the historian says of its stores, from its status file."""

import time
from dataclasses import asdict
from pathlib import Path

from collectors.contract.historian_status import (
    STATUS_FILE,
    LedgerStatus,
    read_historian_status,
)
from control_plane.domain.storage import StorageView, StoreLedger, StoreView


def look_at_storage(home: Path) -> StorageView | None:
    """Return what the historian said last; ``None`` if it never said anything that can be read."""
    try:
        age_s = max(0.0, time.time() - (home / "run" / STATUS_FILE).stat().st_mtime)
    except OSError:
        return None
    status = read_historian_status(home / "run")
    if status is None:
        return None
    return StorageView(
        age_s=age_s,
        stores=tuple(StoreView(**asdict(store)) for store in status.stores),
        ledgers=tuple(
            _ledger(collector, store, ledger)
            for collector, by_store in status.collectors.items()
            for store, ledger in by_store.items()
        ),
    )


def _ledger(collector: str, store: str, said: LedgerStatus) -> StoreLedger:
    return StoreLedger(
        collector=collector, store=store, records_missing=said.missing, **asdict(said)
    )
