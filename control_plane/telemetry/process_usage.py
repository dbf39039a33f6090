"""What the operating system says about processes, through psutil."""

from datetime import UTC, datetime

import psutil

from control_plane.domain.process import ProcessUsage

_MB = 1_000_000
_FROZEN = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_TRACING_STOP)


class ProcessUsageSampler:
    """Keeps one psutil handle a process, because CPU per cent is a difference between readings.

    Owned by one thread.
    """

    def __init__(self) -> None:
        self._handles: dict[int, psutil.Process] = {}

    def sample(self, pid: int) -> ProcessUsage | None:
        """Return the reading, or ``None`` if the process has gone or may not be read."""
        try:
            handle = self._handles.get(pid)
            first = handle is None or not handle.is_running()
            if handle is None or first:
                # A pid that was used again is another process: its CPU time starts anew.
                handle = self._handles[pid] = psutil.Process(pid)
            with handle.oneshot():
                cpu_percent = handle.cpu_percent()
                return ProcessUsage(
                    pid=pid,
                    created_at=datetime.fromtimestamp(handle.create_time(), UTC),
                    cpu_percent=None if first else cpu_percent,
                    memory_mb=round(handle.memory_info().rss / _MB, 1),
                    is_frozen=handle.status() in _FROZEN,
                )
        except psutil.Error:
            self._handles.pop(pid, None)
            return None

    def forget_all_but(self, pids: set[int]) -> None:
        """Drop the handles of processes that are not in ``pids``."""
        self._handles = {pid: handle for pid, handle in self._handles.items() if pid in pids}
