"""What the operating system says about processes, through psutil."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil

from control_plane.domain.process import ProcessUsage

_MB = 1_000_000
_WINDOW_S = 10.0
"""The kernel counts CPU time in ticks of 10 ms: over this window they make 0.1 per cent."""
_SHORTEST_S = 0.9
_FROZEN = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_TRACING_STOP)


@dataclass(slots=True)
class _Watched:
    """A handle, and (monotonic time, CPU seconds) of the readings in the window, oldest first."""

    handle: psutil.Process
    readings: deque[tuple[float, float]] = field(default_factory=deque)


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
                watched = self._watched[pid] = _Watched(psutil.Process(pid))
            with watched.handle.oneshot():
                return ProcessUsage(
                    pid=pid,
                    created_at=datetime.fromtimestamp(watched.handle.create_time(), UTC),
                    cpu_percent=self._cpu_percent(watched),
                    memory_mb=round(watched.handle.memory_info().rss / _MB, 1),
                    is_frozen=watched.handle.status() in _FROZEN,
                )
        except psutil.Error:
            self._watched.pop(pid, None)
            return None

    def forget_all_but(self, pids: set[int]) -> None:
        """Drop the handles of processes that are not in ``pids``."""
        self._watched = {pid: kept for pid, kept in self._watched.items() if pid in pids}

    def _cpu_percent(self, watched: _Watched) -> float | None:
        times = watched.handle.cpu_times()
        now, cpu_s = self._monotonic(), float(times.user + times.system)
        while len(watched.readings) > 1 and watched.readings[1][0] <= now - _WINDOW_S:
            watched.readings.popleft()
        watched.readings.append((now, cpu_s))
        elapsed_s = now - watched.readings[0][0]
        if elapsed_s < _SHORTEST_S:
            return None
        return round(100.0 * (cpu_s - watched.readings[0][1]) / elapsed_s, 1)
