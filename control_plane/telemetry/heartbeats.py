"""The newest heartbeat of each collector, and how old it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collectors.contract.heartbeat import (
    Heartbeat,
    HeartbeatError,
    heartbeat_path,
    read_heartbeat,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenHeartbeat:
    """A heartbeat and its age in seconds."""

    beat: Heartbeat
    age_s: float


def latest_heartbeat(home: Path, collector: str) -> SeenHeartbeat | None:
    """Return the newest heartbeat on this machine, of whatever process.

    A file that cannot be understood counts as no heartbeat: the check then says that the collector
    does not report.
    """
    path = heartbeat_path(home, collector)
    try:
        beat = read_heartbeat(path)
        if beat is None:
            return None
        age_s = max(0.0, time.time() - path.stat().st_mtime)
    except (HeartbeatError, OSError):
        return None
    return SeenHeartbeat(beat=beat, age_s=age_s)


class HeartbeatAges:
    """Ages heartbeats by the monotonic clock instead of the wall clock. Owned by one thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # (pid, sequence) of the newest beat of each collector, and when it was young.
        self._newest: dict[str, tuple[tuple[int, int], float]] = {}

    def aged(
        self, collector: str, pid: int | None, seen: SeenHeartbeat | None
    ) -> SeenHeartbeat | None:
        """Return ``seen`` with its age by our clock; ``None`` unless it is of process ``pid``.

        Without ``pid`` the last heartbeat of any process is good enough.
        """
        if seen is None or (pid is not None and seen.beat.pid != pid):
            return None
        now, name = self._monotonic(), (seen.beat.pid, seen.beat.sequence)
        known = self._newest.get(collector)
        if known is None:
            # Only the first beat has to be believed what its file says: it may be an old one.
            known = (name, now - seen.age_s)
        elif known[0] != name:
            known = (name, now)
        self._newest[collector] = known
        return SeenHeartbeat(beat=seen.beat, age_s=max(0.0, now - known[1]))
