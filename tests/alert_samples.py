"""Looks at an imaginary plant, for the tests of alerts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collectors.contract.heartbeat import ConnectionStatus as DeviceConnection
from control_plane.alerting.engine import EngineState, Step
from control_plane.alerting.facts import Facts
from control_plane.alerting.limits import AlertLimits
from control_plane.alerting.rules import judge
from control_plane.domain.alerts import AlertEvent, Silence
from control_plane.domain.health import (
    HealthCheckConfig,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
    ProcessHealth,
)
from control_plane.domain.node import LOCAL_NODE, NodeView
from control_plane.domain.observation import CollectorFile, SeenCollector, unseen
from control_plane.domain.process import Desired, ProcessStatus
from control_plane.process_view import view_collector

START = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
GOOD: Mapping[HealthCheckType, tuple[HealthStatus, str, Mapping[str, object]]] = {
    HealthCheckType.PROCESS_ALIVE: (HealthStatus.HEALTHY, "process.alive", {}),
    HealthCheckType.CONNECTION_STATUS: (HealthStatus.HEALTHY, "connection.ok", {"total": 1}),
    HealthCheckType.DATA_FLOW: (HealthStatus.HEALTHY, "data.ok", {}),
    HealthCheckType.RESOURCE_USAGE: (
        HealthStatus.HEALTHY, "resources.ok", {"cpu_limit": 80, "memory_limit": 500},
    ),
    HealthCheckType.LOG_ERRORS: (HealthStatus.HEALTHY, "log.ok", {"count": 0}),
}  # fmt: skip
CRASHED = {
    HealthCheckType.PROCESS_ALIVE: (
        HealthStatus.CRITICAL, "process.exited", {"ended": "exit 1", "ended_zh": "退出码 1"},
    ),
}  # fmt: skip
BLIND = {
    HealthCheckType.PROCESS_ALIVE: (HealthStatus.UNKNOWN, "process.blind", {"reason": "x"}),
    HealthCheckType.CONNECTION_STATUS: (HealthStatus.UNKNOWN, "report.missing", {}),
    HealthCheckType.DATA_FLOW: (HealthStatus.UNKNOWN, "report.missing", {}),
}
DEVICE_LOST = {
    HealthCheckType.CONNECTION_STATUS: (HealthStatus.WARNING, "connection.lost", {}),
    HealthCheckType.DATA_FLOW: (HealthStatus.UNKNOWN, "data.not_connected", {}),
}
DEVICE_DEAD = {
    HealthCheckType.CONNECTION_STATUS: (
        HealthStatus.CRITICAL, "connection.silent",
        {"device": "press1", "endpoint": "10.0.0.9:502", "silent_s": 61, "limit_s": 60},
    ),
    HealthCheckType.DATA_FLOW: (HealthStatus.UNKNOWN, "data.not_connected", {}),
}  # fmt: skip
NO_DATA = {
    HealthCheckType.DATA_FLOW: (HealthStatus.CRITICAL, "data.stale", {"age_s": 121, "limit_s": 120})
}


def device(host: str = "10.0.0.9", *, connected: bool = True) -> DeviceConnection:
    return DeviceConnection(
        device_id="press1",
        device_ip=host,
        device_port=502,
        protocol_type="modbus",
        is_connected=connected,
    )


def status(
    name: str = "line1",
    checks: Mapping[HealthCheckType, tuple[HealthStatus, str, Mapping[str, object]]] | None = None,
    *,
    node: str = LOCAL_NODE,
    desired: Desired = Desired.RUN,
    cpu: float | None = 5.0,
    memory: float | None = 50.0,
    uptime_s: float | None = 5000.0,
    devices: tuple[DeviceConnection, ...] = (),
) -> ProcessStatus:
    results = tuple(
        HealthCheckResult(check_type=kind, status=state, code=code, params=params)
        for kind, (state, code, params) in {**GOOD, **(checks or {})}.items()
    )
    worst = max((r.status for r in results), key=lambda s: s.rank)
    health = ProcessHealth(status=worst, score=None, confidence=1.0, since=START, checks=results)
    file = CollectorFile(
        name=name, path=None, config=None, protocol=None, problems=(), revision=None
    )
    seen = SeenCollector(
        file=file,
        desired=desired,
        facts=unseen(START, node),
        error_count_24h=0,
        last_logged_error=None,
    )
    return replace(
        view_collector(seen, health, 0, HealthCheckConfig(), Path("/nowhere")),
        cpu_percent=cpu,
        memory_mb=memory,
        uptime_seconds=uptime_s,
        devices=devices,
    )


def node(name: str = LOCAL_NODE, *, reachable: bool = True) -> NodeView:
    return NodeView(
        name=name,
        address="unix",
        reachable=reachable,
        version=None,
        since=START,
        error=None if reachable else "refused",
    )


def facts(*statuses: ProcessStatus, **more: object) -> Facts:
    """Return a look in which nothing else is wrong."""
    nodes = more.pop("nodes", (node(),))
    return Facts(
        statuses={each.name: each for each in statuses},
        nodes=nodes,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


@dataclass
class Plant:
    """Looks one after the other, with a clock of its own."""

    limits: AlertLimits = field(default_factory=AlertLimits)
    state: EngineState = field(default_factory=EngineState)
    silences: tuple[Silence, ...] = ()
    mono: float = 1000.0
    now: datetime = START
    events: list[AlertEvent] = field(default_factory=list)

    def look(self, seen: Facts, after_s: float = 1.0, times: int = 1) -> list[AlertEvent]:
        """Look ``times`` times, ``after_s`` apart; return what happened meanwhile."""
        happened: list[AlertEvent] = []
        for _ in range(times):
            self.mono += after_s
            self.now += timedelta(seconds=after_s)
            judgement = judge(seen, self.limits, self.state.open_alerts())
            step = Step(self.state, self.limits, self.silences, self.now, self.mono)
            self.state, events = step.run(judgement)
            happened += events
        self.events += happened
        return happened


def told(events: list[AlertEvent]) -> list[tuple[str, str, str]]:
    return [(e.kind.value, e.alert.rule, e.alert.subject.name) for e in events]
