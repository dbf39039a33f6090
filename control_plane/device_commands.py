"""What a user may have a running collector do with its devices: write a value, for one.

The command goes to the collector's standard input through supervisord, on this machine and on
others alike (ADR 0010); its outcome comes back in the heartbeat.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta

from collectors.contract.commands import (
    AnyCommand,
    ClearCacheCommand,
    CommandOutcome,
    ReduceFrequencyCommand,
    WriteCommand,
    format_command,
)
from collectors.contract.heartbeat import Heartbeat
from collectors.contract.messages import sentence
from collectors.contract.points import Value
from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Permission
from control_plane.clock import Clock
from control_plane.errors import ControlPlaneError, NotRunning, UnknownProcess
from control_plane.operations import RECOVERY, CollectorFacts
from control_plane.supervisor.nodes import Nodes

_OBEYED_WITHIN = timedelta(seconds=5)
"""A collector that hangs must not write minutes later what somebody wanted now."""
_ANSWER_DEADLINE_S = 8.0
_POLL_S = 0.05
UNKNOWN = "unknown"
_WRITE = "point.write"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What came of a write.

    Attributes:
        outcome: ``done``, ``refused``, ``failed`` or ``unknown``.
        code: Why, as in :class:`CommandOutcome`; ``no_answer`` if no heartbeat told.
        native_code: The device's own status, 0 if none.
        value: What the device gave back; ``None`` if it was not read back.
    """

    process: str
    device: str
    point: str
    outcome: str
    code: str
    native_code: int
    value: Value | None
    duration_ms: float


class DeviceCommands:
    """Commands that reach through a collector to its devices; each is in the audit trail."""

    def __init__(self, nodes: Nodes, audit: Auditor, clock: Clock, facts: CollectorFacts) -> None:
        self._nodes = nodes
        self._audit = audit
        self._clock = clock
        self._facts = facts

    def write(self, actor: Actor, name: str, device: str, point: str, value: Value) -> WriteResult:
        """Write ``value`` to a point that is marked writable, and return what the device has now.

        Raises:
            NotPermitted, UnknownProcess, NotRunning, SupervisorUnreachable, SupervisorFault.
        """
        target, detail = f"{name}/{device}/{point}", repr(value)
        self._audit.allow(actor, Permission.WRITE, _WRITE, target, detail)
        if not self._facts.is_collector(name):
            raise UnknownProcess(name=name)
        command = WriteCommand(
            id=secrets.token_hex(8),
            command="write",
            device=device,
            point=point,
            value=value,
            expires_at=self._clock.now() + _OBEYED_WITHIN,
        )
        began_mono = self._clock.monotonic()
        self._audit.note(actor, _WRITE, target, "requested", detail)
        try:
            outcome = self._obeyed(name, command)
        except ControlPlaneError as exc:
            self._audit.note(actor, _WRITE, target, "failed", exc.code)
            raise
        result = WriteResult(
            process=name,
            device=device,
            point=point,
            outcome=outcome.state.value if outcome else UNKNOWN,
            code=outcome.code if outcome else "no_answer",
            native_code=outcome.native_code if outcome else 0,
            value=outcome.value if outcome else None,
            duration_ms=round((self._clock.monotonic() - began_mono) * 1000, 1),
        )
        detail = f"{result.code} {result.value!r}".strip()
        self._audit.note(actor, _WRITE, target, result.outcome, detail)
        return result

    def reduce_frequency(self, name: str, factor: float) -> CommandOutcome | None:
        """Have a collector read ``factor`` times more slowly than configured; 1 ends that.

        Returns ``None`` if its heartbeat did not tell what became of it.

        Raises:
            UnknownProcess, NotRunning, SupervisorUnreachable, SupervisorFault.
        """
        command = ReduceFrequencyCommand(
            id=secrets.token_hex(8), command="reduce_frequency", factor=factor
        )
        return self._for_recovery(name, command, f"factor {factor:g}")

    def clear_cache(self, name: str) -> CommandOutcome | None:
        """Have a collector forget what it has learned of its devices; as above."""
        command = ClearCacheCommand(id=secrets.token_hex(8), command="clear_cache")
        return self._for_recovery(name, command)

    def _for_recovery(
        self, name: str, command: AnyCommand, detail: str = ""
    ) -> CommandOutcome | None:
        action = f"recovery.{command.command}"
        self._audit.note(RECOVERY, action, name, "requested", detail)
        try:
            outcome = self._obeyed(name, command)
        except ControlPlaneError as exc:
            self._audit.note(RECOVERY, action, name, "failed", exc.code)
            raise
        said = (UNKNOWN, "no_answer") if outcome is None else (outcome.state.value, outcome.code)
        self._audit.note(RECOVERY, action, name, *said)
        return outcome

    def _obeyed(self, name: str, command: AnyCommand) -> CommandOutcome | None:
        """Send the command and wait for its outcome; ``None`` if none came in time."""
        client = self._nodes.of(name).client
        if client.process(name).pid is None:
            raise NotRunning(name=name)
        client.send_stdin(name, format_command(command).decode())
        deadline_mono = self._clock.monotonic() + _ANSWER_DEADLINE_S
        while self._clock.monotonic() < deadline_mono:
            if (outcome := _outcome_of(command.id, self._facts.latest_beat, name)) is not None:
                return outcome
            time.sleep(_POLL_S)
        return None


def sentence_of(written: WriteResult, language: str) -> str:
    """Return what came of a write in words."""
    package, code = "collectors.contract", written.code
    if code in ("", "no_answer"):
        package, code = "control_plane", code or "written"
    return sentence(package, f"command.{code}", asdict(written), language)


def _outcome_of(
    command_id: str, latest_beat: Callable[[str], Heartbeat | None], name: str
) -> CommandOutcome | None:
    beat = latest_beat(name)
    return next((o for o in beat.commands if o.id == command_id), None) if beat else None
