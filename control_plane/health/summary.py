"""How the whole installation is, in one value. Pure."""

from collections.abc import Iterable
from datetime import datetime

from control_plane.domain.health import (
    HealthIssue,
    HealthStatus,
    SystemHealthSummary,
)
from control_plane.domain.process import ProcessStatus

_ABNORMAL = (HealthStatus.CRITICAL, HealthStatus.UNKNOWN, HealthStatus.WARNING)


def summarize(statuses: Iterable[ProcessStatus], at: datetime) -> SystemHealthSummary:
    """Count the collectors by status and list every check that is not as it should be.

    A collector that an operator stopped counts, but is no issue.
    """
    judged = [(status.name, status.health) for status in statuses]
    counts = dict.fromkeys(HealthStatus, 0)
    for _, health in judged:
        counts[health.status] += 1
    issues = [
        HealthIssue(process_name=name, check=check)
        for name, health in judged
        if health.status is not HealthStatus.STOPPED
        for check in health.checks
        if check.status in _ABNORMAL
    ]
    present = [health.status for _, health in judged if health.status is not HealthStatus.STOPPED]
    return SystemHealthSummary(
        overall_status=max(present, key=lambda s: s.rank, default=HealthStatus.HEALTHY),
        total_processes=len(judged),
        healthy_processes=counts[HealthStatus.HEALTHY],
        warning_processes=counts[HealthStatus.WARNING],
        critical_processes=counts[HealthStatus.CRITICAL],
        unknown_processes=counts[HealthStatus.UNKNOWN],
        stopped_processes=counts[HealthStatus.STOPPED],
        last_check_time=at,
        issues=tuple(sorted(issues, key=lambda i: (-i.check.status.rank, i.process_name))),
    )
