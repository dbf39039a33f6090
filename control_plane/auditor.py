"""Writes down who did what: the one way by which actions and refusals get into the audit trail."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from control_plane.auth.permissions import Actor, Permission, Role, require
from control_plane.clock import Clock
from control_plane.domain.audit import AuditEvent
from control_plane.errors import NotPermitted
from control_plane.storage.audit import AuditTrail

_EACH: Final = 20
"""So many refusals of one address in a minute have a row each; the others are counted in one row.
Otherwise whoever is refused could fill the disk."""
_WINDOW_S: Final = 60.0
_MAX_ADDRESSES: Final = 2000


@dataclass(slots=True)
class _Refused:
    began_mono: float
    count: int = 0


class _Refusals:
    """Counts the refusals of each address; remembers a bounded number of addresses."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._addresses: dict[str, _Refused] = {}

    def has_a_row(self, address: str) -> bool:
        """Count one refusal; return whether it is written as it is."""
        with self._lock:
            seen = self._addresses.get(address)
            if seen is None:
                seen = self._addresses[address] = _Refused(self._monotonic())
            seen.count += 1
            return seen.count <= _EACH

    def ended(self) -> list[tuple[str, int]]:
        """Forget the addresses whose minute is over; return how many refusals of each, if any,
        had no row."""
        now, gone = self._monotonic(), []
        with self._lock:
            # Ordered by the first refusal: those whose minute is over come first.
            while self._addresses:
                address, seen = next(iter(self._addresses.items()))
                too_many = len(self._addresses) > _MAX_ADDRESSES
                if now - seen.began_mono < _WINDOW_S and not too_many:
                    break
                gone.append((address, seen.count - _EACH))
                del self._addresses[address]
        return [(address, unwritten) for address, unwritten in gone if unwritten > 0]


class Auditor:
    """Notes actions at the time of the clock; usable from any thread."""

    def __init__(self, trail: AuditTrail, clock: Clock) -> None:
        self.trail = trail
        self._clock = clock
        self._refusals = _Refusals(clock.monotonic)

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

    def refuse(self, actor: Actor, action: str, target: str, detail: str = "") -> None:
        """Note that something was not allowed; a flood of it becomes one row a minute."""
        if self._refusals.has_a_row(actor.origin):
            self.note(actor, action, target, "denied", detail)
        self.note_further_refusals()

    def note_further_refusals(self) -> None:
        """Write down how many refusals had no row of their own; to be called now and then."""
        for address, unwritten in self._refusals.ended():
            everybody = Actor(name="*", role=Role.VIEWER, origin=address)
            self.note(everybody, "refusals", "*", "denied", f"{unwritten} more within a minute")

    def allow(
        self, actor: Actor, permission: Permission, action: str, target: str, detail: str = ""
    ) -> None:
        """Raise NotPermitted unless the actor's role allows it; the refusal is noted."""
        try:
            require(actor, permission)
        except NotPermitted as refusal:
            refusal.is_noted = True
            self.refuse(actor, action, target, detail)
            raise
