"""Which rule fits what is wrong with a collector: category, and what would help. Pure."""

from dataclasses import dataclass

from control_plane.domain.recovery import (
    ProcessErrorType,
    RecoveryAction,
    RecoveryConfig,
    Situation,
)
from control_plane.recovery.memory import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``name`` is stable: ``recovery.NAME`` is its sentence."""

    name: str
    category: ProcessErrorType
    action: RecoveryAction

    @property
    def episode(self) -> str:
        """Shared by the steps of one remedy."""
        return "stale" if self.name.startswith("stale") else self.name


def _rule(name: str, category: ProcessErrorType, action: RecoveryAction) -> Rule:
    return Rule(name=name, category=category, action=action)


_E, _A = ProcessErrorType, RecoveryAction
GAVE_UP = _rule("gave_up", _E.STARTUP_FAILURE, _A.RESTART_PROCESS)
NEVER_REPORTED = _rule("never_reported", _E.STARTUP_FAILURE, _A.RESTART_PROCESS)
BAD_CONFIG = _rule("bad_config", _E.CONFIGURATION_ERROR, _A.ALERT_OPERATOR)
CONFIG_MENDED = _rule("config_mended", _E.CONFIGURATION_ERROR, _A.RESTART_PROCESS)
NOT_KNOWN = _rule("not_known", _E.CONFIGURATION_ERROR, _A.ALERT_OPERATOR)
QUARANTINED = _rule("quarantined", _E.UNEXPECTED_TERMINATION, _A.ALERT_OPERATOR)
ENDED = _rule("ended", _E.UNEXPECTED_TERMINATION, _A.RESTART_PROCESS)
FROZEN = _rule("frozen", _E.UNEXPECTED_TERMINATION, _A.RESTART_PROCESS)
SPINNING = _rule("spinning", _E.RESOURCE_EXHAUSTION, _A.RESTART_PROCESS)
MEMORY = _rule("memory", _E.RESOURCE_EXHAUSTION, _A.RESTART_PROCESS)
DISK = _rule("disk", _E.RESOURCE_EXHAUSTION, _A.CLEAR_CACHE)
CPU = _rule("cpu", _E.RESOURCE_EXHAUSTION, _A.REDUCE_FREQUENCY)
OVERRUN = _rule("overrun", _E.DATA_COLLECTION_ERROR, _A.REDUCE_FREQUENCY)
DEVICE = _rule("device", _E.CONNECTION_ERROR, _A.RESET_CONNECTION)
STALE = _rule("stale", _E.DATA_COLLECTION_ERROR, _A.RESET_CONNECTION)
STALE_RESTART = _rule("stale_restart", _E.DATA_COLLECTION_ERROR, _A.RESTART_PROCESS)
STALE_GIVEN_UP = _rule("stale_given_up", _E.DATA_COLLECTION_ERROR, _A.ALERT_OPERATOR)
BAD_POINTS = _rule("bad_points", _E.DATA_COLLECTION_ERROR, _A.ALERT_OPERATOR)

RULES = (
    GAVE_UP, NEVER_REPORTED, BAD_CONFIG, CONFIG_MENDED, NOT_KNOWN, QUARANTINED, ENDED, FROZEN,
    SPINNING, MEMORY, DISK, CPU, OVERRUN, DEVICE, STALE, STALE_RESTART, STALE_GIVEN_UP, BAD_POINTS,
)  # fmt: skip
_SPIN = 0.95 / 0.8
"""A whole core, in shares of the usual limit of 80 per cent."""
_OVERRUN = 0.2
_DOWN = ("process.exited", "process.not_running")


class ErrorRecoveryStrategy:
    """The design document's strategy: for each kind of trouble the rule that fits, if any."""

    def __init__(self, config: RecoveryConfig) -> None:
        self._config = config

    def rule_for(self, seen: Situation, memory: Memory) -> Rule | None:
        """Return the rule for the worst that is wrong; ``None`` if nothing is."""
        for handle in (
            self.handle_configuration_error,
            self.handle_startup_failure,
            self.handle_unexpected_termination,
            self.handle_resource_exhaustion,
            self.handle_connection_error,
            self.handle_data_collection_error,
        ):
            if (rule := handle(seen, memory)) is not None:
                return rule
        return None

    def handle_configuration_error(self, seen: Situation, memory: Memory) -> Rule | None:
        """A file that is refused needs a person; once it has changed, a start may help."""
        if seen.process_code == "process.not_known":
            return NOT_KNOWN
        if seen.process_code == "process.bad_config":
            return BAD_CONFIG
        waits = memory.refused_revision not in ("", seen.revision)
        down = seen.process_code in (*_DOWN, "process.fatal")
        return CONFIG_MENDED if waits and down else None

    def handle_startup_failure(self, seen: Situation, _memory: Memory) -> Rule | None:
        """supervisord gave up, or the process never got so far as to report."""
        if not seen.process_bad:
            return None
        return {"process.fatal": GAVE_UP, "process.no_heartbeat": NEVER_REPORTED}.get(
            seen.process_code
        )

    def handle_unexpected_termination(self, seen: Situation, _memory: Memory) -> Rule | None:
        """It ended, or exists and does nothing. ``process.backoff`` is supervisord's to mend."""
        if not seen.process_bad:
            return None
        if seen.process_code in ("process.frozen", "process.heartbeat_stale"):
            return SPINNING if seen.cpu_ratio >= _SPIN else FROZEN
        if seen.process_code == "process.quarantined":
            return QUARANTINED
        return ENDED if seen.process_code in _DOWN else None

    def handle_resource_exhaustion(self, seen: Situation, _memory: Memory) -> Rule | None:
        """Too much memory does not go away by itself; too much CPU may by asking less often."""
        if seen.process_bad:
            return None
        if seen.resource_code == "resources.memory" and seen.memory_ratio > 1.0:
            return MEMORY
        if seen.disk_low:
            return DISK
        return CPU if seen.resource_code == "resources.cpu" else None

    def handle_connection_error(self, seen: Situation, _memory: Memory) -> Rule | None:
        """A dead device never restarts a process: it is only asked to connect anew."""
        return DEVICE if seen.connection_bad and not seen.process_bad else None

    def handle_data_collection_error(self, seen: Situation, memory: Memory) -> Rule | None:
        """The device answers, but data stands still, or cycles are left out."""
        if seen.process_bad or seen.connection_bad:
            return None
        if seen.data_bad and seen.data_code == "data.stale":
            steps = memory.attempts if memory.episode == STALE.episode else 0
            if steps < self._config.stale_resets:
                return STALE
            return STALE_RESTART if steps == self._config.stale_resets else STALE_GIVEN_UP
        if seen.overrun > _OVERRUN:
            return OVERRUN
        return BAD_POINTS if seen.data_bad else None
