"""Puts together what the API, the live channel and the panel show of one collector; pure."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from collectors.contract.config_types import PROTOCOLS
from collectors.contract.heartbeat import ConnectionStatus as DeviceConnection
from control_plane.domain.health import HealthCheckConfig, HealthStatus, ProcessHealth
from control_plane.domain.observation import SeenCollector
from control_plane.domain.process import (
    ConnectionStatus,
    Desired,
    PerformanceMetrics,
    ProcessState,
    ProcessStatus,
    SupervisorState,
)
from control_plane.health.checks import CHECKS
from control_plane.health.score import judge


def judge_collector(
    seen: SeenCollector,
    previous: ProcessHealth | None,
    limits: HealthCheckConfig,
    elapsed_s: float = 0.0,
) -> ProcessHealth:
    """Run the five checks and sum them up; ``elapsed_s`` is since ``previous`` was judged."""
    facts = seen.facts
    return judge(
        [check(facts, limits) for check in CHECKS],
        stopped_by_operator=_is_stopped(seen),
        previous=previous,
        now=facts.taken_at,
        since_previous=(elapsed_s, limits),
    )


def view_collector(
    seen: SeenCollector,
    health: ProcessHealth,
    restart_count: int,
    limits: HealthCheckConfig,
    home: Path,
) -> ProcessStatus:
    """Return everything that is shown of one collector."""
    facts, config = seen.facts, seen.file.config
    info, usage, beat = facts.info, facts.usage, facts.heartbeat
    has_process = info is not None and info.pid is not None
    devices = _present_devices(seen, limits)
    return ProcessStatus(
        name=seen.file.name,
        display_name=config.display_name if config else "",
        node=facts.node,
        type=_type_of(seen.file.protocol or (beat.protocol if beat else "")),
        status=info.status if info else ProcessState.UNKNOWN,
        supervisor_state=info.state if info else SupervisorState.UNKNOWN,
        desired=seen.desired,
        pid=info.pid if info else None,
        cpu_percent=usage.cpu_percent if usage else None,
        memory_mb=usage.memory_mb if usage else None,
        start_time=usage.created_at if usage else None,
        uptime_seconds=round(facts.uptime_s, 1) if facts.uptime_s is not None else None,
        last_heartbeat=beat.sent_at if beat else None,
        restart_count=restart_count,
        last_error=_last_error(seen, health),
        connection_status=ConnectionStatus.of(devices),
        data_collection_rate=round(beat.samples_per_s, 2) if beat and has_process else 0.0,
        expected_rate=round(beat.expected_samples_per_s, 2) if beat else 0.0,
        last_data_time=beat.last_data_time if beat else None,
        samples_total=beat.good_samples if beat else 0,
        shortest_interval_s=beat.shortest_interval_s if beat else 1.0,
        cycles_last_minute=sum(each.cycles for each in beat.groups) if beat else 0,
        skipped_cycles=beat.skipped_cycles if beat else 0,
        frequency_factor=beat.frequency_factor if beat else 1.0,
        health_score=health.score,
        error_count_24h=seen.error_count_24h,
        config_file=str(seen.file.path or ""),
        config_revision=beat.config_revision if beat else seen.file.revision,
        file_revision=seen.file.revision,
        command=_command(seen, home),
        observed_at=facts.taken_at,
        health=health,
        devices=devices,
    )


def _type_of(protocol: str) -> str:
    """Return the design document's word for a protocol of a collector file."""
    types = PROTOCOLS.get(protocol)
    return "unknown" if types is None else types.word


def measure_performance(status: ProcessStatus, at: datetime) -> PerformanceMetrics:
    """Return the figures of topic ``performance`` from a status."""
    requests = sum(device.requests for device in status.devices)
    failed = sum(device.request_errors for device in status.devices)
    times = [d.round_trip_ms for d in status.devices if d.round_trip_ms is not None]
    return PerformanceMetrics(
        process_name=status.name,
        timestamp=at,
        cpu_percent=status.cpu_percent,
        memory_mb=status.memory_mb,
        data_points_per_minute=round(status.data_collection_rate * 60, 1),
        error_rate=round(100 * failed / requests, 2) if requests else 0.0,
        response_time_ms=round(sum(times) / len(times), 2) if times else None,
    )


def _is_stopped(seen: SeenCollector) -> bool:
    """A process that should stay stopped and does, or is on its way there."""
    info = seen.facts.info
    if info is None or seen.desired is not Desired.STOP:
        return False
    return info.pid is None or info.state is SupervisorState.STOPPING


def _present_devices(
    seen: SeenCollector, limits: HealthCheckConfig
) -> tuple[DeviceConnection, ...]:
    """Return the links as reported; nobody who has ended or fallen silent holds one."""
    facts = seen.facts
    if facts.heartbeat is None:
        return ()
    ended = facts.supervisor_reachable and (facts.info is None or facts.info.pid is None)
    silent = (facts.heartbeat_age_s or 0.0) > limits.heartbeat_timeout
    if not ended and not silent:
        return facts.heartbeat.connections
    return tuple(replace(link, is_connected=False) for link in facts.heartbeat.connections)


def _last_error(seen: SeenCollector, health: ProcessHealth) -> str | None:
    """Return the reason of a present fault, else the newest error line of the log."""
    present = (check for check in health.checks if check.status is HealthStatus.CRITICAL)
    worst = next(present, None)
    if health.status is not HealthStatus.STOPPED and worst is not None:
        return worst.message
    beat = seen.facts.heartbeat
    for device in beat.connections if beat else ():
        if not device.is_connected and device.last_error:
            return f"{device.device_id}: {device.last_error}"
    return seen.last_logged_error if seen.error_count_24h else None


def _command(seen: SeenCollector, home: Path) -> tuple[str, ...]:
    if seen.file.path is None:
        return ()  # Only its own node knows.
    return (
        "python", "-m", "collectors", "run", str(seen.file.path), "--home", str(home),
    )  # fmt: skip
