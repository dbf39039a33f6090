"""Puts the parts of alerting together; called by the composition root."""

import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from collectors.contract.messages import sentence
from control_plane.alert_commands import AlertCommands
from control_plane.alerting.facts import Disk
from control_plane.alerting.gathering import Gatherer, Sources
from control_plane.alerting.service import AlertService, Outlets
from control_plane.alerting.spool_limits import SpoolLimits
from control_plane.alerting.view import alert_json
from control_plane.audit_commands import AuditCommands
from control_plane.auditor import Auditor
from control_plane.auth.gate import Gate
from control_plane.clock import Clock
from control_plane.domain.recovery import Decision, RecoveryAction
from control_plane.live.hub import Hub
from control_plane.log_integrity import LogIntegrity
from control_plane.monitor import Monitor
from control_plane.notify.notifier import Notifier
from control_plane.recovery.service import EVERYTHING, RecoveryService
from control_plane.settings import Settings
from control_plane.storage.database import StateDatabase
from control_plane.storage.notifications import Notifications
from control_plane.storage.recovery import MaintenanceWindows
from control_plane.telemetry.storage_status import look_at_storage


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertParts:
    """Alerts of a running control plane; started and stopped together."""

    service: AlertService
    notifier: Notifier
    commands: AlertCommands
    queue: Notifications

    def start(self) -> None:
        self.service.start()

    def stop(self) -> None:
        """What is not yet sent is sent after the next start."""
        self.service.stop()
        self.notifier.stop()

    def prune(self, now: datetime, keep: timedelta) -> None:
        """Forget what ended longer ago than ``keep``. Raises StorageError."""
        self.service.prune(keep)
        self.queue.prune(now, keep)


def build_notifier(home: Path, database: StateDatabase, clock: Clock) -> Notifier:
    """Return what sends, without any thread."""
    return Notifier(home, Notifications(database), clock, alert_json, socket.gethostname())


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The parts of the control plane that alerts look at."""

    monitor: Monitor
    recovery: RecoveryService
    hub: Hub
    gate: Gate
    audit: AuditCommands
    logs: LogIntegrity


def build_alerts(
    settings: Settings, database: StateDatabase, audit: Auditor, clock: Clock, watched: Watched
) -> AlertParts:
    """Return the parts, not yet started."""
    notifier = build_notifier(settings.home, database, clock)
    windows = MaintenanceWindows(database)
    monitor, hub = watched.monitor, watched.hub

    def maintenance() -> frozenset[str]:
        names = windows.present(clock.now()).keys()
        return frozenset(monitor.picture().processes if EVERYTHING in names else names)

    def disk() -> Disk:
        usage = shutil.disk_usage(settings.home)
        usable = max(1, usage.used + usage.free)  # Without what only root may use.
        return Disk(free_bytes=usage.free, free_percent=100.0 * usage.free / usable)

    sources = Sources(
        picture=monitor.picture,
        picture_age_s=monitor.picture_age_s,
        look_ms=lambda: monitor.look_ms,
        storage=lambda: look_at_storage(settings.home),
        disk=disk,
        spool_limits=SpoolLimits(settings.collectors_dir).read,
        live_dropped=lambda: hub.cut_off,
        banned=lambda: sorted({*watched.gate.banned(), *hub.banned()}),
        audit_findings=lambda: watched.audit.findings,
        log_findings=lambda: watched.logs.findings,
        notify_queued=notifier.queued_count,
        maintenance=maintenance,
        given_up=lambda: _given_up(watched.recovery.latest()),
        recovered=lambda: _recovered(watched.recovery.restarts()),
        commanded=watched.recovery.under_way,
    )
    outlets = Outlets(database=database, notifier=notifier, live=hub)
    service = AlertService(settings.home, Gatherer(sources, clock), outlets, clock)
    return AlertParts(
        service=service,
        notifier=notifier,
        commands=AlertCommands(service, notifier, audit, clock),
        queue=Notifications(database),
    )


def _given_up(decisions: Mapping[str, Decision]) -> dict[str, tuple[str, str]]:
    """Return what recovery wants a person for, in both languages."""
    return {
        name: (_cause(decision, "en"), _cause(decision, "zh-CN"))
        for name, decision in decisions.items()
        if decision.wanted is RecoveryAction.ALERT_OPERATOR
    }


def _recovered(restarts: Mapping[str, tuple[int, Decision]]) -> dict[str, tuple[int, str, str]]:
    """Return how often recovery has restarted a collector, and why, in both languages."""
    return {
        name: (count, _cause(decision, "en"), _cause(decision, "zh-CN"))
        for name, (count, decision) in restarts.items()
    }


def _cause(decision: Decision, language: str) -> str:
    return sentence("control_plane", f"recovery.{decision.rule}", decision.facts, language)
