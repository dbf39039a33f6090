"""Writes down who did what: the one way by which actions and refusals get into the audit trail."""

from control_plane.auth.permissions import Actor, Permission, require
from control_plane.clock import Clock
from control_plane.domain.audit import AuditEvent
from control_plane.errors import NotPermitted
from control_plane.storage.audit import AuditTrail


class Auditor:
    """Notes actions at the time of the clock; usable from any thread."""

    def __init__(self, trail: AuditTrail, clock: Clock) -> None:
        self.trail = trail
        self._clock = clock

    def note(self, actor: Actor, action: str, target: str, outcome: str, detail: str = "") -> None:
        """Commit one entry before the action is answered; see :class:`AuditEvent`.

        Raises:
            StorageError: then the action must not be called done.
        """
        self.trail.record(
            AuditEvent(
                at=self._clock.now(),
                actor=actor.name,
                origin=actor.origin,
                action=action,
                target=target,
                outcome=outcome,
                detail=detail,
            )
        )

    def allow(
        self, actor: Actor, permission: Permission, action: str, target: str, detail: str = ""
    ) -> None:
        """Raise NotPermitted unless the actor's role allows it; the refusal is noted."""
        try:
            require(actor, permission)
        except NotPermitted as refusal:
            refusal.is_noted = True
            self.note(actor, action, target, "denied", detail)
            raise
