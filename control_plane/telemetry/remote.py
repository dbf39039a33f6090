"""What the plugin of another node tells of the programs there."""

import math
from collections.abc import Callable, Iterable
from datetime import datetime

from collectors.contract.heartbeat import HeartbeatError, parse_heartbeat
from control_plane.domain.logs import LogChunk
from control_plane.domain.node import NodeStats, ProgramStats
from control_plane.domain.process import ProcessUsage
from control_plane.telemetry.cpu_window import CpuWindow
from control_plane.telemetry.heartbeats import HeartbeatAges, SeenHeartbeat

_MB = 1_000_000
_EVERY_S = 0.9
_FROZEN = frozenset("TtZ")
"""Letters of proc(5) for stopped by a signal or a debugger, and for a zombie."""

FetchStats = Callable[[], NodeStats | None]
"""Asks the node; ``None`` where supervisord runs without the plugin."""


class RemoteTelemetry:
    """Owned by one thread; asks at most once a second."""

    disk_full = False
    """Nobody tells."""

    def __init__(self, fetch: FetchStats, monotonic: Callable[[], float]) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._ages = HeartbeatAges(monotonic)
        self._stats: NodeStats | None = None
        self._fetched_mono = -math.inf
        self._cpu: dict[tuple[str, int], CpuWindow] = {}
        self._usage: dict[str, ProcessUsage] = {}

    @property
    def reports_readable(self) -> bool:
        """Whether heartbeats of this node can be read at all."""
        return self._stats is not None

    def refresh(self, pids: Iterable[int]) -> None:
        """Ask for new figures; a process that is not in the old ones makes it urgent.

        Raises:
            SupervisorUnreachable, SupervisorFault.
        """
        now = self._monotonic()
        known = {program.pid for program in self._stats.programs.values()} if self._stats else set()
        if now - self._fetched_mono < _EVERY_S and known.issuperset(pids):
            return
        self._stats = self._fetch()
        self._fetched_mono = now
        programs = self._stats.programs if self._stats else {}
        running = {(name, each.pid): each for name, each in programs.items() if each.pid}
        self._cpu = {key: self._cpu.get(key) or CpuWindow() for key in running}
        self._usage = {
            name: usage
            for (name, pid), each in running.items()
            if (usage := _usage(each, self._cpu[name, pid], now))
        }

    def lost_sight(self) -> None:
        """What was told before says nothing about now."""
        self._stats = None
        self._usage = {}
        self._fetched_mono = -math.inf

    def supervisord_started_at(self, pid: int) -> datetime | None:
        """Return the start of the node's supervisord, ``None`` where nobody tells."""
        del pid
        return self._stats.supervisord_started_at if self._stats else None

    def usage(self, name: str, pid: int | None) -> ProcessUsage | None:
        """Return the newest reading of a process."""
        usage = self._usage.get(name)
        return usage if usage is not None and usage.pid == pid else None

    def heartbeat(self, name: str, pid: int | None) -> SeenHeartbeat | None:
        """Return the newest heartbeat of process ``pid``."""
        program = self._stats.programs.get(name) if self._stats else None
        if program is None or program.heartbeat is None:
            return None
        try:
            beat = parse_heartbeat(program.heartbeat, name)
        except HeartbeatError:
            return None
        seen = SeenHeartbeat(beat=beat, age_s=program.heartbeat_age_s)
        return self._ages.aged(name, pid, seen)

    def unchanged(self, name: str, inode: int, offset: int) -> LogChunk | None:
        """Return the answer to reading a log that has not grown, without asking for it."""
        program = self._stats.programs.get(name) if self._stats else None
        if program is None or program.log != (inode, offset):
            return None
        return LogChunk(inode=inode, offset=offset, size=offset, data=b"")


def _usage(program: ProgramStats, cpu: CpuWindow, now: float) -> ProcessUsage | None:
    if program.started_at is None or program.pid is None:
        return None
    return ProcessUsage(
        pid=program.pid,
        created_at=program.started_at,
        cpu_percent=cpu.percent(now, program.cpu_s),
        memory_mb=round(program.rss_bytes / _MB, 1),
        is_frozen=program.run_state in _FROZEN,
    )
