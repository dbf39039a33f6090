"""Carries out what the recovery policy decides, by the same paths as a person's commands."""

from collections.abc import Callable

from collectors.contract.commands import CommandOutcome
from control_plane.device_commands import DeviceCommands
from control_plane.domain.node import LOCAL_NODE, program_and_node
from control_plane.domain.recovery import Decision, RecoveryAction
from control_plane.errors import ControlPlaneError
from control_plane.operations import RECOVERY, ProcessCommands
from control_plane.recovery.service import ActionResult


class RecoveryActions:
    """The design document's automatic recovery actions."""

    def __init__(
        self,
        processes: ProcessCommands,
        devices: DeviceCommands,
        remove_rotated_logs: Callable[[str], int],
    ) -> None:
        self._processes = processes
        self._devices = devices
        self._remove_rotated_logs = remove_rotated_logs

    def do(self, decision: Decision, factor: float) -> ActionResult:
        """Do it and return what was seen; ``factor`` is that of a changed poll frequency."""
        name = decision.process
        try:
            match decision.action:
                case RecoveryAction.RESTART_PROCESS:
                    result = self._processes.recover(name)
                    return ActionResult(outcome=result.outcome.value, detail=result.detail)
                case RecoveryAction.RESET_CONNECTION:
                    result = self._processes.reset_connection(RECOVERY, name)
                    return ActionResult(outcome=result.outcome.value, detail=result.detail)
                case RecoveryAction.REDUCE_FREQUENCY:
                    return _said(self._devices.reduce_frequency(name, factor))
                case RecoveryAction.CLEAR_CACHE:
                    return self._clear_cache(name)
                case _:
                    return ActionResult(outcome="done", detail="")
        except ControlPlaneError as exc:
            return ActionResult(outcome="failed", detail=exc.code)

    def _clear_cache(self, name: str) -> ActionResult:
        """Give back disk: rotated logs, which are the only files that nothing else needs."""
        program, node = program_and_node(name)
        freed_bytes = self._remove_rotated_logs(program) if node == LOCAL_NODE else 0
        said = _said(self._devices.clear_cache(name))
        return ActionResult(outcome=said.outcome, detail=f"{freed_bytes / 1e6:.1f} MB")


def _said(outcome: CommandOutcome | None) -> ActionResult:
    if outcome is None:
        return ActionResult(outcome="unknown", detail="no_answer")
    return ActionResult(outcome=outcome.state.value, detail=outcome.code)
