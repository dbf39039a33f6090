"""Keeps what must survive the control plane: new processes, restarts, and what others wanted."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from control_plane.clock import Clock
from control_plane.domain.audit import AuditEvent
from control_plane.domain.observation import Round, SeenCollector
from control_plane.domain.process import Desired, SupervisorState
from control_plane.errors import StorageError
from control_plane.storage.audit import AuditTrail
from control_plane.storage.desired_states import DesiredStates
from control_plane.storage.process_history import ProcessHistory

log = logging.getLogger(__name__)

_COMMAND_WINDOW = timedelta(seconds=30)
_DAY = timedelta(hours=24)
_LASTS_S = 3.0
"""`supervisorctl update` stops a program for less than this before it starts it again."""
_CLOCK_SLACK = timedelta(milliseconds=50)
"""A start is derived from clock ticks and the boot time; the database keeps milliseconds."""
_TICK = timedelta(milliseconds=10)
"""The kernel rounds a start down to its tick (USER_HZ), so before the command that brought it."""


@dataclass(slots=True)
class _Known:
    """What is known of one collector; ``is_of_the_past``: a control plane before us saw it."""

    incarnation: tuple[int, datetime] | None = None
    is_of_the_past: bool = True
    restarts: deque[datetime] = field(default_factory=deque)
    contradicts_since_mono: float | None = None


class Chronicle:
    """Owned by the monitor's thread; without a database nothing is lost but written later."""

    def __init__(
        self, history: ProcessHistory, audit: AuditTrail, desired: DesiredStates, clock: Clock
    ) -> None:
        self._history = history
        self._audit = audit
        self._desired = desired
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._failing = False

    def restart_count(self, name: str, now: datetime) -> int:
        """Return the restarts that nobody asked for, of the last 24 h."""
        known = self._known.get(name)
        return sum(at >= now - _DAY for at in known.restarts) if known else 0

    def write(self, rounds: Sequence[Round]) -> bool:
        """Write down what is new on each node; return whether a restart was counted."""
        counted, failure = False, None
        for seen, each in [(look, each) for look in rounds for each in look.collectors]:
            try:
                known = self._known.get(each.file.name) or self._load(each.file.name, seen)
                counted |= self._note_incarnation(each, seen, known)
                self._adopt_what_others_did(each, known)
            except StorageError as exc:
                failure = exc
        if failure is not None and not self._failing:
            log.error("state database fails", extra={"reason": str(failure)})
        self._failing = failure is not None
        return counted

    def _load(self, name: str, seen: Round) -> _Known:
        since = seen.taken_at - _DAY
        known = _Known(
            incarnation=self._history.last_incarnation(name),
            restarts=deque(self._history.restarts(name, since)),
        )
        self._known[name] = known
        return known

    def _note_incarnation(self, each: SeenCollector, seen: Round, known: _Known) -> bool:
        name, usage, before = each.file.name, each.facts.usage, known.incarnation
        while known.restarts and known.restarts[0] < seen.taken_at - _DAY:
            known.restarts.popleft()
        if usage is None:
            return False
        now = (usage.pid, usage.created_at)
        if before and before[0] == now[0] and abs(before[1] - now[1]) < _CLOCK_SLACK:
            return False
        supervisor_start = seen.node.started_at
        unrequested = (
            before is not None
            # After a step of the clock the kernel gives another start of the very same process.
            and (before[0] != now[0] or not known.is_of_the_past)
            # With a new supervisord every process is new; that is no restart of this one.
            and (supervisor_start is None or before[1] >= supervisor_start)
            # A command since the process before started; an older one explains nothing.
            and not self._audit.was_commanded(
                name, max(before[1] + _TICK, usage.created_at - _COMMAND_WINDOW)
            )
        )
        self._history.note_incarnation(
            name, *now, restarted_at=seen.taken_at if unrequested else None
        )
        known.incarnation, known.is_of_the_past = now, False
        if unrequested:
            known.restarts.append(seen.taken_at)
            log.warning("collector was restarted", extra={"collector": name, "pid": usage.pid})
        return unrequested

    def _adopt_what_others_did(self, each: SeenCollector, known: _Known) -> None:
        """Take a state that lasts against what we know as the operators' will.

        Commands by supervisorctl are usually heard of at once; this finds those that were given
        while nobody listened, or where supervisord runs without the plugin.
        """
        now = self._clock.monotonic()
        if not _contradicts(each):
            known.contradicts_since_mono = None
            return
        if known.contradicts_since_mono is None:
            known.contradicts_since_mono = now
        if now - known.contradicts_since_mono < _LASTS_S:
            return
        known.contradicts_since_mono = None
        name, stopped = each.file.name, each.desired is Desired.RUN
        if stopped and self._audit.last_outcome(name) in ("requested", "failed", "unknown"):
            return  # A command of ours that did not work is nobody's will.
        at = self._clock.now()
        self._desired.want(name, Desired.STOP if stopped else Desired.RUN, "external", at)
        event = AuditEvent(
            at=at,
            actor="external",
            origin="supervisord",
            action="process.stop" if stopped else "process.start",
            target=name,
            outcome="observed",
        )
        self._audit.record(event)


def _contradicts(each: SeenCollector) -> bool:
    """Tell whether supervisord keeps the collector in another state than it should be in."""
    info = each.facts.info
    if info is None:
        return False
    against = SupervisorState.STOPPED if each.desired is Desired.RUN else SupervisorState.RUNNING
    return info.state is against
