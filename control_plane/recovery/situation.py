"""Turns what is shown of a collector into what the policy asks about. Pure."""

from collections.abc import Mapping

from control_plane.domain.health import (
    HealthCheckConfig,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
)
from control_plane.domain.process import Desired, ProcessStatus
from control_plane.domain.recovery import Situation

_PATIENCE_S = {
    # A stop that nobody told us of is taken for somebody's will after a few seconds.
    "process.not_running": 10.0,
    # supervisord is about to start it again, unless it ended as it may.
    "process.exited": 3.0,
}


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
        resource_code=resources.code if _lasts(resources) else "",
        process_bad=_is_bad(alive) and alive.lasted_s >= _PATIENCE_S.get(alive.code, 0.0),
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


def _is_bad(check: HealthCheckResult) -> bool:
    return check.hard is HealthStatus.CRITICAL


def _lasts(check: HealthCheckResult) -> bool:
    """A peak is no exhaustion."""
    return check.hard in (HealthStatus.WARNING, HealthStatus.CRITICAL)


def _host(params: Mapping[str, object]) -> str:
    return str(params.get("endpoint", "")).rpartition(":")[0]
