"""Who did what, when, from where, and what came of it; rows are only ever added."""

from datetime import datetime

from control_plane.domain.audit import AuditEvent
from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import AuditEntry
from control_plane.storage.times import to_ms

_DETAIL_CHARACTERS = 4000


class AuditTrail:
    """Usable from any thread; an entry is committed before the action is answered."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def record(self, event: AuditEvent) -> None:
        with self._database.connection():
            AuditEntry.create(
                at_ms=to_ms(event.at),
                actor=fit(event.actor, 80),
                origin=fit(event.origin, 80),
                action=event.action,
                target=fit(event.target, 80),
                outcome=event.outcome,
                detail=fit(event.detail, _DETAIL_CHARACTERS),
            )

    def was_commanded(self, process: str, since: datetime) -> bool:
        """Tell whether anyone asked to start, stop or restart ``process`` since then."""
        with self._database.connection():
            return bool(
                AuditEntry.select()
                .where(
                    AuditEntry.target.in_((process, "all")),
                    AuditEntry.at_ms >= to_ms(since),
                    AuditEntry.action.startswith("process."),
                    AuditEntry.outcome == "requested",
                )
                .exists()
            )

    def last_outcome(self, process: str) -> str | None:
        """Return what came of the newest command for ``process``, ``None`` without any."""
        with self._database.connection():
            row = (
                AuditEntry.select(AuditEntry.outcome)
                .where(AuditEntry.target == process, AuditEntry.action.startswith("process."))
                .order_by(AuditEntry.at_ms.desc(), AuditEntry.id.desc())
                .first()
            )
            return None if row is None else str(row.outcome)
