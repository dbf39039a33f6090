"""Finds lines in a log: pages in both directions, and what stands around a line.

Blocks of megabytes are searched at once by RE2, outside of Python's lock; only what may be wanted
is taken apart. No index: a rare word in a gigabyte takes less than a second, and an index would
have to be written while a flood is.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from control_plane.domain.logs import LogEntry
from control_plane.logs.book import Block, LogBook
from control_plane.logs.follower import Cursor
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.parser import parse_line
from control_plane.logs.plain_formats import joined
from control_plane.logs.redaction import Redactor

PAGE_S: Final = 1.5
"""So long one page may be searched for; then it says from where to go on."""
_AROUND_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry and where its line begins."""

    place: Cursor
    entry: LogEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """Entries in the order of their lines.

    ``older`` and ``newer`` say from where to go on; ``older`` is ``None`` at the beginning of the
    log. ``is_complete`` is false when time was up before the page was full; ``is_lost`` when the
    place that was asked for is in no file any more.
    """

    found: tuple[Found, ...]
    older: Cursor | None
    newer: Cursor | None
    is_complete: bool
    is_lost: bool
    searched_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    offset: int
    line: bytes
    at: datetime | None
    """The time of the newest timed line before it."""


class LogSearch:
    """Searches one process's log with one filter."""

    def __init__(
        self,
        book: LogBook,
        process: str,
        lines: LineFilter,
        redactor: Redactor,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._process = process
        self._filter = lines
        self._redactor = redactor
        self._monotonic = monotonic

    def before(self, place: Cursor | None, limit: int, budget_s: float = PAGE_S) -> SearchPage:
        """Return the newest wanted entries before a place, or before the end of the log."""
        return self._page(place, limit, budget_s, is_forward=False)

    def after(self, place: Cursor | None, limit: int, budget_s: float = PAGE_S) -> SearchPage:
        """Return the oldest wanted entries from a place on, or from the beginning of the log."""
        return self._page(place, limit, budget_s, is_forward=True)

    def all(self) -> Iterator[Found]:
        """Yield every wanted entry, oldest first, for as long as somebody takes them."""
        if self._book.stretches:
            for block in self._book.forward(0, self._book.stretches[0].begin):
                yield from self._in(block)

    def _page(
        self, place: Cursor | None, limit: int, budget_s: float, *, is_forward: bool
    ) -> SearchPage:
        stretches = self._book.stretches
        if not stretches:
            return _empty(is_lost=place is not None)
        asked = None if place is None else self._book.find(place)
        edge = (0, stretches[0].begin) if is_forward else (len(stretches) - 1, stretches[-1].end)
        number, offset = asked or edge
        begun_at = stretches[number].place(offset)
        deadline_mono = self._monotonic() + budget_s
        found: list[Found] = []
        reached, searched, is_complete = (number, offset), 0, True
        blocks = self._book.forward if is_forward else self._book.backward
        for block in blocks(number, offset):
            hits = list(self._in(block))
            searched += len(block.data)
            room = limit - len(found)
            if len(hits) >= room:
                found = found + hits[:room] if is_forward else hits[-room:] + found
                reached = (block.stretch, self._border(block, hits, room, is_forward=is_forward))
                break
            found = found + hits if is_forward else hits + found
            reached = (block.stretch, block.end if is_forward else block.begin)
            if self._monotonic() > deadline_mono:
                is_complete = False
                break
        ended_at = stretches[reached[0]].place(reached[1])
        is_start = reached == (0, stretches[0].begin)
        first, last = (begun_at, ended_at) if is_forward else (ended_at, begun_at)
        return SearchPage(
            found=tuple(found),
            older=None if not is_forward and is_start else first,
            newer=last,
            is_complete=is_complete,
            is_lost=place is not None and asked is None,
            searched_bytes=searched,
        )

    @staticmethod
    def _border(block: Block, hits: list[Found], room: int, *, is_forward: bool) -> int:
        """Return where the next page goes on, within the block that filled this one."""
        if not is_forward:
            return hits[-room].place.offset
        return hits[room].place.offset if len(hits) > room else block.end

    def _in(self, block: Block) -> Iterator[Found]:
        """Yield the wanted entries of a block, in the order of their lines."""
        stretch = self._book.stretches[block.stretch]
        is_clean = not self._redactor.has_secrets(block.data)
        for raw in self._candidates(block.data):
            line = raw.line if is_clean else self._redactor.line(raw.line)
            entry = parse_line(line, self._process)
            if self._filter.accepts(line, entry, entry.timestamp or raw.at):
                yield Found(place=stretch.place(block.begin + raw.offset), entry=entry)

    def _candidates(self, data: bytes) -> Iterator[_Raw]:
        prefilter = self._filter.prefilter
        if prefilter is None:
            yield from self._entries(data, 0, len(data))
            return
        position = 0
        while (hit := prefilter.search(data, position)) is not None:
            start = data.rfind(b"\n", 0, hit.start()) + 1
            end = data.find(b"\n", max(hit.start(), start)) + 1 or len(data)
            entry = self._entry_at(data, start, end)
            yield entry
            position = max(end, entry.offset + len(entry.line) + 1)
            if position >= len(data):
                return

    def _entry_at(self, data: bytes, start: int, end: int) -> _Raw:
        """Return the entry that a line belongs to: its own, or that of its traceback."""
        line = data[start:end].rstrip(b"\n")
        needs_time = self._filter.asked.start is not None or self._filter.asked.end is not None
        stands_alone = line[:1] == b"{" and not data.startswith(b"Traceback", end)
        if stands_alone and not needs_time:
            return _Raw(offset=start, line=line, at=None)
        first = data.rfind(b"\n", 0, max(0, start - _AROUND_BYTES)) + 1
        last = data.find(b"\n", min(len(data) - 1, end + _AROUND_BYTES)) + 1 or len(data)
        for entry in self._entries(data, first, last):
            if entry.offset <= start < entry.offset + len(entry.line) + 1:
                return entry
        return _Raw(offset=start, line=line, at=None)

    def _entries(self, data: bytes, first: int, last: int) -> Iterator[_Raw]:
        """Yield the entries between two line starts, tracebacks joined with their lines."""
        part = data[first:last]
        lines = part.split(b"\n")
        if lines and lines[-1] == b"":
            lines.pop()
        if b"Traceback (most" in part:
            lines = joined(lines)
        needs_time = self._filter.asked.start is not None or self._filter.asked.end is not None
        offset, at = first, None
        for line in lines:
            yield _Raw(offset=offset, line=line, at=at)
            if needs_time:
                at = parse_line(line, self._process).timestamp or at
            offset += len(line) + 1


def _empty(*, is_lost: bool) -> SearchPage:
    return SearchPage(
        found=(), older=None, newer=None, is_complete=True, is_lost=is_lost, searched_bytes=0
    )
