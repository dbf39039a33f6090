"""From raw lines to entries without secrets: redact, join tracebacks, parse, filter."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from control_plane.domain.logs import ErrorInfo, LogEntry, LogFilter
from control_plane.logs.error_info import error_info_of
from control_plane.logs.line_filter import LineFilter, filter_entries
from control_plane.logs.parser import parse_line
from control_plane.logs.plain_formats import joined
from control_plane.logs.redaction import Redactor


class LogProcessor:
    """The pipeline of the design document, whose names its methods have. Usable by any thread."""

    def __init__(self, redactor: Callable[[], Redactor]) -> None:
        self.redactor = redactor

    def parse_log_entry(self, log_line: bytes, process_name: str) -> LogEntry:
        """Return a line, or several that belong together, as an entry; never raises."""
        return parse_line(self.redactor().line(log_line), process_name)

    def extract_error_info(self, log_entry: LogEntry) -> ErrorInfo | None:
        """Return what an error says, ``None`` for lower levels."""
        return error_info_of(log_entry)

    def filter_logs(self, logs: Iterable[LogEntry], filters: LogFilter) -> list[LogEntry]:
        """Return the wanted entries, in their order.

        Raises:
            BadRequest: the pattern is none, or too long.
        """
        return filter_entries(logs, filters)

    def batch(self, process_name: str, lines: tuple[bytes, ...]) -> "LogBatch":
        """Return lines that were read at once, to be looked at by any number of filters."""
        return LogBatch(process_name, joined(self.redactor().lines(lines)))


class LogBatch:
    """Entries of one process without their secrets; each is parsed once, and only if wanted."""

    def __init__(self, process_name: str, raw: list[bytes]) -> None:
        self.raw = raw
        self._process = process_name
        self._entries: dict[int, LogEntry] = {}
        self._data: bytes | None = None
        self._begins: list[int] = []

    def __len__(self) -> int:
        return len(self.raw)

    def drop_last(self) -> None:
        """Take out the last entry, of which there will be more."""
        self.raw.pop()

    def entry(self, number: int) -> LogEntry:
        """Return the entry at a place of the batch."""
        entry = self._entries.get(number)
        if entry is None:
            entry = self._entries[number] = parse_line(self.raw[number], self._process)
        return entry

    def is_wanted(self, number: int, lines: LineFilter) -> bool:
        """Tell whether a filter, which may not ask for a time, accepts an entry."""
        entry = self.entry(number)
        return lines.accepts(self.raw[number], entry, entry.timestamp)

    def candidates(self, lines: LineFilter) -> Iterable[int]:
        """Return which entries a filter may accept, found without parsing any of them."""
        return range(len(self.raw)) if lines.prefilter is None else self._hits(lines)

    def wanted(self, lines: LineFilter) -> Iterator[LogEntry]:
        """Yield the entries that a filter accepts."""
        for number in self.candidates(lines):
            if self.is_wanted(number, lines):
                yield self.entry(number)

    def _hits(self, lines: LineFilter) -> Iterator[int]:
        if self._data is None:
            self._data = b"\n".join(self.raw)
            self._begins = list(accumulate((len(each) + 1 for each in self.raw), initial=0))
        position = 0
        while (hit := lines.prefilter.search(self._data, position)) is not None:
            # A pattern that also fits nothing may fit behind the last entry.
            number = bisect_right(self._begins, hit.start()) - 1
            if number >= len(self.raw):
                return
            yield number
            position = self._begins[number + 1]
            if position > len(self._data):
                return
