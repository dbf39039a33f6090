"""What a user may tell automatic recovery: to leave a collector, or all of them, alone."""

from collections.abc import Callable
from datetime import datetime, timedelta

from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Permission
from control_plane.clock import Clock
from control_plane.domain.recovery import Maintenance
from control_plane.errors import BadMaintenance, UnknownProcess
from control_plane.recovery.service import EVERYTHING
from control_plane.storage.recovery import MaintenanceWindows

_LONGEST = timedelta(days=30)


class MaintenanceCommands:
    """Begin and end maintenance; each is in the audit trail."""

    def __init__(
        self,
        windows: MaintenanceWindows,
        audit: Auditor,
        clock: Clock,
        is_collector: Callable[[str], bool],
    ) -> None:
        self._windows = windows
        self._audit = audit
        self._clock = clock
        self._is_collector = is_collector

    def present(self) -> list[Maintenance]:
        """Return the windows that last, soonest end first."""
        return sorted(self._windows.present(self._clock.now()).values(), key=lambda w: w.until)

    def begin(self, actor: Actor, process: str, until: datetime, reason: str) -> Maintenance:
        """Have nothing done to ``process`` (``*``: to any) by itself until then.

        Raises:
            NotPermitted, UnknownProcess, BadMaintenance.
        """
        self._audit.allow(actor, Permission.COMMAND, "maintenance.begin", process, reason)
        self._check(process)
        now = self._clock.now()
        if not now < until <= now + _LONGEST:
            raise BadMaintenance(days=_LONGEST.days)
        window = Maintenance(process=process, until=until, actor=actor.name, reason=reason)
        self._windows.begin(window)
        detail = f"until {until.isoformat()}: {reason}"
        self._audit.note(actor, "maintenance.begin", process, "done", detail)
        return window

    def end(self, actor: Actor, process: str) -> None:
        """End it now.

        Raises:
            NotPermitted, UnknownProcess: the latter also if there is none.
        """
        self._audit.allow(actor, Permission.COMMAND, "maintenance.end", process)
        if not self._windows.end(process):
            raise UnknownProcess(name=process)
        self._audit.note(actor, "maintenance.end", process, "done")

    def _check(self, process: str) -> None:
        if process != EVERYTHING and not self._is_collector(process):
            raise UnknownProcess(name=process)
