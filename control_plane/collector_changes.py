"""Puts collector files into service and out of it, one collector at a time."""

import time
from dataclasses import dataclass
from pathlib import Path

from collectors.contract.config import parse_collector, revision_of
from collectors.contract.config_problems import read_toml
from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Permission
from control_plane.clock import Clock
from control_plane.domain.process import Desired
from control_plane.errors import UnknownProcess
from control_plane.storage.desired_states import DesiredStates
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.program_changes import Change, ProgramChanges
from control_plane.supervisor.program_files import check_program_name, write_atomically
from control_plane.telemetry.heartbeats import latest_heartbeat

_RELOAD_DEADLINE_S = 5.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of it; ``outcome`` is a code of the catalogue (``cli.applied.OUTCOME``)."""

    name: str
    outcome: str
    revision: str


class CollectorChanges:
    """Changes collectors of a running installation on behalf of somebody."""

    def __init__(
        self,
        home: Path,
        client: SupervisorClient,
        programs: ProgramChanges,
        audit: Auditor,
        desired: DesiredStates,
        clock: Clock,
    ) -> None:
        self._home = home
        self._client = client
        self._programs = programs
        self._audit = audit
        self._desired = desired
        self._clock = clock

    def apply(self, actor: Actor, file: Path) -> Applied:
        """Validate ``file``, copy it to ``collectors.d`` and put that collector into service.

        A collector that runs takes the new text over without a restart.

        Raises:
            NotPermitted, ConfigError, InvalidProgramFile, Busy, SupervisorUnreachable.
        """
        self._audit.allow(actor, Permission.CONFIGURE, "collector.apply", file.stem)
        config = parse_collector(read_toml(file), file=str(file))
        name = check_program_name(config.name, "collector")
        self.require_supervisor()  # Nothing is written while it does not answer.
        target = self._file(name)
        if file.resolve() != target.resolve():
            write_atomically(target, file.read_text(encoding="utf-8"))
        revision = revision_of(target)
        self._audit.note(actor, "collector.apply", name, "requested", f"revision {revision}")
        change = self._programs.apply(name)
        outcome = change.value
        if change is Change.ADDED:
            self._desired.want(name, Desired.RUN, actor.name, self._clock.now())
        elif change is Change.NONE:
            outcome = self._reload(name, revision)
        elif name in self._desired.stopped():
            outcome = "stopped"
        return Applied(name=name, outcome=outcome, revision=revision)

    def require_supervisor(self) -> None:
        """Raise SupervisorUnreachable unless supervisord answers."""
        self._client.pid()

    def remove(self, actor: Actor, name: str) -> Path:
        """Stop the collector, forget its program, and return where its file is kept.

        Raises:
            NotPermitted, UnknownProcess, Busy, SupervisorUnreachable.
        """
        self._audit.allow(actor, Permission.ADMINISTER, "collector.remove", name)
        target = self._file(check_program_name(name, "collector"))
        if not target.is_file():
            raise UnknownProcess(name=name)
        self._audit.note(actor, "collector.remove", name, "requested")
        self._programs.remove(name)
        self._desired.forget(name)
        kept = target.with_name(f"{name}.toml.removed-{self._clock.now():%Y%m%dT%H%M%SZ}")
        target.rename(kept)
        return kept

    def _reload(self, name: str, revision: str) -> str:
        """Tell the running collector to read its file; its heartbeat proves that it did."""
        pid = self._client.process(name).pid
        if pid is None:
            return "stopped"
        self._client.signal(name, "HUP")
        deadline = self._clock.monotonic() + _RELOAD_DEADLINE_S
        while self._clock.monotonic() < deadline:
            seen = latest_heartbeat(self._home, name)
            beat = seen.beat if seen else None
            if beat is not None and (beat.pid, beat.config_revision) == (pid, revision):
                return "reloaded"
            time.sleep(_POLL_S)
        return "not_reloaded"

    def _file(self, name: str) -> Path:
        return self._home / "collectors.d" / f"{name}.toml"
