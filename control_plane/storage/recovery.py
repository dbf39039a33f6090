"""What automatic recovery decided and remembers, and which collectors are in maintenance."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.recovery import (
    Decision,
    DecisionRecord,
    Guard,
    Maintenance,
    ProcessErrorType,
    RecoveryAction,
)
from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import MaintenanceWindow, RecoveryDecision, RecoveryMemory
from control_plane.storage.times import from_ms, to_ms

_PRUNE_BATCH = 1000
UNFINISHED = ("planned", "sent")


class RecoveryDecisions:
    """Usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def add(self, decision: Decision, outcome: str, at: datetime) -> int:
        """Write a decision down before anything is done, and return its number."""
        with self._database.connection():
            row = RecoveryDecision.create(
                process=decision.process,
                at_ms=to_ms(at),
                category=decision.category.value if decision.category else "",
                rule=decision.rule,
                wanted=decision.wanted.value,
                action=decision.action.value,
                guard=decision.guard.value if decision.guard else "",
                attempt=decision.attempt,
                facts=json.dumps(dict(decision.facts)),
                outcome=outcome,
                detail="",
            )
            return int(row.id)

    def end(self, number: int, outcome: str, detail: str) -> None:
        """Note what became of it."""
        facts = {"outcome": outcome, "detail": fit(detail, 400)}
        with self._database.connection():
            RecoveryDecision.update(**facts).where(RecoveryDecision.id == number).execute()

    def interrupted(self, since: datetime) -> int:
        """Mark actions that a control plane began and died over; return how many."""
        with self._database.connection():
            cut_off = (RecoveryDecision.at_ms >= to_ms(since)) & RecoveryDecision.outcome.in_(
                UNFINISHED
            )
            update = RecoveryDecision.update(outcome="unknown", detail="interrupted")
            return int(update.where(cut_off).execute())

    def newest(
        self, process: str | None, limit: int, before: int | None = None
    ) -> list[DecisionRecord]:
        """Return decisions, newest first; ``before`` is the number to go on from."""
        with self._database.connection():
            rows = RecoveryDecision.select().order_by(RecoveryDecision.id.desc()).limit(limit)
            if process is not None:
                rows = rows.where(RecoveryDecision.process == process)
            if before is not None:
                rows = rows.where(RecoveryDecision.id < before)
            return [_record(row) for row in rows]

    def prune(self, now: datetime, keep: timedelta) -> int:
        """Delete decisions older than ``keep`` in small transactions and return how many."""
        removed = 0
        while True:
            with self._database.connection():
                old = RecoveryDecision.select(RecoveryDecision.id).where(
                    RecoveryDecision.at_ms < to_ms(now - keep)
                )
                ids = [row.id for row in old.limit(_PRUNE_BATCH)]
                if ids:
                    where = RecoveryDecision.id.in_(ids)
                    removed += int(RecoveryDecision.delete().where(where).execute())
            if len(ids) < _PRUNE_BATCH:
                return removed


def _record(row: RecoveryDecision) -> DecisionRecord:
    return DecisionRecord(
        id=row.id,
        at=from_ms(row.at_ms),
        decision=Decision(
            process=row.process,
            category=ProcessErrorType(row.category) if row.category else None,
            rule=row.rule,
            wanted=RecoveryAction(row.wanted),
            action=RecoveryAction(row.action),
            guard=Guard(row.guard) if row.guard else None,
            attempt=row.attempt,
            facts=json.loads(row.facts),
        ),
        outcome=row.outcome,
        detail=row.detail,
    )


class RecoveryMemories:
    """Figures of each collector, with the clock that they are of; usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def save(self, process: str, boot_id: str, saved_s: float, figures: Mapping[str, Any]) -> None:
        facts = {"boot_id": boot_id, "saved_s": saved_s, "figures": json.dumps(dict(figures))}
        with self._database.connection():
            RecoveryMemory.insert(process=process, **facts).on_conflict(
                conflict_target=[RecoveryMemory.process], update=facts
            ).execute()

    def load(self) -> dict[str, tuple[str, float, dict[str, Any]]]:
        """Return (boot id, clock reading, figures) of every collector."""
        with self._database.connection():
            return {
                row.process: (row.boot_id, row.saved_s, json.loads(row.figures))
                for row in RecoveryMemory.select()
            }


class MaintenanceWindows:
    """Usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def begin(self, window: Maintenance) -> None:
        """Leave the collector alone until then; replaces what was said before."""
        facts = {
            "until_ms": to_ms(window.until),
            "actor": fit(window.actor, 80),
            "reason": fit(window.reason, 400),
        }
        with self._database.connection():
            MaintenanceWindow.insert(process=window.process, **facts).on_conflict(
                conflict_target=[MaintenanceWindow.process], update=facts
            ).execute()

    def end(self, process: str) -> bool:
        """End it now; return whether there was one."""
        with self._database.connection():
            where = MaintenanceWindow.process == process
            return bool(MaintenanceWindow.delete().where(where).execute())

    def present(self, now: datetime) -> dict[str, Maintenance]:
        """Return the windows that last, by process."""
        with self._database.connection():
            lasts = MaintenanceWindow.until_ms > to_ms(now)
            return {
                row.process: Maintenance(
                    process=row.process,
                    until=from_ms(row.until_ms),
                    actor=row.actor,
                    reason=row.reason,
                )
                for row in MaintenanceWindow.select().where(lasts)
            }
