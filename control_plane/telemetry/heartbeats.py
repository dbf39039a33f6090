"""Reads the heartbeat files of collectors on this machine."""

import time
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
    """A heartbeat and the age of its file in seconds."""

    beat: Heartbeat
    age_s: float


def latest_heartbeat(home: Path, collector: str, pid: int | None) -> SeenHeartbeat | None:
    """Return the newest heartbeat of process ``pid``; an older process's says nothing about it.

    Without ``pid`` the last heartbeat of any process is returned. A file that cannot be understood
    counts as no heartbeat: the check then says that the collector does not report.
    """
    path = heartbeat_path(home, collector)
    try:
        beat = read_heartbeat(path)
        if beat is None or (pid is not None and beat.pid != pid):
            return None
        # Both times come from this machine's clock, at the moment of writing and now.
        age_s = max(0.0, time.time() - path.stat().st_mtime)
    except (HeartbeatError, OSError):
        return None
    return SeenHeartbeat(beat=beat, age_s=age_s)
