"""From the facts of one look to what is wrong; pure.

A fault has one alert: what it causes is held back (a node that is away speaks for its collectors,
a lost connection for missing data, a host that answers nobody for those that read through it).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from control_plane.alerting.facts import ALL_RULES, HERE, Condition, Facts, Judgement, OwnFigures
from control_plane.alerting.installation_rules import judge_installation
from control_plane.alerting.limits import AlertLimits
from control_plane.alerting.process_rules import judge_process
from control_plane.domain.alerts import (
    Alert,
    AlertSeverity,
    Subject,
    SubjectKind,
    fingerprint_of,
)
from control_plane.domain.health import HealthCheckType, HealthStatus
from control_plane.domain.node import LOCAL_NODE
from control_plane.domain.observation import FULL_DISK_BYTES
from control_plane.domain.process import Desired, ProcessStatus

_OF_FULL_DISK: Final = frozenset(
    {"historian", "records_missing", "state_database", "store_down", "store_lag"}
)
"""What cannot be written there; the alert about the disk speaks for all of it."""
_HERE: Final = Subject(kind=SubjectKind.INSTALLATION, name=HERE)
OpenAlerts = Mapping[str, Alert]
"""Alerts that are open after the look before, by fingerprint."""


def judge(facts: Facts, limits: AlertLimits, open_alerts: OpenAlerts) -> Judgement:
    """Return what is wrong, what cannot be said, and what is as it is meant to be."""
    away = {node.name for node in facts.nodes if not node.reachable}
    excused = {_process(s.name): why for s in facts.statuses.values() if (why := _excuse(s, facts))}
    watched = [
        status
        for status in facts.statuses.values()
        if status.node not in away
        and not _is_unwritten(status)
        and _process(status.name) not in excused
    ]
    gateways = _gateways(watched, limits, open_alerts)
    here = judge_installation(facts, limits, open_alerts)
    if _is_disk_full(facts):
        here = [each for each in here if each.rule not in _OF_FULL_DISK]
    conditions = [*_nodes(facts), *gateways, *here]
    unseen = (s for s in facts.statuses.values() if s.node in away or _is_unwritten(s))
    held = {_process(s.name): ALL_RULES for s in unseen} | _held_of_stores(facts, conditions)
    held[_HERE] = held.get(_HERE, frozenset()) | _unchecked(facts.own)
    blamed = {gateway.subject.name for gateway in gateways}
    for status in watched:
        found, unsaid = judge_process(status, facts, limits, open_alerts)
        if _lost_only_to(blamed, status):
            found = [each for each in found if each.rule != "connection"]
            unsaid |= {"connection"}
        conditions += found
        held[_process(status.name)] = frozenset(unsaid)
    return Judgement(
        conditions=tuple(_adjusted(conditions, limits)),
        held=held,
        excused=excused,
        subjects=_subjects(facts) | {gateway.subject for gateway in gateways},
    )


def _process(name: str) -> Subject:
    return Subject(kind=SubjectKind.PROCESS, name=name)


def _is_unwritten(status: ProcessStatus) -> bool:
    """Tell whether only the full disk, which has an alert, keeps it from telling how it is."""
    return any(check.code == "process.disk_full" for check in status.health.checks)


def _is_disk_full(facts: Facts) -> bool:
    return facts.disk is not None and facts.disk.free_bytes < FULL_DISK_BYTES


def _excuse(status: ProcessStatus, facts: Facts) -> str | None:
    if status.name in facts.maintenance:
        return "maintenance"
    return "stopped" if status.desired is Desired.STOP else None


def _nodes(facts: Facts) -> list[Condition]:
    return [
        Condition(
            rule="node",
            subject=Subject(kind=SubjectKind.NODE, name=node.name),
            severity=AlertSeverity.CRITICAL,
            code="alert.node.here" if node.name == LOCAL_NODE else "alert.node.away",
            params={"node": node.name, "address": node.address, "error": node.error or "?"},
            members=tuple(sorted(s.name for s in facts.statuses.values() if s.node == node.name)),
        )
        for node in facts.nodes
        if not node.reachable
    ]


def _gateways(
    watched: list[ProcessStatus], limits: AlertLimits, open_alerts: OpenAlerts
) -> list[Condition]:
    """Blame a host when nobody that reads through it has a connection.

    Once blamed it stays so until the last of them has recovered: they come back one by one, and
    none of them is to have an alert of its own for that.
    """
    lost: dict[str, set[str]] = {}
    answering: set[str] = set()
    for status in watched:
        for device in status.devices:
            if device.is_connected:
                answering.add(device.device_ip)
            else:
                lost.setdefault(device.device_ip, set()).add(status.name)
    silent = {status.name for status in watched if _connection(status) is HealthStatus.CRITICAL}
    found = []
    for host, names in sorted(lost.items()):
        subject = Subject(kind=SubjectKind.GATEWAY, name=host)
        many = len(names) >= limits.gateway_collectors and host not in answering
        is_open = fingerprint_of("gateway", subject) in open_alerts
        if is_open or (many and names & silent):
            found.append(
                Condition(
                    rule="gateway",
                    subject=subject,
                    severity=AlertSeverity.CRITICAL,
                    code="alert.gateway.silent",
                    params={"host": host, "count": len(names)},
                    value=float(len(names)),
                    members=tuple(sorted(names)),
                )
            )
    return found


def _connection(status: ProcessStatus) -> HealthStatus | None:
    kind = HealthCheckType.CONNECTION_STATUS
    return next((c.status for c in status.health.checks if c.check_type is kind), None)


def _lost_only_to(blamed: set[str], status: ProcessStatus) -> bool:
    hosts = {device.device_ip for device in status.devices if not device.is_connected}
    return bool(hosts) and hosts <= blamed


def _held_of_stores(facts: Facts, found: list[Condition]) -> dict[Subject, frozenset[str]]:
    """A store that is down has no lag of its own; without the historian nothing is known."""
    if _is_disk_full(facts):
        stores = facts.storage.stores if facts.storage else ()
        return {Subject(kind=SubjectKind.STORE, name=s.name): ALL_RULES for s in stores} | {
            _HERE: _OF_FULL_DISK
        }
    if any(each.rule == "historian" for each in found):
        stores = facts.storage.stores if facts.storage else ()
        return {Subject(kind=SubjectKind.STORE, name=s.name): ALL_RULES for s in stores} | {
            _HERE: frozenset({"records_missing"})
        }
    down = {each.subject for each in found if each.rule == "store_down"}
    return dict.fromkeys(down, frozenset({"store_lag"}))


def _unchecked(own: OwnFigures) -> frozenset[str]:
    """After a start nobody knows what was tampered with until it has been checked."""
    findings = {"audit_trail": own.audit_findings, "sealed_logs": own.log_findings}
    return frozenset(rule for rule, count in findings.items() if count is None)


def _subjects(facts: Facts) -> frozenset[Subject]:
    stores = facts.storage.stores if facts.storage else ()
    return frozenset(
        {
            _HERE,
            *(_process(name) for name in facts.statuses),
            *(Subject(kind=SubjectKind.NODE, name=node.name) for node in facts.nodes),
            *(Subject(kind=SubjectKind.STORE, name=store.name) for store in stores),
        }
    )


def _adjusted(conditions: list[Condition], limits: AlertLimits) -> list[Condition]:
    """Leave out what is switched off, and give the severities that people chose."""
    kept = []
    for each in conditions:
        of = limits.of(each.rule, each.subject.name)
        if of.enabled:
            kept.append(replace(each, severity=of.severity or each.severity))
    return kept
