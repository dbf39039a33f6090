"""Live lines of logs: read, redacted and parsed once for all who watch, only while somebody does.

Every watch has its own place in each of its logs, and reads on from there only; watches at the
same place share one reading. So none loses a line or gets it twice, however it came there: from
the newest lines, or from the place where it was before a reconnect. Watches that are not at the
same place yet meet: who is behind reads up to where the first one is, and no further.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from control_plane.domain.logs import LogFilter
from control_plane.logs.book import LogBook
from control_plane.logs.follower import Cursor, places_of
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.plain_formats import is_open
from control_plane.logs.processor import LogProcessor
from control_plane.logs.reader import LogReader
from control_plane.logs.search import LogSearch
from control_plane.logs.watch import News, Seat, Watch

log = logging.getLogger(__name__)

LOCAL_EVERY_S: Final = 0.03
REMOTE_EVERY_S: Final = 0.25
_BREATH_S: Final = 0.005
"""Even with more to read other threads get their turn."""
_MAX_LINES: Final = 10_000
_CALM_LINES: Final = 500
"""A reading as long as that may be enough, so that connections can take what it brings."""
_FLOOD_AFTER: Final = 8
"""So many readings of that size in a row make a flood."""
_FAR_BYTES: Final = 8 << 20
"""Whoever comes back from farther away gets the newest lines and is told that some are missing."""
_TAIL_S: Final = 0.1
"""So long the newest lines are looked for; meanwhile the node's other streams wait."""
_TRACE_S: Final = 0.3
"""So long the rest of a traceback is waited for."""
_NOWHERE: Final = Cursor(0, 0)


class LogSource(Protocol):
    """Logs with their secrets, by process name."""

    def raw_reader(self, name: str) -> LogReader: ...

    def book(self, name: str) -> AbstractContextManager[LogBook]: ...


@dataclass(slots=True)
class _OpenTrace:
    """An entry that may go on, and since when it has stood at the end of the log."""

    place: Cursor
    since_mono: float


class NodeTail:
    """The watched logs of one node and the thread that reads them."""

    def __init__(self, source: LogSource, processor: LogProcessor, every_s: float) -> None:
        self._source = source
        self._processor = processor
        self._every_s = every_s
        self._lock = threading.Lock()
        self._joining: list[Seat] = []
        self._seats: list[Seat] = []
        self._traces: dict[str, _OpenTrace] = {}
        self._failing: set[str] = set()
        self._wake = threading.Event()
        self._is_stopping = False
        self._is_full = False
        self._full: dict[str, int] = {}
        """Readings in a row that brought as much as was asked for, by log."""
        self._thread: threading.Thread | None = None

    def join(self, seats: list[Seat]) -> None:
        """Begin to read for these; does not wait."""
        with self._lock:
            self._joining += seats
            if self._thread is None and not self._is_stopping:
                self._thread = threading.Thread(target=self._run, name="log-stream")
                self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        """End the thread."""
        with self._lock:
            self._is_stopping, thread = True, self._thread
        self._wake.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while self._goes_on():
            is_behind = False
            for name in {seat.name for seat in self._seats}:
                seats = [seat for seat in self._seats if seat.name == name]
                try:
                    is_behind = self._advance(name, seats) or is_behind
                    self._failing.discard(name)
                except Exception:
                    # One log, whatever is in it, must not end the others' streams.
                    if name not in self._failing:
                        log.exception("log cannot be followed", extra={"log": name})
                    self._failing.add(name)
            self._wake.wait(_BREATH_S if is_behind else self._every_s)
            self._wake.clear()

    def _goes_on(self) -> bool:
        """Take in who joined, let go who left; without anybody left the thread ends."""
        with self._lock:
            self._seats = [seat for seat in self._seats + self._joining if not seat.watch.is_closed]
            self._joining = []
            self._traces = {
                name: trace
                for name, trace in self._traces.items()
                if any(seat.name == name for seat in self._seats)
            }
            if self._seats and not self._is_stopping:
                return True
            self._thread = None
            return False

    def _advance(self, name: str, seats: list[Seat]) -> bool:
        """Read on for all seats of one log; tell whether there is more to read at once."""
        for seat in seats:
            if seat.place is None:
                self._begin(seat)
            if seat.place == _NOWHERE:
                # A log that did not exist: when it does, all of it is new.
                begin = self._source.raw_reader(name).before_end(_FAR_BYTES)
                seat.place = begin or _NOWHERE
        groups: dict[Cursor, list[Seat]] = {}
        for seat in seats:
            groups.setdefault(seat.place or _NOWHERE, []).append(seat)
        first: Cursor | None = None
        is_behind = False
        for place, group in sorted(groups.items(), key=_order):
            if first is not None and first.inode == place.inode and first.offset <= place.offset:
                continue  # The first one will come by here.
            end = self._read_on(name, place, group, first)
            is_behind = is_behind or (end != place and self._is_full)
            first = first or end
        return is_behind

    def _read_on(
        self, name: str, place: Cursor, group: list[Seat], border: Cursor | None
    ) -> Cursor:
        """Read one portion, not past ``border``, and give it to seats at the same place."""
        is_slow = any(seat.is_catching_up for seat in group)
        is_flood = not is_slow and self._full.get(name, 0) >= _FLOOD_AFTER
        most = _MAX_LINES if is_flood else _CALM_LINES
        read = self._source.raw_reader(name).after(place, most)
        self._full[name] = self._full.get(name, 0) + 1 if len(read.lines) >= _CALM_LINES else 0
        self._is_full = is_flood and self._full[name] > 0
        if not read.readable or (not read.lines and not read.reset):
            for seat in group:
                seat.place = read.cursor if read.readable else place
                seat.tell_skipped()
            return seat.place or place
        places, lines, end = places_of(place, read), read.lines, read.cursor
        if border is not None and not read.reset:
            count = _before(places, border)
            if count < len(places):
                places, lines, end = places[:count], lines[:count], border
        for seat in group:
            seat.is_catching_up = seat.is_catching_up and end != border and len(lines) == most
        batch = self._processor.batch(name, lines)
        held = self._held(name, batch.raw, places)
        if held is not None:
            batch.drop_last()
            end = held
        news = News(batch, places, end, is_reset=read.reset)
        for seat in group:
            seat.give(news)
        return end

    def _held(self, name: str, raw: list[bytes], places: list[Cursor]) -> Cursor | None:
        """Return the place of the last entry if the rest of its traceback is still to come."""
        if not raw or not is_open(raw[-1]):
            self._traces.pop(name, None)
            return None
        place = places[-1 - raw[-1].count(b"\n")]
        trace = self._traces.get(name)
        if trace is None or trace.place != place:
            trace = self._traces[name] = _OpenTrace(place, time.monotonic())
        return place if time.monotonic() - trace.since_mono < _TRACE_S else None

    def _begin(self, seat: Seat) -> None:
        """Find where a watch begins: where it was, or behind the newest lines."""
        with self._source.book(seat.name) as book:
            if seat.after is not None:
                left = _bytes_after(book, seat.after)
                if left is not None and left <= _FAR_BYTES:
                    seat.go_on(seat.after)
                    return
            last = book.stretches[-1] if book.stretches else None
            seat.place = last.place(last.end) if last else _NOWHERE
            redactor = self._processor.redactor()
            # By CPU time: a busy machine must not make the tail shorter.
            searching = LogSearch(book, seat.name, seat.watch.lines, redactor, time.thread_time)
            tail = searching.before(None, seat.watch.tail, _TAIL_S) if seat.watch.tail else None
        seat.give_tail(tail, is_reset=seat.after is not None)


class LogTailer:
    """All live logs; usable from any thread."""

    def __init__(
        self,
        source: LogSource,
        processor: LogProcessor,
        node_of: Callable[[str], str],
        local_node: str,
    ) -> None:
        self._source = source
        self._processor = processor
        self._node_of = node_of
        self._local_node = local_node
        self._lock = threading.Lock()
        self._nodes: dict[str, NodeTail] = {}

    def watch(
        self,
        names: tuple[str, ...],
        asked: LogFilter,
        send: Callable[[dict[str, object], int], None],
        *,
        tail: int = 0,
        after: dict[str, Cursor] | None = None,
    ) -> Watch:
        """Send the newest ``tail`` lines of each log and from there on every line, until closed.

        ``send(data, lines)`` is called in the thread that reads; it must not wait.

        Raises:
            BadRequest: the pattern is none.
        """
        watch = Watch(LineFilter(asked), tail, send)
        by_node: dict[str, list[Seat]] = {}
        for name in names:
            seat = Seat(watch, name, (after or {}).get(name))
            by_node.setdefault(self._node_of(name), []).append(seat)
        for node, seats in by_node.items():
            self._node(node).join(seats)
        return watch

    def stop(self) -> None:
        """End all threads."""
        with self._lock:
            nodes = list(self._nodes.values())
        for node in nodes:
            node.stop()

    def _node(self, name: str) -> NodeTail:
        # One thread a node: one that does not answer must not hold up the others.
        with self._lock:
            if name not in self._nodes:
                every_s = LOCAL_EVERY_S if name == self._local_node else REMOTE_EVERY_S
                self._nodes[name] = NodeTail(self._source, self._processor, every_s)
            return self._nodes[name]


def _order(group: tuple[Cursor, list[Seat]]) -> tuple[bool, int]:
    """Who has caught up is not held up by who has not."""
    return any(seat.is_catching_up for seat in group[1]), -len(group[1])


def _before(places: list[Cursor], border: Cursor) -> int:
    """Return how many lines, in their order, come before a place where a line begins."""
    for number, place in enumerate(places):
        if place.inode == border.inode and place.offset >= border.offset:
            return number
        if number and place.inode != places[number - 1].inode == border.inode:
            return number
    return len(places)


def _bytes_after(book: LogBook, place: Cursor) -> int | None:
    """Return how much was written after a place; ``None`` if that is in no file any more."""
    found = book.find(place)
    if found is None:
        return None
    number, offset = found
    later = book.stretches[number + 1 :]
    return book.stretches[number].end - offset + sum(each.end - each.begin for each in later)
