"""The rules about stores, this machine and the control plane itself; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from control_plane.alerting.facts import HERE, Condition, Facts
from control_plane.alerting.limits import AlertLimits
from control_plane.domain.alerts import Alert, AlertSeverity, Subject, SubjectKind, fingerprint_of

HISTORIAN_SILENT_S: Final = 15.0
"""The historian says each second how it is."""
_GB: Final = 1_000_000_000
_DISK_CRITICAL_PERCENT, _DISK_CRITICAL_BYTES = 5.0, _GB // 4
_DISK_LEAST_BYTES = _GB
_SHOWN_ADDRESSES = 3
_DISK_SLACK = 2.0
"""Per cent above the limit at which an alert about the disk ends."""


@dataclass(frozen=True, slots=True)
class _Here:
    facts: Facts
    limits: AlertLimits
    open_alerts: Mapping[str, Alert]

    def limit(self, rule: str) -> float:
        return self.limits.threshold(rule, HERE)

    def condition(
        self,
        rule: str,
        severity: AlertSeverity,
        params: Mapping[str, object],
        value: float | None = None,
    ) -> Condition:
        return Condition(
            rule=rule,
            subject=Subject(kind=SubjectKind.INSTALLATION, name=HERE),
            severity=severity,
            code=f"alert.{rule}",
            params=params,
            value=value,
            threshold=self.limits.of(rule, HERE).threshold,
        )


def judge_installation(
    facts: Facts, limits: AlertLimits, open_alerts: Mapping[str, Alert]
) -> list[Condition]:
    """Return what is wrong with everything but collectors and nodes."""
    here = _Here(facts, limits, open_alerts)
    return [
        *_historian(here),
        *_stores(here),
        *_disk(here),
        *_clock(here),
        *_monitor(here),
        *_outlets(here),
        *_attacks(here),
    ]


def _historian(here: _Here) -> list[Condition]:
    storage = here.facts.storage
    if storage is None:
        # Nothing to store is no fault.
        if not here.facts.statuses:
            return []
        return [here.condition("historian", AlertSeverity.CRITICAL, {"age_s": "?"})]
    if storage.age_s <= HISTORIAN_SILENT_S:
        return []
    params = {"age_s": round(storage.age_s)}
    return [here.condition("historian", AlertSeverity.CRITICAL, params, round(storage.age_s, 1))]


def _stores(here: _Here) -> list[Condition]:
    storage = here.facts.storage
    if storage is None or storage.age_s > HISTORIAN_SILENT_S:
        return []
    found = []
    for store in storage.stores:
        subject = Subject(kind=SubjectKind.STORE, name=store.name)
        limit_s = here.limits.threshold("store_lag", store.name)
        if store.error is not None:
            condition = Condition(
                rule="store_down",
                subject=subject,
                severity=AlertSeverity.CRITICAL,
                code="alert.store_down",
                params={"store": store.name, "url": store.url, "error": store.error},
            )
            found.append(condition)
        elif (lag_s := storage.total(store.name).lag_s) > limit_s:
            condition = Condition(
                rule="store_lag",
                subject=subject,
                severity=AlertSeverity.WARNING,
                code="alert.store_lag",
                params={"store": store.name, "lag_s": round(lag_s), "limit_s": round(limit_s)},
                value=round(lag_s, 1),
                threshold=limit_s,
            )
            found.append(condition)
    if missing := storage.records_missing:
        params = {"count": missing}
        found.append(
            here.condition("records_missing", AlertSeverity.CRITICAL, params, float(missing))
        )
    return found


def _disk(here: _Here) -> list[Condition]:
    disk = here.facts.disk
    if disk is None:
        return []
    subject = Subject(kind=SubjectKind.INSTALLATION, name=HERE)
    slack = 1.0
    limit = here.limit("disk")
    if fingerprint_of("disk", subject) in here.open_alerts:
        limit, slack = limit + _DISK_SLACK, 1.2
    if disk.free_percent >= limit and disk.free_bytes >= _DISK_LEAST_BYTES * slack:
        return []
    full = disk.free_percent < _DISK_CRITICAL_PERCENT or disk.free_bytes < _DISK_CRITICAL_BYTES
    params = {
        "free_percent": round(disk.free_percent),
        "free_gb": round(disk.free_bytes / _GB, 1),
        "limit": round(here.limit("disk")),
    }
    severity = AlertSeverity.CRITICAL if full else AlertSeverity.WARNING
    return [here.condition("disk", severity, params, round(disk.free_percent, 1))]


def _clock(here: _Here) -> list[Condition]:
    step_s = here.facts.clock_step_s
    if abs(step_s) <= here.limit("clock_step"):
        return []
    params = {"step_s": f"{step_s:+.0f}"}
    return [here.condition("clock_step", AlertSeverity.WARNING, params, round(step_s, 1))]


def _monitor(here: _Here) -> list[Condition]:
    own = here.facts.own
    if own.look_age_s > here.limit("monitor_stalled"):
        params: dict[str, object] = {"age_s": round(own.look_age_s)}
        severity = AlertSeverity.CRITICAL
        return [here.condition("monitor_stalled", severity, params, round(own.look_age_s, 1))]
    limit_ms = here.limit("slow_look")
    if own.look_ms <= limit_ms:
        return []
    params = {"look_ms": round(own.look_ms), "limit_ms": round(limit_ms)}
    return [here.condition("slow_look", AlertSeverity.WARNING, params, round(own.look_ms, 1))]


def _outlets(here: _Here) -> list[Condition]:
    own, found = here.facts.own, []
    if own.live_dropped:
        params: dict[str, object] = {"count": own.live_dropped}
        dropped = here.condition(
            "live_dropped", AlertSeverity.ADVISORY, params, float(own.live_dropped)
        )
        found.append(dropped)
    if own.notify_queued > here.limit("notify_queue"):
        params = {"count": own.notify_queued, "limit": round(here.limit("notify_queue"))}
        queue = here.condition(
            "notify_queue", AlertSeverity.WARNING, params, float(own.notify_queued)
        )
        found.append(queue)
    if own.database_error is not None:
        params = {"error": own.database_error}
        found.append(here.condition("state_database", AlertSeverity.CRITICAL, params))
    return found


def _attacks(here: _Here) -> list[Condition]:
    own, found = here.facts.own, []
    if own.banned:
        params: dict[str, object] = {"count": len(own.banned), "addresses": _few(own.banned)}
        found.append(here.condition("client_banned", AlertSeverity.WARNING, params))
    if own.audit_findings:
        params = {"count": own.audit_findings}
        found.append(here.condition("audit_trail", AlertSeverity.CRITICAL, params))
    if own.log_findings:
        params = {"count": own.log_findings}
        found.append(here.condition("sealed_logs", AlertSeverity.CRITICAL, params))
    return found


def _few(addresses: tuple[str, ...]) -> str:
    more = ", …" if len(addresses) > _SHOWN_ADDRESSES else ""
    return ", ".join(addresses[:_SHOWN_ADDRESSES]) + more
