"""One figure for sorting, which never contradicts the status it stands beside."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from collectors.contract.messages import sentence
from control_plane.domain.health import (
    HealthCheckConfig,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
    ProcessHealth,
)
from control_plane.health.settling import standing_of

PENALTIES: dict[HealthCheckType, tuple[float, float]] = {
    HealthCheckType.PROCESS_ALIVE: (100, 100),
    HealthCheckType.CONNECTION_STATUS: (20, 50),
    HealthCheckType.DATA_FLOW: (20, 40),
    HealthCheckType.RESOURCE_USAGE: (10, 25),
    HealthCheckType.LOG_ERRORS: (5, 15),
}
"""Points that a warning and a critical result take off; unknown takes the mean of both."""

_STARTING_PENALTY = 30.0
"""A process that is only starting is no dead one."""
_CAP_CRITICAL = 49.0
_CAP_NOT_HEALTHY = 79.0
_LEAST_CONFIDENCE = 0.5


def judge(
    results: Iterable[HealthCheckResult],
    *,
    stopped_by_operator: bool,
    previous: ProcessHealth | None,
    now: datetime,
    since_previous: tuple[float, HealthCheckConfig] = (0.0, HealthCheckConfig()),
) -> ProcessHealth:
    """Return the judgement of a process from its checks; ``previous`` only dates the changes.

    ``since_previous`` are the seconds since it was made, and the limits in force.
    """
    before = {result.check_type: result for result in previous.checks} if previous else {}
    checks = tuple(
        _complete(result, before.get(result.check_type), now, *since_previous) for result in results
    )
    if stopped_by_operator:
        status, score, confidence = HealthStatus.STOPPED, None, 1.0
        checks = tuple(replace(check, penalty=0.0) for check in checks)
    else:
        status = max((check.status for check in checks), key=lambda s: s.rank)
        confidence = _confidence(checks)
        score = _score(status, checks)
        blind = confidence < _LEAST_CONFIDENCE or _is_unknown(HealthCheckType.PROCESS_ALIVE, checks)
        if blind and status is not HealthStatus.CRITICAL:
            # A figure would pretend to know.
            status, score = HealthStatus.UNKNOWN, None
    unchanged = previous is not None and previous.status is status
    return ProcessHealth(
        status=status,
        score=score,
        confidence=round(confidence, 2),
        since=previous.since if unchanged and previous else now,
        checks=checks,
    )


def _complete(
    result: HealthCheckResult,
    before: HealthCheckResult | None,
    now: datetime,
    elapsed_s: float,
    limits: HealthCheckConfig,
) -> HealthCheckResult:
    lasted_s, looks, state_type, hard_status = standing_of(result, before, elapsed_s, limits)
    # Said in full: dataclasses.replace would take a third of the time of a round.
    return HealthCheckResult(
        check_type=result.check_type,
        status=result.status,
        code=result.code,
        params=result.params,
        recommendations=result.recommendations,
        message=sentence("control_plane", f"check.{result.code}", result.params),
        penalty=_penalty(result),
        since=before.since if before and before.status is result.status else now,
        lasted_s=lasted_s,
        looks=looks,
        state_type=state_type,
        hard_status=hard_status,
    )


def _is_unknown(kind: HealthCheckType, checks: Sequence[HealthCheckResult]) -> bool:
    return any(c.check_type is kind and c.status is HealthStatus.UNKNOWN for c in checks)


def _penalty(result: HealthCheckResult) -> float:
    warning, critical = PENALTIES[result.check_type]
    match result.status:
        case HealthStatus.WARNING if result.check_type is HealthCheckType.PROCESS_ALIVE:
            return _STARTING_PENALTY
        case HealthStatus.WARNING:
            return warning
        case HealthStatus.CRITICAL:
            return critical
        case HealthStatus.UNKNOWN:
            return (warning + critical) / 2
        case _:
            return 0.0


def _score(status: HealthStatus, checks: Sequence[HealthCheckResult]) -> float:
    cap = 100.0
    if status is HealthStatus.CRITICAL:
        cap = _CAP_CRITICAL
    elif status is not HealthStatus.HEALTHY:
        cap = _CAP_NOT_HEALTHY
    return max(0.0, min(cap, 100.0 - sum(check.penalty for check in checks)))


def _confidence(checks: Sequence[HealthCheckResult]) -> float:
    weights = {check.check_type: PENALTIES[check.check_type][1] for check in checks}
    total = sum(weights.values())
    known = sum(
        weights[check.check_type] for check in checks if check.status is not HealthStatus.UNKNOWN
    )
    return known / total if total else 0.0
