"""Reads a log file that supervisord writes and rotates; every line once, whatever happens to it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from control_plane.errors import BadRequest

_READ_BYTES = 1 << 20
_TAIL_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a log: the file's inode and the offset of the next unread byte."""

    inode: int
    offset: int

    def __str__(self) -> str:
        return f"{self.inode}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what :meth:`__str__` wrote.

        Raises:
            BadRequest: anything else.
        """
        inode, _, offset = text.partition("-")
        valid = inode.isascii() and offset.isascii() and inode.isdecimal() and offset.isdecimal()
        if not valid or len(text) > 40:
            raise BadRequest(reason=f"cursor {text[:40]!r} is not one that this server gave out")
        return cls(int(inode), int(offset))


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines without their ends, and where to go on.

    ``reset``: the place is lost (rotated more than once, or truncated); these are the newest lines.
    """

    lines: tuple[bytes, ...]
    cursor: Cursor
    reset: bool


def read_tail(path: Path, count: int) -> Lines:
    """Return the last ``count`` whole lines; a missing file has none."""
    try:
        with path.open("rb") as file:
            return _tail_of(file.fileno(), count)
    except FileNotFoundError:
        return Lines((), Cursor(0, 0), reset=False)


def read_after(path: Path, cursor: Cursor, max_lines: int) -> Lines:
    """Return whole lines after ``cursor``, first those left in the file that was rotated away."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if cursor.inode == status.st_ino and cursor.offset <= status.st_size:
                return _lines_from(file.fileno(), cursor, max_lines)
            rotated = path.with_name(path.name + ".1")
            if rotated.exists() and rotated.stat().st_ino == cursor.inode:
                return _across_rotation(rotated, file.fileno(), cursor, max_lines)
            newest = _tail_of(file.fileno(), max_lines)
            return Lines(newest.lines, newest.cursor, reset=cursor.inode != 0)
    except FileNotFoundError:
        return Lines((), cursor, reset=False)


def _across_rotation(rotated: Path, current_fd: int, cursor: Cursor, max_lines: int) -> Lines:
    with rotated.open("rb") as old:
        rest = _lines_from(old.fileno(), cursor, max_lines)
        if len(rest.lines) >= max_lines:
            return rest
    start = Cursor(os.fstat(current_fd).st_ino, 0)
    newer = _lines_from(current_fd, start, max_lines - len(rest.lines))
    return Lines((*rest.lines, *newer.lines), newer.cursor, reset=False)


def _lines_from(fd: int, cursor: Cursor, max_lines: int) -> Lines:
    data = os.pread(fd, _READ_BYTES, cursor.offset)
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) == _READ_BYTES:
        end = len(data)  # One endless line: hand it on in pieces rather than stand still.
    lines = data[:end].split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    if len(lines) > max_lines:
        lines = lines[:max_lines]
        end = sum(len(line) + 1 for line in lines)
    return Lines(tuple(lines), Cursor(cursor.inode, cursor.offset + end), reset=False)


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
    return Lines(tuple(lines[-count:]), Cursor(status.st_ino, start + end), reset=False)
