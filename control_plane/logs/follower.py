"""Reads a log file that supervisord writes and rotates; every line once, whatever happens to it."""

import contextlib
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Self

from control_plane.errors import BadInput

_READ_BYTES = 1 << 20
_TAIL_BLOCK = 64 * 1024
_MARKED_BYTES = 64
MAX_ROTATED = 1000


_CURSOR = re.compile(r"([0-9]{1,20})-([0-9]{1,19})(?:\.([0-9a-f]{1,8}))?")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a log: the file's inode and the offset of the next unread byte.

    ``mark`` is a checksum of the file's first bytes: a new file may get the inode of one that was
    deleted. 0 says nothing about them.
    """

    inode: int
    offset: int
    mark: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.inode}-{self.offset}" + (f".{self.mark:x}" if self.mark else "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what :meth:`__str__` wrote.

        Raises:
            BadInput: anything else.
        """
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise BadInput.of("cursor", "not_cursor")
        return cls(int(found[1]), int(found[2]), int(found[3] or "0", 16))


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines without their ends, and where to go on.

    ``reset``: the place is lost (rotated more than once, or truncated); these are the newest lines.
    ``readable``: false when the file does not exist or cannot be read; there are no lines then.
    """

    lines: tuple[bytes, ...]
    cursor: Cursor
    reset: bool
    readable: bool = True


def read_tail(path: Path, count: int) -> Lines:
    """Return the last ``count`` whole lines; a file that cannot be read has none."""
    try:
        with path.open("rb") as file:
            return _tail_of(file.fileno(), count)
    except OSError:
        return Lines((), Cursor(0, 0), reset=False, readable=False)


def read_after(path: Path, cursor: Cursor, max_lines: int) -> Lines:
    """Return whole lines after ``cursor``, first those left in files that were rotated away.

    Fewer than ``max_lines`` do not mean that all is read; an unchanged cursor does.
    """
    try:
        with path.open("rb") as file:
            if _is_within(file.fileno(), cursor):
                return _lines_from(file.fileno(), cursor, max_lines)
            newer = file.fileno()
            with contextlib.ExitStack() as stack:
                for rotated in open_rotated(path, stack):
                    if _is_within(rotated, cursor):
                        return _across_rotation(rotated, newer, cursor, max_lines)
                    newer = rotated
            newest = _tail_of(file.fileno(), max_lines)
            return Lines(newest.lines, newest.cursor, reset=cursor.inode != 0)
    except OSError:
        return Lines((), cursor, reset=False, readable=False)


def places_of(before: Cursor, read: Lines) -> list[Cursor]:
    """Return where each line of ``read`` begins, which was read after ``before``.

    A line that a rotation cut in two begins in the older file.
    """
    end, sizes = read.cursor, [len(line) + 1 for line in read.lines]
    if before.inode == end.inode and not read.reset:
        return _places(before, sizes, end)
    first, offset = len(sizes), end.offset
    while first > 0 and offset >= sizes[first - 1]:
        first -= 1
        offset -= sizes[first]
    older = [] if read.reset else _places(before, sizes[:first], before)
    return older + _places(Cursor(end.inode, offset), sizes[first:], end)


def _places(begin: Cursor, sizes: list[int], marked: Cursor) -> list[Cursor]:
    """Return the places of lines of these sizes, with the mark that a place of the file has."""
    # Near the beginning of a file there are fewer bytes to be marked.
    mark = marked.mark if marked.offset >= _MARKED_BYTES else 0
    offsets = accumulate(sizes, initial=begin.offset)
    return [
        Cursor(begin.inode, offset, mark if offset >= _MARKED_BYTES else 0)
        for offset, _ in zip(offsets, sizes, strict=False)
    ]


def cursor_before_end(path: Path, max_bytes: int) -> Cursor | None:
    """Return the first line that begins in the last ``max_bytes``; ``None`` if unreadable."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            start = max(0, status.st_size - max_bytes)
            if start > 0:
                start += os.pread(file.fileno(), max_bytes, start - 1).find(b"\n")
            return Cursor(status.st_ino, start)
    except OSError:
        return None


def written_at(path: Path, now: datetime) -> datetime:
    """Return when the file was last written to; no line in it is younger."""
    try:
        return min(now, datetime.fromtimestamp(path.stat().st_mtime, UTC))
    except OSError:
        return now


def open_rotated(path: Path, stack: contextlib.ExitStack) -> Iterator[int]:
    """Open the files that were rotated away, the newest first.

    In this order rotations meanwhile can show a file twice but hide none: supervisord renames the
    oldest first, so that a number may be missing, and what it named is one further on.
    """
    number, last = 0, MAX_ROTATED
    while number < last:
        number += 1
        try:
            file = stack.enter_context(path.with_name(f"{path.name}.{number}").open("rb"))
        except FileNotFoundError:
            if last == MAX_ROTATED:
                last = min(_last_rotated(path) + 1, MAX_ROTATED - 1)
        except OSError:
            return  # Closed to us: a lost place, not an unreadable log.
        else:
            yield file.fileno()


def _last_rotated(path: Path) -> int:
    """Return the number of the oldest rotated file, 0 without any."""
    begin = f"{path.name}."
    names = (other.name for other in path.parent.iterdir())
    ends = (name.removeprefix(begin) for name in names if name.startswith(begin))
    return max((int(end) for end in ends if end.isascii() and end.isdecimal()), default=0)


def mark_of(fd: int, offset: int) -> int:
    """Return the checksum of the first bytes that lie before ``offset``; never 0 but for none."""
    begin = os.pread(fd, min(_MARKED_BYTES, offset), 0)
    return (zlib.crc32(begin) or 1) if begin else 0


def _is_within(fd: int, cursor: Cursor) -> bool:
    status = os.fstat(fd)
    if cursor.inode != status.st_ino or cursor.offset > status.st_size:
        return False
    return not cursor.mark or cursor.mark == mark_of(fd, cursor.offset)


def _marked(fd: int, inode: int, offset: int) -> Cursor:
    return Cursor(inode, offset, mark_of(fd, offset))


def _across_rotation(old_fd: int, new_fd: int, cursor: Cursor, max_lines: int) -> Lines:
    rest = _lines_from(old_fd, cursor, max_lines)
    left = os.pread(old_fd, _READ_BYTES, rest.cursor.offset)
    if len(rest.lines) >= max_lines or b"\n" in left or len(left) == _READ_BYTES:
        return rest
    # supervisord rotates between two writes, not between two lines: what is left in the old file
    # is the beginning of the new file's first line.
    data = left + os.pread(new_fd, _READ_BYTES - len(left), 0)
    lines, end_bytes = whole_lines(data, max_lines - len(rest.lines))
    if end_bytes == 0 and left:
        return rest
    place = _marked(new_fd, os.fstat(new_fd).st_ino, end_bytes - len(left))
    return Lines((*rest.lines, *lines), place, reset=False)


def _lines_from(fd: int, cursor: Cursor, max_lines: int) -> Lines:
    lines, end_bytes = whole_lines(os.pread(fd, _READ_BYTES, cursor.offset), max_lines)
    return Lines(lines, _marked(fd, cursor.inode, cursor.offset + end_bytes), reset=False)


def whole_lines(
    data: bytes, max_lines: int, endless_bytes: int = _READ_BYTES
) -> tuple[tuple[bytes, ...], int]:
    """Return the first ``max_lines`` whole lines and the number of bytes that they take.

    A line without an end counts as whole once it is ``endless_bytes`` long.
    """
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) >= endless_bytes:
        end = len(data)  # One endless line: hand it on in pieces rather than stand still.
    lines = data[:end].split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    if len(lines) > max_lines:
        lines = lines[:max_lines]
        end = sum(len(line) + 1 for line in lines)
    return tuple(lines), end


def _tail_of(fd: int, count: int) -> Lines:
    status = os.fstat(fd)
    start, data = status.st_size, b""
    while start > 0 and data.count(b"\n") <= count and len(data) < 16 * _READ_BYTES:
        step = min(_TAIL_BLOCK, start)
        start -= step
        data = os.pread(fd, step, start) + data
    end = data.rfind(b"\n") + 1
    lines = data[:end].split(b"\n")[:-1]
    if start > 0:
        lines = lines[1:]  # Its beginning was not read.
    return Lines(tuple(lines[-count:]), _marked(fd, status.st_ino, start + end), reset=False)
