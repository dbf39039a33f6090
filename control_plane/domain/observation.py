"""What one look at the installation finds; values only."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from collectors.contract.config import AnyCollector
from collectors.contract.config_problems import ConfigProblem
from collectors.contract.heartbeat import Heartbeat
from control_plane.domain.process import Desired, ProcessInfo, ProcessUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorFile:
    """One file of ``collectors.d``.

    Attributes:
        config: ``None`` when the file is refused; then ``problems`` says why.
        protocol: As the file says it, also when the file is refused; ``None`` if it does not.
        revision: Hash of its text; ``None`` if it cannot be read.
    """

    name: str
    path: Path
    config: AnyCollector | None
    protocol: str | None
    problems: tuple[ConfigProblem, ...]
    revision: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything that is known of one collector at one instant; the only input of the checks.

    Attributes:
        info: ``None`` when supervisord does not answer, or does not know the program.
        supervisor_reachable: Tells these two cases apart.
        heartbeat: The newest one of this very process; an older process's does not count.
        heartbeat_age_s: Age of its file.
        config_problem: First problem of the collector's file; ``None`` if it is valid.
        errors_5min: ERROR and CRITICAL lines; ``None`` if the log cannot be read.
        uptime_s: Of this process; ``None`` without one.
        blind_reason: Why the look at this collector failed; then nothing else counts.
    """

    taken_at: datetime
    supervisor_reachable: bool
    info: ProcessInfo | None
    usage: ProcessUsage | None
    heartbeat: Heartbeat | None
    heartbeat_age_s: float | None
    config_problem: ConfigProblem | None
    errors_5min: int | None
    uptime_s: float | None
    blind_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorView:
    """Whether supervisord answers; ``since`` dates the last change of that.

    ``started_at`` is the start of the supervisord that answers now.
    """

    reachable: bool
    version: str | None
    since: datetime
    error: str | None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCollector:
    """One collector: its file, the facts for the checks, and figures that only people read."""

    file: CollectorFile
    desired: Desired
    facts: Observation
    error_count_24h: int
    last_logged_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One look at the whole installation."""

    taken_at: datetime
    supervisor: SupervisorView
    collectors: tuple[SeenCollector, ...]
    services: tuple[tuple[ProcessInfo, ProcessUsage | None], ...]
