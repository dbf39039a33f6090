"""Times as the exported files show them: exact in UTC, and by the clock of a time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND_NS = 10**9
_OFFSET_STEP_S = 900
"""Offsets of time zones change at multiples of a quarter of an hour only."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeTexts:
    """Formats many times that lie close together; for one thread."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._second = self._step = -1
        self._utc = self._local = ""
        self._offset = timedelta(0)

    def utc(self, t_ns: int) -> str:
        """Return ``2026-01-31T08:00:00.123Z``, with more digits where the time has more."""
        second, rest_ns = divmod(t_ns, _SECOND_NS)
        self._know(second)
        return f"{self._utc}.{_digits(rest_ns)}Z"

    def local(self, t_ns: int) -> str:
        """Return ``2026-01-31 16:00:00.123``, which spreadsheets take for a time."""
        second, rest_ns = divmod(t_ns, _SECOND_NS)
        self._know(second)
        return f"{self._local}.{rest_ns // 1_000_000:03}"

    def wall_clock(self, t_ns: int) -> datetime:
        """Return the naive time that a clock of the zone showed."""
        second, rest_ns = divmod(t_ns, _SECOND_NS)
        self._know(second)
        at = _EPOCH + self._offset + timedelta(seconds=second, milliseconds=rest_ns // 1_000_000)
        return at.replace(tzinfo=None)

    def _know(self, second: int) -> None:
        if second == self._second:
            return
        at = _EPOCH + timedelta(seconds=second)
        if second // _OFFSET_STEP_S != self._step:
            self._step = second // _OFFSET_STEP_S
            self._offset = at.astimezone(self._zone).utcoffset() or timedelta(0)
        self._second = second
        self._utc = f"{at:%Y-%m-%dT%H:%M:%S}"
        self._local = f"{at + self._offset:%Y-%m-%d %H:%M:%S}"


def _digits(rest_ns: int) -> str:
    if rest_ns % 1_000_000 == 0:
        return f"{rest_ns // 1_000_000:03}"
    return f"{rest_ns // 1000:06}" if rest_ns % 1000 == 0 else f"{rest_ns:09}"
