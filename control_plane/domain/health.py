"""Values of the health checks; names and defaults are the design document's."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


class HealthCheckType(enum.StrEnum):
    PROCESS_ALIVE = "process_alive"
    CONNECTION_STATUS = "connection"
    DATA_FLOW = "data_flow"
    RESOURCE_USAGE = "resource_usage"
    LOG_ERRORS = "log_errors"


class HealthStatus(enum.StrEnum):
    """Ordered by :attr:`rank`: unknown is worse than warning, because blind is not healthy."""

    HEALTHY = "healthy"
    WARNING = "warning"
    UNKNOWN = "unknown"
    CRITICAL = "critical"
    STOPPED = "stopped"
    """Stopped by an operator: neither good nor bad. Only of a whole process, never of a check."""

    @property
    def rank(self) -> int:
        return list(HealthStatus).index(self)


class StateType(enum.StrEnum):
    """Nagios' words: a soft state has only just been seen and may be chance."""

    SOFT = "soft"
    HARD = "hard"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckConfig:
    """Limits of the checks."""

    check_interval: int = 30
    """Seconds between two recorded rounds of checks; the live status is judged each second."""
    cpu_threshold: float = 80.0
    """Per cent of one core."""
    memory_threshold: float = 500.0
    """MB of resident memory."""
    data_timeout: int = 120
    """Seconds without a good sample."""
    connection_timeout: int = 60
    """Seconds without an answered request."""
    max_restart_attempts: int = 3
    """Automatic restarts in the window of recovery, before it is left to people."""
    startup_grace: int = 60
    """Seconds after a start in which only the death of the process counts."""
    heartbeat_warning: float = 5.0
    """Seconds without a heartbeat that are told."""
    heartbeat_timeout: float = 30.0
    """Seconds without one that are a fault; a collector beats once a second."""
    log_errors_warning: int = 5
    """ERROR lines in five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckResult:
    """The outcome of one check.

    Attributes:
        since: When the check last changed its status.
        penalty: Points that it takes off the score.
        code, params: The sentence ``check.CODE`` and its values; ``message`` is its English text.
        recommendations: Codes of the sentences ``recommendation.CODE``.
        lasted_s, looks: How long, and in how many looks in a row, it has had this status.
        state_type: Whether that is more than chance; ``hard_status`` is the last that was, ``None``
            if nobody has looked before.
    """

    check_type: HealthCheckType
    status: HealthStatus
    code: str
    params: Mapping[str, object] = field(default_factory=dict)
    recommendations: tuple[str, ...] = ()
    message: str = ""
    penalty: float = 0.0
    since: datetime | None = None
    lasted_s: float = 0.0
    looks: int = 1
    state_type: StateType = StateType.HARD
    hard_status: HealthStatus | None = None

    @property
    def hard(self) -> HealthStatus:
        """The newest status that is more than chance."""
        return self.status if self.hard_status is None else self.hard_status


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessHealth:
    """The judgement of one process.

    Attributes:
        status: The worst check; ``stopped`` for a process that an operator stopped.
        score: 0..100, never contradicting the status; ``None`` when stopped or mostly unknown.
        confidence: Share (0..1) of the score's weight that rests on known facts.
    """

    status: HealthStatus
    score: float | None
    confidence: float
    since: datetime | None
    checks: tuple[HealthCheckResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthIssue:
    """One check of one collector that is not as it should be."""

    process_name: str
    check: HealthCheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemHealthSummary:
    """How all collectors are.

    Attributes:
        overall_status: The worst of those that should run.
        issues: Worst first.
    """

    overall_status: HealthStatus
    total_processes: int
    healthy_processes: int
    warning_processes: int
    critical_processes: int
    unknown_processes: int
    stopped_processes: int
    last_check_time: datetime
    issues: tuple[HealthIssue, ...]
