"""What a user may do with collectors: check the permission, do it, audit it, wake the monitor.

The API and the command line come through here alike, so there is one path for each action.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import PurePath
from typing import get_args

from collectors.contract.heartbeat import Heartbeat
from collectors.contract.signals import RESET_CONNECTIONS
from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Permission, Role
from control_plane.clock import Clock
from control_plane.domain.audit import AuditEvent
from control_plane.domain.process import Desired
from control_plane.errors import (
    Busy,
    ControlPlaneError,
    SignalNotAllowed,
    SupervisorUnreachable,
    UnknownProcess,
)
from control_plane.storage.desired_states import DesiredStates
from control_plane.storage.pending_commands import Pending, PendingCommands
from control_plane.supervisor.event_stream import ForeignCall
from control_plane.supervisor.nodes import Nodes
from control_plane.supervisor.process_manager import Action, CommandResult, Outcome, refused
from control_plane.supervisor.transport import AGENT_PREFIX

log = logging.getLogger(__name__)

_INTERRUPTED_LATELY = timedelta(minutes=2)
RECOVERY = Actor(name="recovery", role=Role.OPERATOR, origin="control-plane")
"""Who acts when the recovery policy does."""
SIGNALS = ("HUP", "USR1", "USR2")
_RESET_DEADLINE_S = 5.0
_RESET_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandMemory:
    """What is kept of commands: who gave them, what is wanted now, and which have not ended."""

    audit: Auditor
    desired: DesiredStates
    pending: PendingCommands


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorFacts:
    """Questions about a collector by its qualified name: is it one, and what did it say last."""

    is_collector: Callable[[str], bool]
    latest_beat: Callable[[str], Heartbeat | None]


class ProcessCommands:
    """Start, stop, restart and signal collectors on behalf of somebody."""

    def __init__(
        self,
        nodes: Nodes,
        memory: CommandMemory,
        clock: Clock,
        facts: CollectorFacts,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._agent = nodes.agent
        self._nodes = nodes
        self._audit = memory.audit
        self._desired = memory.desired
        self._pending = memory.pending
        self._clock = clock
        self.is_collector = facts.is_collector
        self._latest_beat = facts.latest_beat
        self._wake = wake

    def command(self, actor: Actor, action: Action, name: str) -> CommandResult:
        """Do it and wait until its effect was seen.

        Raises:
            NotPermitted, UnknownProcess, Busy, SupervisorUnreachable, SupervisorFault.
        """
        self._check(actor, action, name)
        return self._do(actor, action, name)

    def recover(self, name: str) -> CommandResult:
        """Restart a collector because the recovery policy says so; nobody has looked into it.

        Raises:
            UnknownProcess, Busy, SupervisorUnreachable, SupervisorFault.
        """
        return self._do(RECOVERY, "restart", name, acknowledged=False)

    def signal(self, actor: Actor, name: str, signal_name: str) -> CommandResult:
        """Send a signal that collectors know: ``HUP``, ``USR1`` or ``USR2``.

        Raises:
            NotPermitted, SignalNotAllowed, UnknownProcess, Busy, SupervisorUnreachable.
        """
        self._check(actor, "signal", name)
        if signal_name not in SIGNALS:
            raise SignalNotAllowed(name=signal_name, allowed=", ".join(SIGNALS))
        self._record(actor, "signal", name, "requested", signal_name)
        try:
            result = self._nodes.of(name).manager.signal(name, signal_name)
        except ControlPlaneError as exc:
            self._record(actor, "signal", name, "failed", exc.code)
            raise
        self._record(actor, "signal", name, result.outcome.value, signal_name)
        return result

    def reset_connection(self, actor: Actor, name: str) -> CommandResult:
        """Have a collector close its device connections; done once its heartbeat says so.

        Raises:
            As :meth:`signal`.
        """
        self._check(actor, "reset_connection", name)
        began_mono, before = self._clock.monotonic(), self._latest_beat(name)
        sent = self.signal(actor, name, RESET_CONNECTIONS.name.removeprefix("SIG"))
        if sent.outcome is not Outcome.DONE:
            return replace(sent, action="reset_connection")
        resets = before.connection_resets if before and before.pid == sent.pid_before else 0
        deadline_mono = began_mono + _RESET_DEADLINE_S
        outcome, detail = Outcome.UNKNOWN, "not_observed"
        while self._clock.monotonic() < deadline_mono:
            now = self._latest_beat(name)
            if now and now.pid == sent.pid_before and now.connection_resets > resets:
                outcome, detail = Outcome.DONE, "reset_observed"
                break
            time.sleep(_RESET_POLL_S)
        self._wake()
        return replace(
            sent,
            action="reset_connection",
            outcome=outcome,
            detail=detail,
            duration_ms=round((self._clock.monotonic() - began_mono) * 1000, 1),
        )

    def _check(self, actor: Actor, action: str, name: str) -> None:
        self._audit.allow(actor, Permission.COMMAND, f"process.{action}", name)
        # Our own services are not for this path: a stopped control plane cannot start itself.
        if not self.is_collector(name):
            raise UnknownProcess(name=name)

    def under_way(self) -> set[str]:
        """Return the collectors for which a command has not ended, whoever gave it."""
        return self._pending.processes(self._clock.now() - _INTERRUPTED_LATELY)

    def interrupted(self) -> list[Pending]:
        """Return the commands that a control plane began and died over."""
        return self._pending.all(self._clock.now() - _INTERRUPTED_LATELY)

    def finish(self, commands: Sequence[Pending]) -> None:
        """End interrupted commands: a restart between its stop and its start, say.

        Each is sent again only as far as its effect is not there yet.
        """
        for command in commands:
            if command not in self.interrupted():
                continue  # Somebody has commanded otherwise meanwhile.
            actor = Actor(name=command.actor, role=Role.OPERATOR, origin=command.origin)
            if command.action not in get_args(Action) or not self.is_collector(command.process):
                self._pending.end(command.process)
                continue
            # The stop of a restart has been sent: what is left of it is a start.
            action: Action = "stop" if command.action == "stop" else "start"
            log.warning(
                "command was interrupted and is ended now",
                extra={"collector": command.process, "action": command.action},
            )
            try:
                self._do(actor, action, command.process)
            except ControlPlaneError as exc:
                log.error(
                    "interrupted command cannot be ended",
                    extra={"collector": command.process, "reason": str(exc)},
                )

    def _begin(self, actor: Actor, action: Action, name: str, detail: str = "") -> None:
        # Written first: the monitor asks it whether the new process was wanted, and after a crash
        # of ours it tells what was under way.
        self._record(actor, action, name, "requested", detail)
        now = self._clock.now()
        wanted = Desired.STOP if action == "stop" else Desired.RUN
        self._desired.want(name, wanted, actor.name, now)
        pending = Pending(process=name, action=action, actor=actor.name, origin=actor.origin)
        self._pending.begin(pending, now)

    def _do(
        self, actor: Actor, action: Action, name: str, *, acknowledged: bool = True
    ) -> CommandResult:
        try:
            manager = self._nodes.of(name).manager
            result = manager.do(
                action,
                name,
                lambda name: self._begin(actor, action, name),
                acknowledged=acknowledged,
            )
        except ControlPlaneError as exc:
            # What supervisord did not answer it may still do.
            unclear = isinstance(exc, SupervisorUnreachable)
            self._record(actor, action, name, "unknown" if unclear else "failed", exc.code)
            if not isinstance(exc, Busy):
                self._pending.end(name)
            raise
        except BaseException:
            # Ctrl-C on the command line: whoever pressed it does not want it done later.
            self._pending.end(name)
            raise
        finally:
            self._wake()
        self._pending.end(name)
        self._record(actor, action, name, result.outcome.value, result.detail)
        return result

    def bulk(self, actor: Actor, action: Action, names: Sequence[str]) -> list[CommandResult]:
        """Do it to many collectors; each has its own result, and one that fails fails alone.

        Raises:
            NotPermitted, SupervisorUnreachable.
        """
        target = names[0] if len(names) == 1 else f"{len(names)} collectors"
        self._audit.allow(actor, Permission.COMMAND, f"process.{action}", target, "bulk")
        known = [name for name in names if self.is_collector(name)]
        try:
            results = self._nodes.bulk(
                action, known, lambda name: self._begin(actor, action, name, "bulk")
            )
        except BaseException:
            for name in known:
                self._pending.end(name)
            raise
        finally:
            self._wake()
        for result in results:
            if result.detail not in ("busy", "unreachable"):
                self._pending.end(result.process)
            self._record(actor, action, result.process, result.outcome.value, result.detail)
        unknown = [name for name in names if name not in known]
        return results + [refused(name, action, "unknown") for name in unknown]

    def adopt(self, call: ForeignCall) -> None:
        """Take over what somebody asked supervisord for without us, with supervisorctl say.

        Such a stop is the operator's will like any other: it is noted, kept, and no fault.
        """
        if _is_our_own(call, self._agent):
            return
        known_action = call.action in ("start", "stop")
        event = AuditEvent(
            at=call.at,
            actor=call.actor,
            origin="supervisord",
            action=f"process.{call.action}" if known_action else call.action,
            target=call.target,
            outcome="requested",
            detail=call.command,
        )
        self._audit.trail.record(event)
        if known_action and self.is_collector(call.target):
            wanted = Desired.STOP if call.action == "stop" else Desired.RUN
            self._desired.want(call.target, wanted, call.actor, call.at)
            self._pending.end(call.target)
        self._wake()

    def _record(self, actor: Actor, action: str, name: str, outcome: str, detail: str = "") -> None:
        self._audit.note(actor, f"process.{action}", name, outcome, detail)


def _is_our_own(call: ForeignCall, agent: str) -> bool:
    """Calls of the panel and of ``daqplane`` are in the audit trail already, with their user."""
    if call.agent:
        return call.agent == AGENT_PREFIX + agent
    words = call.command.split()[:4]
    module = words[1:3] == ["-m", "control_plane"]
    return module or any(PurePath(word).name == "daqplane" for word in words[:2])
