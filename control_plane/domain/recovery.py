"""Values of automatic recovery; the names of categories and actions are the design document's."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


class ProcessErrorType(enum.StrEnum):
    STARTUP_FAILURE = "startup_failure"
    CONNECTION_ERROR = "connection_error"
    DATA_COLLECTION_ERROR = "data_collection_error"
    RESOURCE_EXHAUSTION = "resource_exhaustion"
    CONFIGURATION_ERROR = "configuration_error"
    UNEXPECTED_TERMINATION = "unexpected_termination"


class RecoveryAction(enum.StrEnum):
    RESTART_PROCESS = "restart_process"
    RESET_CONNECTION = "reset_connection"
    CLEAR_CACHE = "clear_cache"
    REDUCE_FREQUENCY = "reduce_frequency"
    ALERT_OPERATOR = "alert_operator"
    NO_ACTION = "no_action"

    @property
    def touches(self) -> bool:
        """Whether it does something to the collector."""
        return self not in (RecoveryAction.ALERT_OPERATOR, RecoveryAction.NO_ACTION)


class Guard(enum.StrEnum):
    """Why an action that a rule asks for is not taken; asked in this order."""

    UNREACHABLE = "unreachable"
    """Its supervisord does not answer: nothing is known, so nothing is done."""
    STOPPED = "stopped"
    """An operator stopped it."""
    MAINTENANCE = "maintenance"
    IN_FLIGHT = "in_flight"
    """An action for it has not ended."""
    COOLDOWN = "cooldown"
    """The one before was too short a time ago."""
    CIRCUIT_OPEN = "circuit_open"
    """Restarts have not helped; after a long pause one is tried again."""
    COMMON_CAUSE = "common_cause"
    """Many collectors fail at once: their restarts would not help."""
    BUDGET = "budget"
    """The installation has restarted as much as it may in one minute."""
    ALERTED = "alerted"
    """A person has been told; nothing else helps."""
    DRY_RUN = "dry_run"


class Circuit(enum.StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One try is under observation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryConfig:
    """Limits of automatic recovery; times in seconds.

    Attributes:
        window_s: Over which automatic restarts of one collector are counted.
        backoff_base_s, backoff_max_s: Pause before the next restart, doubled each time.
        half_open_after_s, half_open_max_s: Pause of an open circuit, doubled each time.
        stable_after_s: So long without a fault counts as recovered.
        reset_base_s, reset_max_s: Pause before the next reset of connections.
        settle_s: What an action needs to show its effect.
        stale_resets: Resets for data that stands still, before one restart is tried.
        fleet_restarts_per_minute: For all collectors together.
        common_cause_share, common_cause_least: Share and number of collectors that, failing
            within a minute, have a cause in common.
        reduce_max_factor: So many times the interval at most, where a collector cannot keep up.
        reduce_back_after_s: So long without trouble, then one step back.
        dry_run: Decide and write down, but do nothing.
    """

    window_s: float = 600.0
    backoff_base_s: float = 5.0
    backoff_max_s: float = 300.0
    half_open_after_s: float = 1800.0
    half_open_max_s: float = 14_400.0
    stable_after_s: float = 600.0
    reset_base_s: float = 5.0
    reset_max_s: float = 300.0
    settle_s: float = 20.0
    stale_resets: int = 2
    fleet_restarts_per_minute: int = 3
    common_cause_share: float = 0.3
    common_cause_least: int = 3
    reduce_max_factor: float = 8.0
    reduce_back_after_s: float = 600.0
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the policy knows of one collector at one moment; the only input besides its memory.

    Attributes:
        incarnation: Names this very process, as ``PID@START``; empty without one.
        process_code, connection_code, data_code, resource_code: Outcomes of the checks.
        memory_ratio: Memory in shares of its limit; 0 if unknown.
        cpu_ratio: CPU in shares of its limit; 0 if unknown.
        overrun: Share of poll cycles that were skipped in the last minute.
        revision: Of the configuration file as it is on disk.
        gateway: Host of the device that is silent; empty if none is.
        disk_low: Whether its machine is about to run out of disk.
        max_restart_attempts: Automatic restarts of it in the window.
    """

    process: str
    node: str
    reachable: bool
    wanted: bool
    in_maintenance: bool = False
    incarnation: str = ""
    process_code: str = ""
    connection_code: str = ""
    data_code: str = ""
    resource_code: str = ""
    process_bad: bool = False
    connection_bad: bool = False
    data_bad: bool = False
    memory_ratio: float = 0.0
    cpu_ratio: float = 0.0
    overrun: float = 0.0
    revision: str = ""
    gateway: str = ""
    disk_low: bool = False
    max_restart_attempts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy decided for one collector at one moment.

    Attributes:
        action: What is done; ``NO_ACTION`` when a guard holds.
        wanted: What the rule asked for.
        rule: Stable name; ``recovery.RULE`` is its sentence.
        guard: What stopped it, if anything did.
        attempt: Counts actions of this episode from 1.
        facts: Figures for people: limits, counts, times in seconds.
    """

    process: str
    category: ProcessErrorType | None
    rule: str
    wanted: RecoveryAction
    action: RecoveryAction
    guard: Guard | None = None
    attempt: int = 0
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """A decision as it was written down; ``outcome`` says what became of it."""

    id: int
    at: datetime
    decision: Decision
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """While it lasts nothing is done to the collector (``*``: to any) by itself."""

    process: str
    until: datetime
    actor: str
    reason: str
