"""What this machine tells of its programs: psutil and files."""

import math
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from control_plane.domain.process import ProcessUsage
from control_plane.telemetry.heartbeats import HeartbeatAges, SeenHeartbeat, latest_heartbeat
from control_plane.telemetry.host_usage import is_disk_full
from control_plane.telemetry.process_usage import ProcessUsageSampler

_RECOVERS_S = 5.0
_USAGE_EVERY_S = 1.0
"""CPU shares over shorter times than this are mostly noise."""


class LocalTelemetry:
    """Owned by one thread, because CPU readings are differences between looks."""

    reports_readable = True
    disk_full = False

    def __init__(self, home: Path, monotonic: Callable[[], float]) -> None:
        self._home = home
        self._monotonic = monotonic
        self._ages = HeartbeatAges(monotonic)
        self._sampler = ProcessUsageSampler(monotonic)
        self._usage: dict[int, tuple[float, ProcessUsage | None]] = {}
        self._full_mono = -math.inf

    def refresh(self, pids: Iterable[int]) -> None:
        """Forget all processes but these."""
        self._look_at_disk()
        present = set(pids)
        self._usage = {pid: kept for pid, kept in self._usage.items() if pid in present}
        self._sampler.forget_all_but(present)

    def _look_at_disk(self) -> None:
        now = self._monotonic()
        if is_disk_full(self._home):
            self._full_mono = now
        # Whoever could not write needs a moment before it has written again.
        self.disk_full = now - self._full_mono < _RECOVERS_S

    def lost_sight(self) -> None:
        """Kernel and files go on telling."""

    def supervisord_started_at(self, pid: int) -> datetime | None:
        """Return the start of supervisord, whose process this is."""
        usage = self._sampler.sample(pid)
        return usage.created_at if usage else None

    def usage(self, name: str, pid: int | None) -> ProcessUsage | None:
        """Return the newest reading of a process, a second old at most."""
        del name
        if pid is None:
            return None
        now = self._monotonic()
        known = self._usage.get(pid)
        if known is None or now - known[0] >= _USAGE_EVERY_S:
            known = self._usage[pid] = (now, self._sampler.sample(pid))
        return known[1]

    def heartbeat(self, name: str, pid: int | None) -> SeenHeartbeat | None:
        """Return the newest heartbeat of process ``pid``."""
        return self._ages.aged(name, pid, latest_heartbeat(self._home, name))
