"""Counts the error lines of each process over the last five minutes and the last day."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from control_plane.domain.logs import LogEntry, LogLevel
from control_plane.logs.follower import Cursor, read_after
from control_plane.logs.parser import parse_line

_DAY = timedelta(hours=24)
_LINES_A_ROUND = 5000
_MAX_KEPT = 100_000


@dataclass(slots=True)
class _State:
    cursor: Cursor | None = None
    # One entry for each error line, oldest first.
    times: deque[datetime] = field(default_factory=lambda: deque(maxlen=_MAX_KEPT))
    last_error: LogEntry | None = None


class ErrorCounter:
    """Reads what was appended to the logs since the last look. Owned by one thread."""

    def __init__(self, log_file: Callable[[str], Path]) -> None:
        self._log_file = log_file
        self._states: dict[str, _State] = {}

    def look(self, process: str, now: datetime) -> None:
        """Read the lines that ``process`` wrote since the last look."""
        path = self._log_file(process)
        state = self._states.setdefault(process, _State())
        if state.cursor is None:
            state.cursor = _beginning(path)
        while state.cursor is not None:
            read = read_after(path, state.cursor, _LINES_A_ROUND)
            for line in read.lines:
                entry = parse_line(line, process)
                if entry.level in (LogLevel.ERROR, LogLevel.CRITICAL):
                    state.times.append(entry.timestamp or now)
                    state.last_error = entry
            state.cursor = read.cursor
            if len(read.lines) < _LINES_A_ROUND:
                break
        while state.times and state.times[0] < now - _DAY:
            state.times.popleft()

    def count(self, process: str, now: datetime, window: timedelta = _DAY) -> int:
        """Return the error lines of the last ``window``, at most a day."""
        times = self._states.get(process, _State()).times
        return sum(at >= now - window for at in times)

    def last_error(self, process: str) -> LogEntry | None:
        """Return the newest error line since the control plane started or the log began."""
        return self._states.get(process, _State()).last_error


def _beginning(path: Path) -> Cursor | None:
    """Start with the file in use; what was rotated away before is not counted."""
    try:
        return Cursor(path.stat().st_ino, 0)
    except OSError:
        return None
