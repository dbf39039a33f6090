"""Turns what is shown of a collector into what the policy asks about. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from control_plane.domain.health import (
    HealthCheckConfig,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
)
from control_plane.domain.process import Desired, ProcessStatus
from control_plane.domain.recovery import Situation

_ADOPTED_AFTER = timedelta(seconds=10)
_SOFT_ROUNDS = 2
"""A resource is over its limit for good when it was so for as many recorded rounds of checks."""


def situation_of(
    status: ProcessStatus,
    limits: HealthCheckConfig,
    *,
    overrun: float,
    in_maintenance: bool,
    disk_low: bool,
) -> Situation:
    """Return the situation of one collector.

    Args:
        overrun: Share of its poll cycles that were left out in the last minute.
        disk_low: Whether its machine is about to run out of disk.
    """
    checks = {check.check_type: check for check in status.health.checks}
    alive = checks[HealthCheckType.PROCESS_ALIVE]
    link = checks[HealthCheckType.CONNECTION_STATUS]
    data = checks[HealthCheckType.DATA_FLOW]
    resources = checks[HealthCheckType.RESOURCE_USAGE]
    lasting = _lasts(resources, status.observed_at, limits)
    return Situation(
        process=status.name,
        node=status.node,
        reachable=alive.status is not HealthStatus.UNKNOWN,
        wanted=status.desired is Desired.RUN,
        in_maintenance=in_maintenance,
        incarnation=f"{status.pid}@{status.start_time}" if status.pid else "",
        process_code=alive.code,
        connection_code=link.code,
        data_code=data.code,
        resource_code=resources.code if lasting else "",
        process_bad=_is_bad(alive) and not _may_be_wanted(alive, status.observed_at),
        connection_bad=_is_bad(link),
        data_bad=_is_bad(data),
        memory_ratio=(status.memory_mb or 0.0) / limits.memory_threshold,
        cpu_ratio=(status.cpu_percent or 0.0) / limits.cpu_threshold,
        overrun=overrun,
        revision=status.file_revision or "",
        gateway=_host(link.params) if _is_bad(link) else "",
        disk_low=disk_low,
        max_restart_attempts=limits.max_restart_attempts,
    )


def _may_be_wanted(alive: HealthCheckResult, now: datetime) -> bool:
    """A stop that nobody told us of is taken for somebody's will after a few seconds."""
    stopped = alive.code == "process.not_running"
    return stopped and (alive.since is None or now - alive.since < _ADOPTED_AFTER)


def _is_bad(check: HealthCheckResult) -> bool:
    return check.status is HealthStatus.CRITICAL


def _lasts(check: HealthCheckResult, now: datetime, limits: HealthCheckConfig) -> bool:
    """A peak is no exhaustion; what is far over its limit need not last."""
    if check.status in (HealthStatus.HEALTHY, HealthStatus.UNKNOWN) or check.since is None:
        return False
    long_enough = timedelta(seconds=_SOFT_ROUNDS * limits.check_interval)
    return _is_bad(check) or now - check.since >= long_enough


def _host(params: Mapping[str, object]) -> str:
    return str(params.get("endpoint", "")).rpartition(":")[0]
