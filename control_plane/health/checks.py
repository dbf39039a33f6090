"""The five checks: pure functions from what was observed to a judgement.

Every outcome carries a code and its figures, so that each reader gets the sentence in their own
language. Unknown never means healthy: a check that cannot see says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from collectors.contract.heartbeat import ConnectionStatus, Heartbeat
from collectors.contract.messages import sentence
from collectors.contract.signals import EXIT_CONFIG
from control_plane.domain.health import (
    HealthCheckConfig,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
)
from control_plane.domain.node import LOCAL_NODE
from control_plane.domain.observation import Observation
from control_plane.domain.process import ProcessInfo, SupervisorState

_DATA_RATE_WARNING = 0.8
_DATA_RATE_CRITICAL = 0.5
_RATE_WINDOW_S = 15.0
"""After a start or a reconnect the 10 s average needs this long to mean something."""
_SLOW = 0.5
"""From this share of its limit on a device is told to be slow."""
_STALE = "data.stale", ("check_device", "reset_connection")
_ALL_BAD = "data.all_bad", ("check_points",)
_LATE_INTERVALS = 3
"""Data is late when this many of the shortest poll intervals passed without any."""


def process_alive(seen: Observation, limits: HealthCheckConfig) -> HealthCheckResult:
    """Is the process there, and does its work loop turn?"""
    kind = HealthCheckType.PROCESS_ALIVE
    if seen.blind_reason is not None:
        return _unknown(kind, "process.blind", "read_own_log", reason=seen.blind_reason)
    if not seen.supervisor_reachable:
        return _unreachable(kind, seen.node)
    if seen.info is None or seen.info.pid is None:
        return _without_process(seen)
    return _with_process(seen, seen.info.pid, limits)


def _unreachable(kind: HealthCheckType, node: str) -> HealthCheckResult:
    if node != LOCAL_NODE:
        return _unknown(kind, "process.node_unreachable", "check_node", node=node)
    return _unknown(kind, "process.supervisor_unreachable", "check_supervisord")


def _with_process(seen: Observation, pid: int, limits: HealthCheckConfig) -> HealthCheckResult:
    kind = HealthCheckType.PROCESS_ALIVE
    if not seen.reports_readable:
        return _unknown(kind, "process.no_view", "install_plugin", pid=pid)
    if seen.usage is not None and seen.usage.is_frozen:
        return _critical(kind, "process.frozen", "restart", pid=pid)
    return _work_loop(seen, limits)


def _without_process(seen: Observation) -> HealthCheckResult:
    kind, info = HealthCheckType.PROCESS_ALIVE, seen.info
    if seen.config_problem is not None:
        # Each reader's sentence takes the text in its own language.
        problem = seen.config_problem
        texts = {"problem": problem.text(), "problem_zh": problem.text("zh-CN")}
        return _critical(kind, "process.bad_config", "fix_config", **texts)
    if info is None:
        return _critical(kind, "process.not_known", "apply_config")
    return _why_ended(info)


def _why_ended(info: ProcessInfo) -> HealthCheckResult:
    kind = HealthCheckType.PROCESS_ALIVE
    match info.state:
        case SupervisorState.BACKOFF:
            return _critical(kind, "process.backoff", "read_log", **_ended(info))
        case SupervisorState.FATAL:
            return _critical(kind, "process.fatal", "read_log", "restart", **_ended(info))
        case SupervisorState.EXITED if info.exit_status == EXIT_CONFIG:
            # The file is valid, or this would not be reached: its own boot ledger ended it.
            return _critical(kind, "process.quarantined", "read_log", "start")
        case SupervisorState.EXITED:
            return _critical(kind, "process.exited", "read_log", "restart", **_ended(info))
        case _:
            return _critical(kind, "process.not_running", "start", state=info.state.value)


def _ended(info: ProcessInfo) -> dict[str, object]:
    """Return how the last process ended, for the sentences of either language."""
    left = info.last_exit
    could_not_start = info.spawn_error and not info.spawn_error.startswith("Exited too quickly")
    if left is None or could_not_start:
        text = info.spawn_error or f"exit {info.exit_status}"
        return {"ended": text, "ended_zh": text}
    code = "exit.code" if left.signal is None else "exit.signal"
    figures = {"code": left.code, "signal": left.signal, "uptime_s": round(left.uptime_s)}
    return {
        "ended": sentence("control_plane", code, figures),
        "ended_zh": sentence("control_plane", code, figures, "zh-CN"),
    }


def _work_loop(seen: Observation, limits: HealthCheckConfig) -> HealthCheckResult:
    kind = HealthCheckType.PROCESS_ALIVE
    age, uptime = seen.heartbeat_age_s, seen.uptime_s or 0.0
    if seen.disk_full and (age is None or age > limits.heartbeat_warning):
        return _unknown(kind, "process.disk_full", "free_disk")
    if age is None:
        if _is_starting(seen, limits):
            return _starting(seen, uptime)
        return _critical(kind, "process.no_heartbeat", "restart", uptime_s=round(uptime))
    if age > limits.heartbeat_timeout:
        limit = round(limits.heartbeat_timeout)
        return _critical(
            kind, "process.heartbeat_stale", "restart", age_s=round(age), limit_s=limit
        )
    if age > limits.heartbeat_warning:
        limit = round(limits.heartbeat_warning)
        return _warning(kind, "process.heartbeat_late", age_s=round(age), limit_s=limit)
    return _held_back(seen) or _healthy(kind, "process.alive")


def _held_back(seen: Observation) -> HealthCheckResult | None:
    """A collector that crashed lately reports, but does not work yet, or no more."""
    kind, beat = HealthCheckType.PROCESS_ALIVE, seen.heartbeat
    if beat is None:
        return None
    if beat.quarantined:
        return _critical(kind, "process.quarantined", "read_log", "start")
    if beat.held_until is None or beat.held_until <= seen.taken_at:
        return None
    wait_s = (beat.held_until - seen.taken_at).total_seconds()
    return _warning(kind, "process.held", "read_log", wait_s=round(wait_s))


def _starting(seen: Observation, uptime_s: float) -> HealthCheckResult:
    kind = HealthCheckType.PROCESS_ALIVE
    figures: dict[str, object] = {"uptime_s": round(uptime_s)}
    if seen.info is not None and seen.info.last_exit is not None:
        return _warning(kind, "process.restarting", **_ended(seen.info), **figures)
    return _warning(kind, "process.starting", **figures)


def connection(seen: Observation, limits: HealthCheckConfig) -> HealthCheckResult:
    """Do the devices answer?"""
    kind = HealthCheckType.CONNECTION_STATUS
    beat = seen.heartbeat
    if beat is None or not _heart_beats(seen, limits):
        return _without_report(kind, seen, limits)
    if not beat.connections:
        return _healthy(kind, "connection.no_devices")
    links = [_Link.of(device, beat, seen, limits) for device in beat.connections]
    quietest = max(links, key=lambda link: link.silence)
    lost = [link for link in links if not link.device.is_connected]
    counts: dict[str, object] = {"down": len(lost), "total": len(links)}
    if quietest.silence > 1.0:
        return _critical(kind, "connection.silent", "check_device", **quietest.figures(), **counts)
    if lost:
        worst = max(lost, key=lambda link: link.silent_s)
        code = "connection.connecting" if worst.is_first_try else "connection.lost"
        return _warning(kind, code, "check_device", **worst.figures(), **counts)
    if quietest.silence > _SLOW:
        return _warning(kind, "connection.slow", "check_device", **quietest.figures(), **counts)
    refusing = next((e for e in links if e.is_refusing and e.silent_s > e.limit_s), None)
    if refusing is not None:
        counts |= refusing.figures()
    return _healthy(kind, "connection.refusing" if refusing else "connection.ok", **counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """A device, how long it has not answered, and how long it may."""

    device: ConnectionStatus
    silent_s: float
    limit_s: float
    is_refusing: bool
    """It answers, but with nothing but errors: that is no trouble of the connection."""

    @classmethod
    def of(
        cls, device: ConnectionStatus, beat: Heartbeat, seen: Observation, limits: HealthCheckConfig
    ) -> Self:
        since = device.last_good_at or beat.started_at
        limit_s = _patience_s(limits.connection_timeout, device.shortest_interval_s)
        # A request without an answer ends a connection long before, so one that lasts is answered.
        lasts = device.since is not None and _age_s(seen, device.since) > _SLOW * limit_s
        return cls(
            device=device,
            silent_s=seen.silent_s.get(device.device_id, _age_s(seen, since)),
            limit_s=limit_s,
            is_refusing=device.is_connected and lasts and _all_bad(device),
        )

    @property
    def silence(self) -> float:
        """How long it has not answered, in shares of its limit."""
        return 0.0 if self.is_refusing else self.silent_s / self.limit_s

    @property
    def is_first_try(self) -> bool:
        return self.device.last_connect_time is None and self.device.connection_errors == 0

    def figures(self) -> dict[str, object]:
        return {
            "device": self.device.device_id,
            "endpoint": f"{self.device.device_ip}:{self.device.device_port}",
            "silent_s": round(self.silent_s),
            "limit_s": round(self.limit_s),
            "error": self.device.last_error or "?",
        }


def data_flow(seen: Observation, limits: HealthCheckConfig) -> HealthCheckResult:
    """Do good values arrive, and as many as configured?"""
    kind = HealthCheckType.DATA_FLOW
    beat = seen.heartbeat
    if beat is None or not _heart_beats(seen, limits):
        return _without_report(kind, seen, limits)
    connected = [device for device in beat.connections if device.is_connected]
    if not connected:
        return _unknown(kind, "data.not_connected")
    age_s = seen.data_age_s
    if age_s is None:
        age_s = _age_s(seen, beat.last_data_time or beat.started_at)
    limit_s = _patience_s(limits.data_timeout, beat.shortest_interval_s)
    rate, expected = beat.samples_per_s, beat.expected_samples_per_s
    figures: dict[str, object] = {
        "age_s": round(age_s),
        "rate": round(rate, 1),
        "expected": round(expected, 1),
        "limit_s": round(limit_s),
    }
    if age_s > limit_s:
        all_bad = all(map(_all_bad, connected))
        code, advice = _ALL_BAD if all_bad else _STALE
        return _critical(kind, code, *advice, **figures)
    if age_s > max(_LATE_INTERVALS * beat.shortest_interval_s, 5.0):
        return _warning(kind, "data.late", "check_device", **figures)
    if not _rate_is_meaningful(seen, beat) or rate >= _DATA_RATE_WARNING * expected:
        return _moving(connected, figures)
    too_low = _critical if rate < _DATA_RATE_CRITICAL * expected else _warning
    return too_low(kind, "data.rate_low", "check_points", **figures)


def _without_report(
    kind: HealthCheckType, seen: Observation, limits: HealthCheckConfig
) -> HealthCheckResult:
    """A collector that has only just started has nothing to report; any other should."""
    if not seen.reports_readable:
        return _unknown(kind, "report.not_readable", "install_plugin")
    if _is_starting(seen, limits):
        return _warning(kind, "report.starting")
    return _unknown(kind, "report.missing")


def _moving(connected: Sequence[ConnectionStatus], figures: dict[str, object]) -> HealthCheckResult:
    """Values come; do they also change where they should?"""
    kind = HealthCheckType.DATA_FLOW
    still = next((device for device in connected if device.frozen_points), None)
    if still is None:
        return _healthy(kind, "data.ok", **figures)
    told = {"device": still.device_id, "points": still.frozen_points}
    return _warning(kind, "data.frozen", "check_device", **figures, **told)


def _all_bad(device: ConnectionStatus) -> bool:
    """Tell whether the device was asked for every point and gave none of them."""
    return 0 < device.points == device.bad_points


def _age_s(seen: Observation, at: datetime) -> float:
    return max(0.0, (seen.taken_at - at).total_seconds())


def _patience_s(timeout_s: float, interval_s: float) -> float:
    """Whoever is asked only every ten minutes must not be called silent after one."""
    return max(timeout_s, _LATE_INTERVALS * interval_s)


def _rate_is_meaningful(seen: Observation, beat: Heartbeat) -> bool:
    if beat.longest_interval_s > _RATE_WINDOW_S / _LATE_INTERVALS:
        return False  # The average over 10 s says nothing about readings that rare.
    settled = seen.taken_at - timedelta(seconds=_RATE_WINDOW_S)
    return beat.started_at < settled and all(
        device.last_connect_time is not None and device.last_connect_time < settled
        for device in beat.connections
        if device.is_connected
    )


def resource_usage(seen: Observation, limits: HealthCheckConfig) -> HealthCheckResult:
    """Does the process stay within its share of the machine?"""
    kind = HealthCheckType.RESOURCE_USAGE
    usage = seen.usage
    if usage is None:
        code = "resources.no_process" if seen.reports_readable else "report.not_readable"
        return _unknown(kind, code)
    if usage.cpu_percent is None and usage.memory_mb <= limits.memory_threshold:
        return _healthy(kind, "resources.memory_ok", memory_mb=round(usage.memory_mb))
    figures: dict[str, object] = {
        "cpu_percent": round(usage.cpu_percent or 0.0),
        "memory_mb": round(usage.memory_mb),
        "cpu_limit": round(limits.cpu_threshold),
        "memory_limit": round(limits.memory_threshold),
    }
    if usage.memory_mb > 1.5 * limits.memory_threshold:
        return _critical(kind, "resources.memory", "restart", **figures)
    if usage.memory_mb > limits.memory_threshold:
        return _warning(kind, "resources.memory", "restart", **figures)
    if (usage.cpu_percent or 0.0) > limits.cpu_threshold:
        return _warning(kind, "resources.cpu", "lengthen_interval", **figures)
    return _healthy(kind, "resources.ok", **figures)


def log_errors(seen: Observation, limits: HealthCheckConfig) -> HealthCheckResult:
    """Does the log complain? Advisory: errors alone never make a process critical."""
    kind = HealthCheckType.LOG_ERRORS
    if seen.errors_5min is None:
        return _unknown(kind, "log.unreadable" if seen.reports_readable else "report.not_readable")
    if seen.errors_5min >= limits.log_errors_warning:
        return _warning(kind, "log.errors", "read_log", count=seen.errors_5min)
    return _healthy(kind, "log.ok", count=seen.errors_5min)


CHECKS: tuple[Callable[[Observation, HealthCheckConfig], HealthCheckResult], ...] = (
    process_alive,
    connection,
    data_flow,
    resource_usage,
    log_errors,
)


def _is_starting(seen: Observation, limits: HealthCheckConfig) -> bool:
    """Tell whether the process is too young to have reported."""
    has_process = seen.info is not None and seen.info.pid is not None
    young = (seen.uptime_s or 0.0) <= limits.startup_grace and seen.blind_reason is None
    return has_process and seen.heartbeat_age_s is None and young


def _heart_beats(seen: Observation, limits: HealthCheckConfig) -> bool:
    """Tell whether the collector reports; also while supervisord itself cannot be asked."""
    if seen.heartbeat_age_s is None or seen.heartbeat_age_s > limits.heartbeat_timeout:
        return False
    return not seen.supervisor_reachable or (seen.info is not None and seen.info.pid is not None)


def _healthy(kind: HealthCheckType, code: str, **params: object) -> HealthCheckResult:
    return HealthCheckResult(check_type=kind, status=HealthStatus.HEALTHY, code=code, params=params)


def _warning(
    kind: HealthCheckType, code: str, *recommendations: str, **params: object
) -> HealthCheckResult:
    return _abnormal(kind, HealthStatus.WARNING, code, recommendations, params)


def _critical(
    kind: HealthCheckType, code: str, *recommendations: str, **params: object
) -> HealthCheckResult:
    return _abnormal(kind, HealthStatus.CRITICAL, code, recommendations, params)


def _unknown(
    kind: HealthCheckType, code: str, *recommendations: str, **params: object
) -> HealthCheckResult:
    return _abnormal(kind, HealthStatus.UNKNOWN, code, recommendations, params)


def _abnormal(
    kind: HealthCheckType,
    status: HealthStatus,
    code: str,
    recommendations: tuple[str, ...],
    params: dict[str, object],
) -> HealthCheckResult:
    return HealthCheckResult(
        check_type=kind, status=status, code=code, params=params, recommendations=recommendations
    )
