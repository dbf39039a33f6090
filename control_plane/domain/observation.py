"""What one look at the installation finds; values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from collectors.contract.config import AnyCollector
from collectors.contract.config_problems import ConfigProblem
from collectors.contract.heartbeat import Heartbeat
from control_plane.domain.node import LOCAL_NODE, NodeView
from control_plane.domain.process import Desired, ProcessInfo, ProcessUsage

FULL_DISK_BYTES: Final = 250_000
"""With less than this a disk is full: not even a heartbeat is sure to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorFile:
    """One file of ``collectors.d``, or of another node's, of which only the name is known.

    Attributes:
        path: ``None`` on another node.
        config: ``None`` when the file is refused; then ``problems`` says why.
        protocol: As the file says it, also when the file is refused; ``None`` if it does not.
        revision: Hash of its text; ``None`` if it cannot be read.
    """

    name: str
    path: Path | None
    config: AnyCollector | None
    protocol: str | None
    problems: tuple[ConfigProblem, ...]
    revision: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything that is known of one collector at one instant; the only input of the checks.

    Attributes:
        node: The machine that it runs on.
        info: ``None`` when supervisord does not answer, or does not know the program.
        supervisor_reachable: Tells these two cases apart.
        heartbeat: The newest one of this very process; an older process's does not count.
        heartbeat_age_s: Age of its file.
        data_age_s: Age of the newest good value, by our own clock; ``None`` leaves it to the times
            in the heartbeat, which are wrong for a while after a clock was set.
        silent_s: By device, how long it has not answered; by our own clock, as before.
        config_problem: First problem of the collector's file; ``None`` if it is valid.
        errors_5min: ERROR and CRITICAL lines; ``None`` if the log cannot be read.
        uptime_s: Of this process; ``None`` without one.
        reports_readable: Whether heartbeats and logs of its node can be seen from here.
        disk_full: Whether nobody can write down that they are well.
        blind_reason: Why the look at this collector failed; then nothing else counts.
    """

    taken_at: datetime
    node: str = LOCAL_NODE
    supervisor_reachable: bool
    info: ProcessInfo | None
    usage: ProcessUsage | None
    heartbeat: Heartbeat | None
    heartbeat_age_s: float | None
    config_problem: ConfigProblem | None
    errors_5min: int | None
    uptime_s: float | None
    data_age_s: float | None = None
    silent_s: Mapping[str, float] = field(default_factory=dict)
    reports_readable: bool = True
    disk_full: bool = False
    blind_reason: str | None = None


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
    """One look at one node."""

    taken_at: datetime
    node: NodeView
    collectors: tuple[SeenCollector, ...]
    services: tuple[tuple[ProcessInfo, ProcessUsage | None], ...]

    def gone_blind(self, now: datetime, reason: str) -> "Round":
        """Return what is left of this look once it is too old to be believed: nothing but names."""
        since = now if self.node.reachable else self.node.since
        return Round(
            taken_at=now,
            node=replace(
                self.node,
                reachable=False,
                since=since,
                error=reason,
                version=None,
                tier=None,
                lag_ms=None,
            ),
            collectors=tuple(
                replace(each, facts=unseen(now, self.node.name)) for each in self.collectors
            ),
            services=(),
        )


def unseen(now: datetime, node: str, blind_reason: str | None = None) -> Observation:
    """Return the facts about a collector of a node that does not answer."""
    return Observation(
        taken_at=now,
        node=node,
        supervisor_reachable=False,
        info=None,
        usage=None,
        heartbeat=None,
        heartbeat_age_s=None,
        config_problem=None,
        errors_5min=None,
        uptime_s=None,
        blind_reason=blind_reason,
    )
