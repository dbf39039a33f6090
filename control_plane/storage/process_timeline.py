"""What became of one process over time: how it was judged, its restarts, what people did to it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control_plane.domain.audit import AuditEvent
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import AuditEntry, HealthRecord, Restart
from control_plane.storage.times import from_ms, to_ms

MOST_ROUNDS: Final = 30_000
"""More than a week of rounds of 30 s."""
_READING: Final = ("log.", "history.", "session.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One round: its score, and of each check the status, code, params and penalty."""

    at: datetime
    status: str
    score: float | None
    checks: tuple[dict[str, Any], ...]


class ProcessTimeline:
    """Usable from any thread; it only reads."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def judgements(self, process: str, start: datetime, end: datetime) -> list[Judgement]:
        """Return the newest rounds of the range, at most ``MOST_ROUNDS``, oldest first."""
        with self._database.connection():
            rows = (
                HealthRecord.select(
                    HealthRecord.at_ms, HealthRecord.status, HealthRecord.score, HealthRecord.checks
                )
                .where(
                    HealthRecord.process == process,
                    HealthRecord.at_ms.between(to_ms(start), to_ms(end)),
                )
                .order_by(HealthRecord.at_ms.desc())
                .limit(MOST_ROUNDS)
                .tuples()
            )
            return list(_judgements(rows))[::-1]

    def restarts(self, process: str, start: datetime, end: datetime) -> list[datetime]:
        """Return when it was restarted without anybody asking for it, oldest first."""
        with self._database.connection():
            rows = (
                Restart.select(Restart.at_ms)
                .where(Restart.process == process, Restart.at_ms.between(to_ms(start), to_ms(end)))
                .order_by(Restart.at_ms)
            )
            return [from_ms(row.at_ms) for row in rows]

    def actions(self, process: str, start: datetime, end: datetime, limit: int) -> list[AuditEvent]:
        """Return the newest things that people did to it, oldest first; looking is left out."""
        with self._database.connection():
            rows = (
                AuditEntry.select()
                .where(
                    AuditEntry.target == process,
                    AuditEntry.at_ms.between(to_ms(start), to_ms(end)),
                    *(~AuditEntry.action.startswith(prefix) for prefix in _READING),
                    # What was requested is told again, with what came of it.
                    AuditEntry.outcome != "requested",
                )
                .order_by(AuditEntry.at_ms.desc(), AuditEntry.id.desc())
                .limit(limit)
            )
            return [_event(row) for row in rows][::-1]


def _judgements(rows: Any) -> Iterator[Judgement]:
    for at_ms, status, score, checks in rows:
        yield Judgement(
            at=from_ms(at_ms), status=status, score=score, checks=tuple(json.loads(checks))
        )


def _event(row: Any) -> AuditEvent:
    return AuditEvent(
        at=from_ms(row.at_ms),
        actor=row.actor,
        origin=row.origin,
        action=row.action,
        target=row.target,
        outcome=row.outcome,
        detail=row.detail,
    )
