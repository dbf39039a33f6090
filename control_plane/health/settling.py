"""Soft and hard states, as Nagios has them: what has only just been seen may be chance. Pure.

People see a state at once; recovery acts only on hard ones. A device or data is silent for a whole
limit before it is critical, and whether a process exists is a fact: these are hard at once. So is
what is far over its limit. Good news is hard when it was seen twice.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

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


class Standing(NamedTuple):
    """How long a check has said what it says; the attributes are those of the result."""

    lasted_s: float
    looks: int
    state_type: StateType
    hard_status: HealthStatus


def standing_of(
    result: HealthCheckResult,
    before: HealthCheckResult | None,
    elapsed_s: float,
    limits: HealthCheckConfig,
) -> Standing:
    """Return what the looks before make of a result.

    Args:
        before: The same check at the look before; ``None`` at the first.
        elapsed_s: Since then, by a clock that nobody sets.
    """
    lasted_s, looks, was = 0.0, 1, HealthStatus.HEALTHY
    if before is not None:
        was = before.hard
        if before.status is result.status:
            lasted_s, looks = before.lasted_s + elapsed_s, before.looks + 1
    if result.status is was or _turns_hard(result, was, lasted_s, looks, limits):
        return Standing(lasted_s, looks, StateType.HARD, result.status)
    return Standing(lasted_s, looks, StateType.SOFT, was)


def _turns_hard(
    result: HealthCheckResult,
    was: HealthStatus,
    lasted_s: float,
    looks: int,
    limits: HealthCheckConfig,
) -> bool:
    if result.status is HealthStatus.HEALTHY:
        return looks >= GOOD_LOOKS
    if result.status is not HealthStatus.WARNING or was.rank > result.status.rank:
        return True
    return lasted_s >= HARD_AFTER_INTERVALS[result.check_type] * limits.check_interval
