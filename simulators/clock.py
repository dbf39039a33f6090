"""The two times of a simulator: of the wall, for the truth log, and since start, for the waves."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment.

    Attributes:
        t_ns: ns since the Unix epoch, UTC.
        t_s: Seconds since the simulator started, monotonic.
    """

    t_ns: int
    t_s: float


@dataclass(frozen=True, slots=True)
class Clock:
    """Started when made."""

    _started_ns: int = field(default_factory=time.monotonic_ns)

    def now(self) -> Instant:
        return Instant(time.time_ns(), (time.monotonic_ns() - self._started_ns) / 1e9)
