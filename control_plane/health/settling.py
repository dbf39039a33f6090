"""Soft and hard states, as Nagios has them: what has only just been seen may be chance. Pure.

People see a state at once; recovery acts only on hard ones. A device or data is silent for a whole
limit before it is critical, and whether a process exists is a fact: these are hard at once. So is
what is far over its limit. Good news is hard when it was seen twice.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from control_plane.domain.health import (
    HealthCheckConfig,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
    StateType,
)

HARD_AFTER_INTERVALS: Final[Mapping[HealthCheckType, int]] = {
    HealthCheckType.PROCESS_ALIVE: 0,
    HealthCheckType.CONNECTION_STATUS: 0,
    HealthCheckType.DATA_FLOW: 0,
    HealthCheckType.RESOURCE_USAGE: 2,
    HealthCheckType.LOG_ERRORS: 1,
}
"""So many check intervals must a warning last."""
GOOD_LOOKS: Final = 2


def settled(
    result: HealthCheckResult,
    before: HealthCheckResult | None,
    elapsed_s: float,
    limits: HealthCheckConfig,
) -> HealthCheckResult:
    """Return a result with what the looks before make of it.

    Args:
        before: The same check at the look before; ``None`` at the first.
        elapsed_s: Since then, by a clock that nobody sets.
    """
    same = before is not None and before.status is result.status
    lasted_s = before.lasted_s + elapsed_s if before and same else 0.0
    result = replace(result, lasted_s=lasted_s, looks=before.looks + 1 if before and same else 1)
    was = before.hard if before else HealthStatus.HEALTHY
    is_hard = _is_hard(result, was, limits)
    return replace(
        result,
        state_type=StateType.HARD if is_hard else StateType.SOFT,
        hard_status=result.status if is_hard else was,
    )


def _is_hard(result: HealthCheckResult, was: HealthStatus, limits: HealthCheckConfig) -> bool:
    if result.status is was:
        return True
    if result.status is HealthStatus.HEALTHY:
        return result.looks >= GOOD_LOOKS
    if result.status is not HealthStatus.WARNING or was.rank > result.status.rank:
        return True
    return result.lasted_s >= HARD_AFTER_INTERVALS[result.check_type] * limits.check_interval
