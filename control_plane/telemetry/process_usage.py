"""What the operating system says about processes, through psutil."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil

from control_plane.domain.process import ProcessUsage
from control_plane.telemetry.cpu_window import CpuWindow

_MB = 1_000_000
_FROZEN = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_TRACING_STOP)


@dataclass(slots=True)
class _Watched:
    handle: psutil.Process
    created_at: datetime
    born_mono: float
    cpu: CpuWindow = field(default_factory=CpuWindow)


class ProcessUsageSampler:
    """Keeps one psutil handle a process, because CPU per cent is a difference between readings.

    Owned by one thread.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._watched: dict[int, _Watched] = {}

    def sample(self, pid: int) -> ProcessUsage | None:
        """Return the reading, or ``None`` if the process has gone or may not be read."""
        try:
            watched = self._watched.get(pid)
            if watched is None or not watched.handle.is_running():
                # A pid that was used again is another process: its CPU time starts anew.
                watched = self._watched[pid] = self._watch(psutil.Process(pid))
            with watched.handle.oneshot():
                times = watched.handle.cpu_times()
                cpu_s = float(times.user + times.system)
                return ProcessUsage(
                    pid=pid,
                    created_at=watched.created_at,
                    cpu_percent=watched.cpu.percent(self._monotonic(), cpu_s),
                    memory_mb=round(watched.handle.memory_info().rss / _MB, 1),
                    age_s=max(0.0, self._monotonic() - watched.born_mono),
                    is_frozen=watched.handle.status() in _FROZEN,
                )
        except psutil.Error:
            self._watched.pop(pid, None)
            return None

    def _watch(self, handle: psutil.Process) -> _Watched:
        # psutil adds the boot time in whole seconds, so its start is up to a second early. That
        # is before the command that started the process. What both terms share falls out here.
        booted_s = handle.create_time() - psutil.boot_time()
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - booted_s
        created_at = datetime.fromtimestamp(time.time() - age_s, UTC)
        return _Watched(handle, created_at, self._monotonic() - age_s)

    def forget_all_but(self, pids: set[int]) -> None:
        """Drop the handles of processes that are not in ``pids``."""
        self._watched = {pid: kept for pid, kept in self._watched.items() if pid in pids}
