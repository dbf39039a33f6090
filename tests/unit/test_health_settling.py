"""Soft and hard states: people see at once what recovery acts on only when it is no chance."""

from dataclasses import replace

import pytest

from control_plane.domain.health import (
    HealthCheckConfig,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
    StateType,
)
from control_plane.health.settling import HARD_AFTER_INTERVALS, standing_of

LIMITS = HealthCheckConfig(check_interval=30)
GOOD, WARNING, CRITICAL = HealthStatus.HEALTHY, HealthStatus.WARNING, HealthStatus.CRITICAL
ALIVE, RESOURCES = HealthCheckType.PROCESS_ALIVE, HealthCheckType.RESOURCE_USAGE
LOOK_S = 0.5


def after(kind: HealthCheckType, *course: tuple[HealthStatus, float]) -> HealthCheckResult:
    """Return the check after it had each status for so many seconds, at two looks a second."""
    result = None
    for status, seconds in course:
        for _ in range(max(1, round(seconds / LOOK_S))):
            seen = HealthCheckResult(check_type=kind, status=status, code="x")
            standing = standing_of(seen, result, LOOK_S, LIMITS)
            result = replace(seen, **standing._asdict())
    assert result is not None
    return result


@pytest.mark.parametrize("kind", HealthCheckType)
def test_a_warning_is_soft_until_it_has_lasted_as_long_as_its_check_asks_for(
    kind: HealthCheckType,
) -> None:
    limit_s = HARD_AFTER_INTERVALS[kind] * LIMITS.check_interval
    if limit_s:
        soft = after(kind, (GOOD, 5), (WARNING, limit_s))
        assert (soft.status, soft.state_type, soft.hard) == (WARNING, StateType.SOFT, GOOD)
    hard = after(kind, (GOOD, 5), (WARNING, limit_s + 1))
    assert (hard.state_type, hard.hard) == (StateType.HARD, WARNING)
    assert hard.lasted_s == pytest.approx(limit_s + 0.5)


@pytest.mark.parametrize("status", [CRITICAL, HealthStatus.UNKNOWN])
@pytest.mark.parametrize("kind", HealthCheckType)
def test_what_is_critical_or_unknown_is_hard_at_once(
    kind: HealthCheckType, status: HealthStatus
) -> None:
    assert after(kind, (GOOD, 5), (status, 0)).hard is status
    assert after(kind, (status, 0)).hard is status


def test_a_peak_that_is_interrupted_begins_anew() -> None:
    interrupted = after(RESOURCES, (WARNING, 50), (GOOD, 0), (WARNING, 50))
    assert (interrupted.state_type, interrupted.hard) == (StateType.SOFT, GOOD)


def test_one_good_look_is_chance_and_two_are_not() -> None:
    once = after(ALIVE, (CRITICAL, 5), (GOOD, 0))
    assert (once.status, once.state_type, once.hard) == (GOOD, StateType.SOFT, CRITICAL)
    twice = after(ALIVE, (CRITICAL, 5), (GOOD, 1))
    assert (twice.state_type, twice.hard) == (StateType.HARD, GOOD)


def test_what_gets_better_without_being_good_is_believed() -> None:
    assert after(RESOURCES, (CRITICAL, 5), (WARNING, 0)).hard is WARNING
