"""Restarts and health of each process over time."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.health import ProcessHealth
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import HealthRecord, Incarnation, Restart
from control_plane.storage.times import from_ms, to_ms

_PRUNE_BATCH = 1000


class ProcessHistory:
    """Usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def last_incarnation(self, process: str) -> tuple[int, datetime] | None:
        """Return (pid, creation time) of the newest process noted, or ``None``."""
        with self._database.connection():
            row = Incarnation.get_or_none(Incarnation.process == process)
            return None if row is None else (row.pid, from_ms(row.created_ms))

    def known_processes(self) -> set[str]:
        """Return the name of every process ever noted."""
        with self._database.connection():
            return {row.process for row in Incarnation.select(Incarnation.process)}

    def note_incarnation(
        self, process: str, pid: int, created_at: datetime, restarted_at: datetime | None
    ) -> None:
        """Note a new process; with ``restarted_at`` also that nobody had asked for it."""
        with self._database.connection() as db, db.atomic():
            facts = {"pid": pid, "created_ms": to_ms(created_at)}
            Incarnation.insert(process=process, **facts).on_conflict(
                conflict_target=[Incarnation.process], update=facts
            ).execute()
            if restarted_at is not None:
                Restart.create(process=process, at_ms=to_ms(restarted_at), pid=pid)

    def restarts(self, process: str, since: datetime) -> list[datetime]:
        """Return the times of restarts that nobody asked for, oldest first."""
        with self._database.connection():
            rows = (
                Restart.select(Restart.at_ms)
                .where(Restart.process == process, Restart.at_ms >= to_ms(since))
                .order_by(Restart.at_ms)
            )
            return [from_ms(row.at_ms) for row in rows]

    def record_health(self, at: datetime, judged: Sequence[tuple[str, ProcessHealth]]) -> None:
        """Write one round of checks in one transaction."""
        rows = [
            {
                "process": name,
                "at_ms": to_ms(at),
                "status": health.status.value,
                "score": health.score,
                "checks": json.dumps([_compact(check) for check in health.checks]),
            }
            for name, health in judged
        ]
        if rows:
            with self._database.connection() as db, db.atomic():
                HealthRecord.insert_many(rows).execute()

    def prune(self, now: datetime, keep: timedelta) -> int:
        """Delete rows older than ``keep`` in small transactions and return how many."""
        return sum(self._prune(table, to_ms(now - keep)) for table in (HealthRecord, Restart))

    def _prune(self, table: Any, before_ms: int) -> int:
        removed = 0
        while True:
            with self._database.connection():
                old = table.select(table.id).where(table.at_ms < before_ms).limit(_PRUNE_BATCH)
                ids = [row.id for row in old]
                if ids:
                    removed += int(table.delete().where(table.id.in_(ids)).execute())
            if len(ids) < _PRUNE_BATCH:
                return removed


def _compact(check: Any) -> dict[str, object]:
    return {
        "check_type": check.check_type,
        "status": check.status,
        "code": check.code,
        "params": dict(check.params),
        "penalty": check.penalty,
    }
