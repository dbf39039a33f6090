"""When to read: an absolute grid that does not drift, and no burst after a delay. Pure."""

import math
from dataclasses import dataclass

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_LATE_RATIO = 0.1
_SPACING_RATIO = 0.5


def phase_s(place: int, interval_s: float) -> float:
    """Return when in an interval the device at a ``place`` among the others has its turn.

    Steps of the golden ratio leave no two devices close together, however many there are; of two
    hundred random phases, some would always come in bunches.
    """
    return place * _GOLDEN_RATIO % 1.0 * interval_s


@dataclass(slots=True)
class Schedule:
    """The cycles of one poll group: ``origin_s + k · interval_s`` for whole numbers ``k``.

    All times are seconds of one monotonic clock. Two cycles start at least half an interval
    apart, and a cycle that the one before delays past the middle of its interval is skipped: a
    slow device is read less often, never in a burst.

    Attributes:
        due_s: When the next cycle starts.
    """

    origin_s: float
    interval_s: float
    due_s: float = -math.inf
    _cycle: int | None = None

    def start_now(self, now_s: float) -> None:
        """Make the group due at once, as after a connect; the grid stays where it is."""
        self._cycle = None
        self.due_s = now_s

    def join(self, now_s: float) -> None:
        """Make the next place of the grid the next cycle."""
        self._cycle = math.ceil(self._cycles(now_s))
        self.due_s = self.origin_s + self._cycle * self.interval_s

    def is_late_by(self, late_s: float) -> bool:
        """Tell whether a cycle that starts so late is more than 10 % of its interval late."""
        return late_s > _LATE_RATIO * self.interval_s

    def due_after(self, now_s: float) -> float:
        """Return the first place of the grid after a moment."""
        return self.origin_s + (math.floor(self._cycles(now_s)) + 1) * self.interval_s

    def advance(self, started_s: float, ended_s: float) -> int:
        """Choose the next cycle after one that ran from ``started_s`` to ``ended_s``.

        Returns:
            How many cycles are left out because reading took too long.
        """
        spaced = math.ceil(self._cycles(started_s) + _SPACING_RATIO)
        in_time = math.ceil(self._cycles(ended_s) - _SPACING_RATIO)
        # A cycle right after a connect is none of the grid, so it has no successor to miss.
        successor = spaced if self._cycle is None else self._cycle + 1
        self._cycle = max(successor, spaced, in_time)
        self.due_s = self.origin_s + self._cycle * self.interval_s
        return self._cycle - successor

    def _cycles(self, at_s: float) -> float:
        return (at_s - self.origin_s) / self.interval_s
