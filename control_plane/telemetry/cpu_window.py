"""The share of a core that a process took lately."""

from collections import deque
from dataclasses import dataclass, field

_WINDOW_S = 10.0
"""The kernel counts CPU time in ticks of 10 ms: over this window they make 0.1 per cent."""
_SHORTEST_S = 0.9


@dataclass(slots=True)
class CpuWindow:
    """Readings of one process over the last ten seconds."""

    # (monotonic time, CPU seconds), oldest first.
    _readings: deque[tuple[float, float]] = field(default_factory=deque)

    def percent(self, now: float, cpu_s: float) -> float | None:
        """Take a reading and return per cent of one core; ``None`` in the first second."""
        readings = self._readings
        while len(readings) > 1 and readings[1][0] <= now - _WINDOW_S:
            readings.popleft()
        readings.append((now, cpu_s))
        elapsed_s = now - readings[0][0]
        if elapsed_s < _SHORTEST_S:
            return None
        return round(100.0 * (cpu_s - readings[0][1]) / elapsed_s, 1)
