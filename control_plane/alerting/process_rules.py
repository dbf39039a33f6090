"""The rules about one collector; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from control_plane.alerting.facts import Condition, Facts
from control_plane.alerting.limits import AlertLimits
from control_plane.domain.alerts import Alert, AlertSeverity, Subject, SubjectKind, fingerprint_of
from control_plane.domain.health import HealthCheckResult, HealthCheckType, HealthStatus
from control_plane.domain.process import ProcessStatus

_OF_DEVICES: Final = frozenset({"connection", "data_flow", "frozen_values", "request_errors"})
_WITHOUT_PROCESS: Final = _OF_DEVICES | {
    "cpu", "memory", "log_errors", "blind", "recovery", "configuration",
}  # fmt: skip
"""What a dead process cannot be blamed for; the spool is on the disk and is judged anyway."""
_TOLD_BY: Final = frozenset({"process_state", "connection", "data_flow", "memory", "cpu"})
_RESTARTED: Final = "alert.process.restarted"
_RECOVERED: Final = "alert.process.recovered"
_BLIND: Final = _WITHOUT_PROCESS - {"blind"} | {"process_state"}
_MEMORY_CRITICAL = 1.5
"""Times the limit."""
_SPOOL_LEVELS: Final = (
    (95.0, AlertSeverity.CRITICAL),
    (80.0, AlertSeverity.WARNING),
)
_SPOOL_SLACK = 5.0
"""Per cent below the limit at which an alert about the spool ends."""


@dataclass(frozen=True, slots=True)
class _Case:
    status: ProcessStatus
    facts: Facts
    limits: AlertLimits
    open_alerts: Mapping[str, Alert]

    def check(self, kind: HealthCheckType) -> HealthCheckResult:
        return next(check for check in self.status.health.checks if check.check_type is kind)

    @property
    def subject(self) -> Subject:
        return Subject(kind=SubjectKind.PROCESS, name=self.status.name)

    def is_open(self, rule: str) -> bool:
        return fingerprint_of(rule, self.subject) in self.open_alerts

    def limit(self, rule: str) -> float:
        return self.limits.threshold(rule, self.status.name)

    def said_by(self, check: HealthCheckResult, rule: str, severity: AlertSeverity) -> Condition:
        """Return a condition in the words of a health check."""
        return Condition(
            rule=rule,
            subject=self.subject,
            severity=severity,
            code=f"check.{check.code}",
            params=check.params,
            evidence={"recommendations": list(check.recommendations)},
        )

    def own_or(self, limit: object, rule: str) -> float | None:
        """Return the limit that people gave this alert, else ``limit`` if it is a number."""
        own = self.limits.of(rule, self.status.name).threshold
        if own is not None:
            return own
        return float(limit) if isinstance(limit, int | float) else None

    def above(
        self,
        rule: str,
        value: float,
        limit: float,
        severity: AlertSeverity = AlertSeverity.WARNING,
    ) -> list[Condition]:
        """Return a condition if ``value`` is above the limit."""
        if value <= limit:
            return []
        condition = Condition(
            rule=rule,
            subject=self.subject,
            severity=severity,
            code=f"alert.{rule}",
            params={"value": round(value), "limit": round(limit)},
            value=round(value, 2),
            threshold=limit,
        )
        return [condition]


def judge_process(
    status: ProcessStatus, facts: Facts, limits: AlertLimits, open_alerts: Mapping[str, Alert]
) -> tuple[list[Condition], set[str]]:
    """Return what is wrong with a process that should run, and the rules that cannot say."""
    case = _Case(status, facts, limits, open_alerts)
    found, held = _spool(case)
    alive = case.check(HealthCheckType.PROCESS_ALIVE)
    if alive.status is HealthStatus.CRITICAL and status.name in facts.commanded:
        # A restart is between its stop and its start: no fault, and no end of one.
        return _recovered(case) + found, held | _WITHOUT_PROCESS | {"process_state"}
    if alive.status is HealthStatus.CRITICAL:
        down = case.said_by(alive, "process_state", AlertSeverity.CRITICAL)
        return [down, *found], held | _WITHOUT_PROCESS
    if alive.status is HealthStatus.UNKNOWN:
        return [case.said_by(alive, "blind", AlertSeverity.WARNING), *found], held | _BLIND
    # One that starts, is held back or is late says nothing of its devices that would be news.
    device = _device(case) if alive.status is HealthStatus.HEALTHY else ([], set(_OF_DEVICES))
    for more, unsaid in (
        _lasting(case),
        device,
        _resources(case),
        _log(case),
        _configuration(case),
    ):
        found += more
        held |= unsaid
    return found + _given_up(case, found), held


_Verdict = tuple[list[Condition], set[str]]


def _lasting(case: _Case) -> _Verdict:
    """A crash is over when the process has lasted, not as soon as it is back."""
    status, lasts_s = case.status, case.limit("process_state")
    if recovered := _recovered(case):
        return recovered, set()
    uptime_s = status.uptime_seconds
    if uptime_s is None:
        return [], {"process_state"}
    if status.name in case.facts.commanded and case.is_open("process_state"):
        return [], {"process_state"}
    crashed = status.name in case.facts.restarted or case.is_open("process_state")
    if not crashed or uptime_s >= lasts_s:
        return [], set()
    before = case.open_alerts.get(fingerprint_of("process_state", case.subject))
    if before is not None and before.code == _RECOVERED:
        return [_restart(case, _RECOVERED, before.params)], set()
    return [_restart(case, _RESTARTED, {"count": status.restart_count})], set()


def _restart(case: _Case, code: str, params: Mapping[str, object]) -> Condition:
    return Condition(
        rule="process_state",
        subject=case.subject,
        severity=AlertSeverity.WARNING,
        code=code,
        params={**params, "limit_s": round(case.limit("process_state"))},
        value=float(case.status.restart_count),
        evidence={"last_error": case.status.last_error or ""},
    )


def _recovered(case: _Case) -> list[Condition]:
    """Tell that recovery has begun a restart, unless what it is for has been told."""
    causes = case.facts.recovered.get(case.status.name)
    if causes is None or any(map(case.is_open, _TOLD_BY)):
        return []
    cause, cause_zh = causes
    return [_restart(case, _RECOVERED, {"cause": cause, "cause_zh": cause_zh})]


def _configuration(case: _Case) -> _Verdict:
    """A file that is refused while the process runs on with the one before: no start would work."""
    problem = case.facts.refused_files.get(case.status.name)
    if case.is_open("process_state"):
        return [], {"configuration"}
    if problem is None:
        return [], set()
    condition = Condition(
        rule="configuration",
        subject=case.subject,
        severity=AlertSeverity.WARNING,
        code="alert.configuration",
        params={"problem": problem.text(), "problem_zh": problem.text("zh-CN")},
        evidence={"recommendations": ["fix_config"]},
    )
    return [condition], set()


def _given_up(case: _Case, found: list[Condition]) -> list[Condition]:
    """Tell of what recovery leaves to people, unless another alert tells of it already."""
    causes = case.facts.given_up.get(case.status.name)
    if causes is None or any(each.rule in _TOLD_BY for each in found):
        return []
    cause, cause_zh = causes
    condition = Condition(
        rule="recovery",
        subject=case.subject,
        severity=AlertSeverity.WARNING,
        code="alert.recovery",
        params={"cause": cause, "cause_zh": cause_zh},
    )
    return [condition]


def _device(case: _Case) -> _Verdict:
    connection = case.check(HealthCheckType.CONNECTION_STATUS)
    data = case.check(HealthCheckType.DATA_FLOW)
    if connection.status is HealthStatus.UNKNOWN:
        return [], set(_OF_DEVICES)
    if connection.status is HealthStatus.CRITICAL:
        lost = case.said_by(connection, "connection", AlertSeverity.CRITICAL)
        return [lost], set(_OF_DEVICES - {"connection"})
    if connection.status is HealthStatus.WARNING:
        # Not yet, or no more, worth an alert; whatever is missing comes from this.
        return [], set(_OF_DEVICES)
    found, held = _request_errors(case)
    if data.status is HealthStatus.UNKNOWN:
        held |= {"data_flow", "frozen_values"}
    elif data.status is HealthStatus.CRITICAL:
        found.append(case.said_by(data, "data_flow", AlertSeverity.CRITICAL))
    elif data.code == "data.frozen":
        found.append(case.said_by(data, "frozen_values", AlertSeverity.WARNING))
    elif data.code == "data.rate_low":
        found.append(case.said_by(data, "data_flow", AlertSeverity.WARNING))
    return found, held


def _request_errors(case: _Case) -> _Verdict:
    percent = case.facts.request_errors.get(case.status.name)
    if percent is None:
        return [], {"request_errors"}
    return case.above("request_errors", percent, case.limit("request_errors")), set()


def _resources(case: _Case) -> _Verdict:
    """The limits are those of the health check, unless the alert has its own."""
    figures = case.check(HealthCheckType.RESOURCE_USAGE).params
    found: list[Condition] = []
    held: set[str] = set()
    cpu, memory_mb = case.status.cpu_percent, case.status.memory_mb
    if cpu is None:
        held.add("cpu")
    elif (limit := case.own_or(figures.get("cpu_limit"), "cpu")) is not None:
        found += case.above("cpu", cpu, limit)
    if memory_mb is None:
        held.add("memory")
    elif (limit := case.own_or(figures.get("memory_limit"), "memory")) is not None:
        far = memory_mb > _MEMORY_CRITICAL * limit
        severity = AlertSeverity.CRITICAL if far else AlertSeverity.WARNING
        found += case.above("memory", memory_mb, limit, severity)
    return found, held


def _log(case: _Case) -> _Verdict:
    check = case.check(HealthCheckType.LOG_ERRORS)
    count, limit = check.params.get("count"), case.own_or(None, "log_errors")
    if not isinstance(count, int):
        return [], {"log_errors"}
    if limit is not None:
        return case.above("log_errors", count, limit), set()
    if check.status is not HealthStatus.WARNING:
        return [], set()
    return [case.said_by(check, "log_errors", AlertSeverity.WARNING)], set()


def _spool(case: _Case) -> _Verdict:
    """How full the collector's own queue is: past its end the oldest data is dropped."""
    spool = case.facts.spools.get(case.status.name)
    if spool is None:
        return [], {"spool"}
    percent = 100.0 * spool.queued_bytes / spool.limit_bytes
    slack = _SPOOL_SLACK if case.is_open("spool") else 0.0
    limit = case.limit("spool")
    if percent <= limit - slack:
        return [], set()
    severity = next((s for level, s in _SPOOL_LEVELS if percent > level), AlertSeverity.ADVISORY)
    condition = Condition(
        rule="spool",
        subject=case.subject,
        severity=severity,
        code="alert.spool",
        params={
            "percent": round(percent),
            "limit": round(limit),
            "queued_mb": spool.queued_bytes // 1_000_000,
        },
        value=round(percent, 1),
        threshold=limit,
    )
    return [condition], set()
