"""One watcher of live logs: what it wants, where it is, and how much it may get."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from pydantic import TypeAdapter

from control_plane.domain.logs import LogEntry
from control_plane.logs.follower import Cursor
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.processor import LogBatch
from control_plane.logs.search import SearchPage

LINES_PER_S: Final = 2000
"""A watcher gets at most so many lines a second, over all its logs; of more, the newest."""
BYTES_PER_S: Final = 1 << 20
BURST_S: Final = 2.0
"""What was not used up is kept for so long."""
CATCH_UP_LINES: Final = 50_000
"""So many more gets who goes on where it was, a little at a time."""
_LOOKED_AT: Final = 2000
"""So many lines of one reading are taken apart for one filter."""
_USUAL_LINE_BYTES: Final = 300
_MESSAGE_BYTES: Final = 32 * 1024
_TELL_SKIPPED_S: Final = 0.25

_ENTRY = TypeAdapter(LogEntry)


def entry_json(entry: LogEntry, place: Cursor) -> dict[str, Any]:
    """Return an entry as API and live channel show it, with the place of its line."""
    shown: dict[str, Any] = _ENTRY.dump_python(entry, mode="json")
    return {**shown, "cursor": str(place)}


class Watch:
    """What one watcher asked for; given out by the tailer."""

    def __init__(
        self, lines: LineFilter, tail: int, send: Callable[[dict[str, object], int], None]
    ) -> None:
        self.lines = lines
        self.tail = tail
        self.send = send
        self.is_closed = False
        self.lines_left = BURST_S * LINES_PER_S
        """More than that only for who catches up."""
        self.bytes_left = BURST_S * BYTES_PER_S
        self._filled_mono = time.monotonic()

    def close(self) -> None:
        """Send nothing more; does not wait."""
        self.is_closed = True

    def refill(self) -> None:
        """Add to the allowance what the time since the last call gives."""
        mono = time.monotonic()
        passed_s, self._filled_mono = mono - self._filled_mono, mono
        for kept, most in (("lines_left", LINES_PER_S), ("bytes_left", BYTES_PER_S)):
            left = getattr(self, kept)
            setattr(self, kept, max(left, min(BURST_S * most, left + passed_s * most)))


class News:
    """Lines that were read at once, for every seat at that place."""

    def __init__(
        self, batch: LogBatch, places: list[Cursor], end: Cursor, *, is_reset: bool
    ) -> None:
        self.batch = batch
        self.end = end
        self.is_reset = is_reset
        firsts = accumulate((each.count(b"\n") + 1 for each in batch.raw), initial=0)
        self._places = [places[first] for first, _ in zip(firsts, batch.raw, strict=False)]
        self._shown: dict[int, dict[str, Any]] = {}

    def shown(self, number: int) -> dict[str, Any]:
        """Return an entry as it is sent."""
        if number not in self._shown:
            self._shown[number] = entry_json(self.batch.entry(number), self._places[number])
        return self._shown[number]


@dataclass(slots=True, eq=False)
class Seat:
    """A watch at one log; ``after`` is where it was before. Only the reading thread is here."""

    watch: Watch
    name: str
    after: Cursor | None
    place: Cursor | None = None
    is_catching_up: bool = False
    _skipped: int = 0
    _told_mono: float = field(default_factory=time.monotonic)

    def give(self, news: News) -> None:
        """Send what the filter accepts, the newest if that is more than may be sent."""
        self.place = news.end
        picked, skipped = self._pick(news.batch)
        self._skipped += skipped
        if picked or news.is_reset:
            self._send([news.shown(number) for number in picked], is_reset=news.is_reset)
        else:
            self.tell_skipped()

    def go_on(self, place: Cursor) -> None:
        """Begin where the watcher was before; it may get what it missed meanwhile."""
        self.place = place
        self.is_catching_up = True
        self.watch.lines_left += CATCH_UP_LINES
        self.watch.bytes_left += CATCH_UP_LINES * _USUAL_LINE_BYTES

    def give_tail(self, page: SearchPage | None, *, is_reset: bool) -> None:
        """Send the lines that were there before, and from where older ones can be asked for."""
        found = [entry_json(each.entry, each.place) for each in page.found] if page else []
        older = page.older if page else self.place
        self._send(found, is_reset=is_reset, older=str(older) if older else None)

    def tell_skipped(self) -> None:
        """Tell of lines that were left out even if none can be sent."""
        if self._skipped and time.monotonic() - self._told_mono >= _TELL_SKIPPED_S:
            self._send([], is_reset=False)

    def _pick(self, batch: LogBatch) -> tuple[list[int], int]:
        """Return which entries are sent, and how many were not even looked at."""
        watch = self.watch
        watch.refill()
        candidates = list(batch.candidates(watch.lines))
        picked: list[int] = []
        for looked, number in enumerate(reversed(candidates)):
            if watch.lines_left < 1 or watch.bytes_left < 0 or looked >= _LOOKED_AT:
                return picked[::-1], len(candidates) - looked
            if batch.is_wanted(number, watch.lines):
                watch.lines_left -= 1
                watch.bytes_left -= len(batch.raw[number])
                picked.append(number)
        return picked[::-1], 0

    def _send(self, entries: list[dict[str, Any]], *, is_reset: bool, **more: object) -> None:
        if self.watch.is_closed:
            return
        parts = _parts(entries)
        ends = [*(part[0]["cursor"] for part in parts[1:]), str(self.place)]
        for part, end in zip(parts, ends, strict=True):
            data = {
                "process": self.name,
                "entries": part,
                "skipped": self._skipped,
                "reset": is_reset,
                "cursor": end,
                **more,
            }
            self.watch.send(data, len(part) + self._skipped)
            self._skipped, is_reset, more = 0, False, {}
        self._told_mono = time.monotonic()


def _parts(entries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Cut entries into messages of a size that a connection takes at once; at least one."""
    parts: list[list[dict[str, Any]]] = [[]]
    size = 0
    for entry in entries:
        length = 200 + len(entry["message"]) + len(entry["exception_info"] or "")
        length += len(str(entry["fields"]))
        if parts[-1] and size + length > _MESSAGE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(entry)
        size += length
    return parts
