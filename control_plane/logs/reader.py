"""The log of one program, wherever it is: as a file here, or through another node's supervisord.

Whoever hands lines on takes them from a :class:`RedactedLog`; the others are what it reads.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from control_plane.domain.logs import LogChunk
from control_plane.logs.follower import (
    Cursor,
    Lines,
    cursor_before_end,
    read_after,
    read_tail,
    whole_lines,
    written_at,
)
from control_plane.logs.redaction import Redactor

_CHUNK_BYTES = 256 * 1024


class LogReader(Protocol):
    """Hands out whole lines; never raises for what a log holds or lacks."""

    def tail(self, count: int) -> Lines:
        """Return the last ``count`` whole lines."""

    def after(self, cursor: Cursor, max_lines: int) -> Lines:
        """Return whole lines after ``cursor``; an unchanged cursor says that there are none."""

    def before_end(self, max_bytes: int) -> Cursor | None:
        """Return the first line that begins in the last ``max_bytes``; ``None`` if unreadable."""

    def written_at(self, now: datetime) -> datetime:
        """Return when it was last written to, ``now`` at the latest."""


class FileLog:
    """A log file of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tail(self, count: int) -> Lines:
        return read_tail(self._path, count)

    def after(self, cursor: Cursor, max_lines: int) -> Lines:
        return read_after(self._path, cursor, max_lines)

    def before_end(self, max_bytes: int) -> Cursor | None:
        return cursor_before_end(self._path, max_bytes)

    def written_at(self, now: datetime) -> datetime:
        return written_at(self._path, now)


ReadChunk = Callable[[int, int, int], LogChunk | None]
"""(inode, offset, limit in bytes) → bytes from there on; ``None`` if the log cannot be read."""


class RemoteLog:
    """A log of another node, a quarter of a megabyte at a time."""

    def __init__(self, read: ReadChunk) -> None:
        self._read = read

    def tail(self, count: int) -> Lines:
        start = self.before_end(_CHUNK_BYTES)
        if start is None:
            return Lines((), Cursor(0, 0), reset=False, readable=False)
        found = self.after(start, _CHUNK_BYTES)
        return Lines(found.lines[-count:], found.cursor, reset=False, readable=found.readable)

    def after(self, cursor: Cursor, max_lines: int) -> Lines:
        chunk = self._read(cursor.inode, cursor.offset, _CHUNK_BYTES)
        if chunk is None:
            return Lines((), cursor, reset=False, readable=False)
        data, begins_at = chunk.data, chunk.offset - len(chunk.data)
        unread = Cursor(chunk.inode, begins_at)
        if data and b"\n" not in data and chunk.offset == chunk.size:
            # supervisord rotates between two writes: the rest of this line may be in a new file.
            onward = self._read(chunk.inode, chunk.offset, _CHUNK_BYTES)
            if onward is not None and onward.inode != chunk.inode:
                chunk, begins_at = onward, -len(data)
                data += onward.data
        lines, taken_bytes = whole_lines(data, max_lines, _CHUNK_BYTES)
        if taken_bytes == 0:
            return Lines((), unread, reset=chunk.lost)
        return Lines(lines, Cursor(chunk.inode, begins_at + taken_bytes), reset=chunk.lost)

    def before_end(self, max_bytes: int) -> Cursor | None:
        newest = self._read(0, 0, 0)
        if newest is None:
            return None
        start = max(0, newest.size - min(max_bytes, _CHUNK_BYTES))
        if start > 0:
            chunk = self._read(newest.inode, start - 1, _CHUNK_BYTES)
            if chunk is None or chunk.inode != newest.inode:
                return None
            start += chunk.data.find(b"\n")
        return Cursor(newest.inode, start)

    def written_at(self, now: datetime) -> datetime:
        return now


class RedactedLog:
    """A log whose lines carry no secrets any more."""

    def __init__(self, log: LogReader, redactor: Callable[[], Redactor]) -> None:
        self._log = log
        self._redactor = redactor

    def tail(self, count: int) -> Lines:
        return self._redacted(self._log.tail(count))

    def after(self, cursor: Cursor, max_lines: int) -> Lines:
        return self._redacted(self._log.after(cursor, max_lines))

    def before_end(self, max_bytes: int) -> Cursor | None:
        return self._log.before_end(max_bytes)

    def written_at(self, now: datetime) -> datetime:
        return self._log.written_at(now)

    def _redacted(self, read: Lines) -> Lines:
        return replace(read, lines=self._redactor().lines(read.lines)) if read.lines else read
