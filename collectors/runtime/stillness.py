"""Values that never change although they are read: a gateway that repeats what it once knew."""

from collections.abc import Sequence

from collectors.contract.points import Value


class Stillness:
    """Watches the values of one group; times are monotonic seconds."""

    def __init__(self, limit_s: float, now: float) -> None:
        self._limit_s = limit_s
        self._changed = now
        self._last: dict[str, Value] = {}

    def note(self, points: Sequence[str], values: Sequence[Value | None], now: float) -> None:
        """Take a reading; a point without a usable value says nothing."""
        last = self._last
        for point, value in zip(points, values, strict=True):
            if value is not None and last.get(point) != value:
                last[point] = value
                self._changed = now

    def forget(self, now: float) -> None:
        """Begin anew, as after an outage."""
        self._last.clear()
        self._changed = now

    def is_frozen(self, now: float) -> bool:
        """Tell whether nothing has changed for the whole limit."""
        return now - self._changed >= self._limit_s
