"""Counts the error lines of each process over the last five minutes and the last day."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from control_plane.domain.logs import LogEntry, LogFilter, LogLevel
from control_plane.logs.follower import Cursor
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.plain_formats import joined
from control_plane.logs.processor import LogBatch
from control_plane.logs.reader import LogReader

_DAY = timedelta(hours=24)
_FIRST_LOOK_BYTES = 2_000_000
_LINES_A_READ = 10_000
_READS_A_LOOK = 4
_MAX_KEPT = 100_000
_LOOK_BACK_LINES = 100
"""So far back the time of a line without one is looked for."""
_ERRORS = LineFilter(LogFilter(level=LogLevel.ERROR))


@dataclass(slots=True)
class _State:
    cursor: Cursor | None = None
    # One entry for each error line, oldest first.
    times: deque[datetime] = field(default_factory=lambda: deque(maxlen=_MAX_KEPT))
    last_error: LogEntry | None = None
    is_readable: bool = False
    # Whether everything was read at the last look, so that what comes now was just written.
    has_caught_up: bool = False
    last_time: datetime | None = None


class ErrorCounter:
    """Reads what was appended to the logs since the last look. Owned by one thread.

    The first look begins with at most the last 2 MB of the file in use; of a log that is larger,
    and of what was rotated away before, the errors are counted from there on.
    """

    def __init__(self, log_of: Callable[[str], LogReader]) -> None:
        self._log_of = log_of
        self._states: dict[str, _State] = {}

    def look(self, process: str, now: datetime) -> None:
        """Read the lines that ``process`` wrote since the last look; a backlog in portions."""
        reader = self._log_of(process)
        state = self._states.setdefault(process, _State())
        if state.cursor is None:
            state.cursor = reader.before_end(_FIRST_LOOK_BYTES)
        state.is_readable = state.cursor is not None
        for _ in range(_READS_A_LOOK):
            if state.cursor is None:
                break
            read = reader.after(state.cursor, _LINES_A_READ)
            state.is_readable = read.readable
            if not read.readable:
                break
            state.has_caught_up = state.has_caught_up and not read.reset
            untimed = now if state.has_caught_up else reader.written_at(now)
            _take(state, LogBatch(process, joined(read.lines)), untimed)
            if read.cursor == state.cursor:
                state.has_caught_up = True
                break
            state.cursor = read.cursor
        else:
            state.has_caught_up = False
        while state.times and state.times[0] < now - _DAY:
            state.times.popleft()

    def count(self, process: str, now: datetime, window: timedelta = _DAY) -> int | None:
        """Return the error lines of the last ``window``, at most a day.

        ``None`` if the log did not exist or could not be read at the last look.
        """
        state = self._states.get(process, _State())
        return _since(state, now - window) if state.is_readable else None

    def count_day(self, process: str, now: datetime) -> int:
        """Return the error lines of the last day that were read, even if the log is gone now."""
        return _since(self._states.get(process, _State()), now - _DAY)

    def last_error(self, process: str) -> LogEntry | None:
        """Return the newest error line since the control plane started or the log began."""
        return self._states.get(process, _State()).last_error


def _take(state: _State, batch: LogBatch, untimed: datetime) -> None:
    """Count errors; one without a time is as old as the timed line before it, if that is old.

    Of a flood only those lines are taken apart that may be errors.
    """
    seen = 0
    for number in batch.candidates(_ERRORS):
        entry = batch.entry(number)
        state.last_time = entry.timestamp or _newest_time(batch, seen, number) or state.last_time
        seen = number
        if entry.level.rank >= LogLevel.ERROR.rank:
            before = untimed if state.has_caught_up else state.last_time or untimed
            state.times.append(entry.timestamp or before)
            state.last_error = entry
    state.last_time = _newest_time(batch, seen, len(batch)) or state.last_time


def _newest_time(batch: LogBatch, begin: int, end: int) -> datetime | None:
    """Return the time of the last timed line from ``begin`` on and before ``end``."""
    for number in range(end - 1, max(begin, end - _LOOK_BACK_LINES) - 1, -1):
        at = batch.entry(number).timestamp
        if at is not None:
            return at
    return None


def _since(state: _State, start: datetime) -> int:
    return sum(at >= start for at in state.times)
