"""Values that describe one supervised process; names follow the design document."""

import enum
from dataclasses import dataclass
from datetime import datetime

from collectors.contract.heartbeat import ConnectionStatus as DeviceConnection
from control_plane.domain.health import ProcessHealth


class SupervisorState(enum.StrEnum):
    """supervisord's own process states (supervisor.states.ProcessStates)."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


class Desired(enum.StrEnum):
    """What operators want of a collector."""

    RUN = "run"
    STOP = "stop"


class ProcessState(enum.StrEnum):
    """The design document's states; UNKNOWN while supervisord does not answer."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    CRASHED = "CRASHED"
    STARTING = "STARTING"
    STOPPING = "STOPPING"
    UNKNOWN = "UNKNOWN"

    @classmethod
    def of(cls, state: SupervisorState, exit_status: int) -> "ProcessState":
        """Return what ``state`` means to a person; a clean exit is a stop, any other is a crash."""
        if state is SupervisorState.EXITED:
            return cls.STOPPED if exit_status == 0 else cls.CRASHED
        if state in (SupervisorState.BACKOFF, SupervisorState.FATAL):
            return cls.CRASHED
        return cls(state.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReason:
    """How a process ended, exactly; known only where supervisord runs with our plugin.

    Exactly one of ``code`` and ``signal`` is set.
    """

    pid: int
    code: int | None
    signal: str | None
    core_dumped: bool
    uptime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """What supervisord says about one program.

    Attributes:
        pid: ``None`` while no child exists.
        started_at, stopped_at: Resolution 1 s; ``None`` if never.
        exit_status: Of the last child; -1 after a signal.
        spawn_error: supervisord's words for a failed start.
        last_exit: End of the process before this one.
    """

    name: str
    state: SupervisorState
    pid: int | None
    started_at: datetime | None
    stopped_at: datetime | None
    exit_status: int
    spawn_error: str
    last_exit: ExitReason | None = None

    @property
    def status(self) -> ProcessState:
        return ProcessState.of(self.state, self.exit_status)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUsage:
    """What the operating system says about one process.

    Attributes:
        created_at: Start of this very process; with the pid it names one incarnation.
        cpu_percent: Share of one core over the last 10 s; ``None`` in the first second.
        is_frozen: Stopped by a signal or a zombie: it exists but does nothing.
        age_s: Since its start, by a clock that nobody sets; ``None`` leaves it to ``created_at``.
    """

    pid: int
    created_at: datetime
    cpu_percent: float | None
    memory_mb: float
    is_frozen: bool
    age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatus:
    """The worst device link of a collector, and how many are up."""

    device_ip: str
    device_port: int
    is_connected: bool
    last_connect_time: datetime | None
    connection_errors: int
    protocol_type: str
    devices_connected: int
    devices_total: int

    @classmethod
    def of(cls, devices: tuple[DeviceConnection, ...]) -> "ConnectionStatus | None":
        """Return the summary of ``devices``: disconnected ones first, then most errors first."""
        if not devices:
            return None
        worst = min(devices, key=lambda d: (d.is_connected, -d.connection_errors, d.device_id))
        return cls(
            device_ip=worst.device_ip,
            device_port=worst.device_port,
            is_connected=worst.is_connected,
            last_connect_time=worst.last_connect_time,
            connection_errors=sum(device.connection_errors for device in devices),
            protocol_type=worst.protocol_type,
            devices_connected=sum(device.is_connected for device in devices),
            devices_total=len(devices),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceMetrics:
    """One reading of what a collector costs and yields; goes out on topic ``performance``."""

    process_name: str
    timestamp: datetime
    cpu_percent: float | None
    memory_mb: float | None
    data_points_per_minute: float
    error_rate: float
    """Failed requests in 100, since the process started."""
    response_time_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """Everything the API and the panel show of one collector.

    Attributes:
        name: Qualified: ``press`` on this machine, ``press@line2`` on node ``line2``.
        type: ``modbus``, ``opcua`` or ``mitsubishi``.
        status: The design document's state; ``supervisor_state`` is supervisord's own.
        desired: ``stop`` when an operator stopped it: then it has no score and is no fault.
        cpu_percent: Of one core.
        restart_count: Starts that nobody asked for, in the last 24 h.
        data_collection_rate, expected_rate: Good samples a second, over 10 s and as configured.
        config_file, command: Empty on another node.
        config_revision, file_revision: What is in force, and what the file holds now.
        samples_total: Good samples since the process started.
        cycles_last_minute, skipped_cycles: Poll cycles done lately, and left out since its start.
        frequency_factor: Points are read so many times more slowly than configured.
        error_count_24h: ERROR and CRITICAL log lines of the last 24 h.
    """

    name: str
    node: str
    display_name: str
    type: str
    status: ProcessState
    supervisor_state: SupervisorState
    desired: Desired
    pid: int | None
    cpu_percent: float | None
    memory_mb: float | None
    start_time: datetime | None
    uptime_seconds: float | None
    last_heartbeat: datetime | None
    restart_count: int
    last_error: str | None
    connection_status: ConnectionStatus | None
    data_collection_rate: float
    expected_rate: float
    last_data_time: datetime | None
    samples_total: int
    shortest_interval_s: float
    cycles_last_minute: int
    skipped_cycles: int
    frequency_factor: float
    health_score: float | None
    error_count_24h: int
    config_file: str
    config_revision: str | None
    file_revision: str | None
    command: tuple[str, ...]
    observed_at: datetime
    health: ProcessHealth
    devices: tuple[DeviceConnection, ...]
