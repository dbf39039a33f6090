"""The newest heartbeat of each collector, and how old it is."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from collectors.contract.heartbeat import (
    Heartbeat,
    HeartbeatError,
    heartbeat_path,
    read_heartbeat,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenHeartbeat:
    """A heartbeat and ages in seconds.

    Attributes:
        age_s: Of the heartbeat.
        data_age_s: Of the newest good value; ``None`` where only the heartbeat's own times tell.
        silent_s: By device, since its newest good answer; empty as before.
    """

    beat: Heartbeat
    age_s: float
    data_age_s: float | None = None
    silent_s: Mapping[str, float] = field(default_factory=dict)


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


_DATA = ""
"""Stands for the newest good value where others are device ids."""


@dataclass(slots=True)
class _Known:
    """The newest beat of one collector and what it told, with our times of it.

    Attributes:
        name: pid and sequence of the beat.
        young_mono: When it was young.
        moments: The times that it told, by device, and when they were by our clock.
    """

    name: tuple[int, int]
    young_mono: float
    moments: dict[str, tuple[datetime, float]] = field(default_factory=dict)

    def take(self, beat: Heartbeat, before: "_Known | None") -> None:
        """Translate the times of a new beat; both clocks may have been set since the one before."""
        told = {_DATA: beat.last_data_time or beat.started_at}
        for link in beat.connections:
            told[link.device_id] = link.last_good_at or beat.started_at
        for key, at in told.items():
            known = before.moments.get(key) if before else None
            if known is not None and known[0] == at:
                self.moments[key] = known
                continue
            at_mono = self.young_mono - max(0.0, (beat.sent_at - at).total_seconds())
            if known is not None and before is not None:
                at_mono = max(at_mono, before.young_mono)  # It was not there before.
            self.moments[key] = (at, at_mono)


class HeartbeatAges:
    """Ages heartbeats by the monotonic clock instead of the wall clock. Owned by one thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._newest: dict[str, _Known] = {}

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
        if known is None or known.name != name:
            # Only the first beat has to be believed what its file says: it may be an old one.
            before, young_mono = known, now if known else now - seen.age_s
            known = self._newest[collector] = _Known(name, young_mono)
            known.take(seen.beat, before)
        ages = {key: max(0.0, now - at_mono) for key, (_, at_mono) in known.moments.items()}
        return SeenHeartbeat(
            beat=seen.beat,
            age_s=max(0.0, now - known.young_mono),
            data_age_s=ages.pop(_DATA),
            silent_s=ages,
        )
