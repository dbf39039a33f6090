"""A whole log, rotated files and the one in use, as one sequence of lines with their places."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.logs.follower import Cursor, mark_of, open_rotated
from control_plane.logs.reader import ReadChunk

BLOCK_BYTES: Final = 4 << 20
_FIRST_BLOCK_BYTES: Final = 256 * 1024
"""Most of what is asked for stands near the place from where it is asked for."""
_USUAL_LINE_BYTES: Final = 8 * 1024
_LONGEST_LINE_BYTES: Final = 1 << 20
_REMOTE_BYTES: Final = 256 * 1024

ReadAt = Callable[[int, int], bytes]
"""(offset, bytes) → that part of a file, shorter at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Whole lines of one file from ``begin`` to ``end``, offsets in that file.

    A line that a rotation cut in two is a stretch of its own, at its place in the older file.
    """

    inode: int
    begin: int
    end: int
    read: ReadAt
    mark: Callable[[int], int]

    def place(self, offset: int) -> Cursor:
        return Cursor(self.inode, offset, self.mark(offset))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Whole lines, the first of which begins at ``begin`` of its stretch."""

    stretch: int
    begin: int
    data: bytes

    @property
    def end(self) -> int:
        return self.begin + len(self.data)


class LogBook:
    """The stretches of a log, oldest first, as they were when it was opened."""

    def __init__(self, stretches: list[Stretch]) -> None:
        self.stretches = stretches

    def find(self, place: Cursor) -> tuple[int, int] | None:
        """Return the stretch and the offset of a line, ``None`` if it is in no file any more."""
        ended = None
        for number, stretch in enumerate(self.stretches):
            if stretch.inode != place.inode:
                continue
            if place.mark and place.mark != stretch.mark(place.offset):
                continue
            if stretch.begin <= place.offset < stretch.end:
                return number, place.offset
            if place.offset == stretch.end:
                ended = number, place.offset
        return ended

    def forward(self, number: int, offset: int) -> Iterator[Block]:
        """Yield blocks from a line on to the end, the first ones smaller."""
        sizes = _block_sizes()
        for at in range(number, len(self.stretches)):
            stretch = self.stretches[at]
            begin = offset if at == number else stretch.begin
            while begin < stretch.end:
                data = stretch.read(begin, min(next(sizes), stretch.end - begin))
                if not data:
                    break  # Cut off since it was opened.
                if begin + len(data) < stretch.end:
                    data = data[: data.rfind(b"\n") + 1] or data
                yield Block(stretch=at, begin=begin, data=data)
                begin += len(data)

    def backward(self, number: int, offset: int) -> Iterator[Block]:
        """Yield blocks that end before a line, from there to the beginning; small ones first."""
        sizes = _block_sizes()
        for at in range(number, -1, -1):
            stretch = self.stretches[at]
            end = offset if at == number else stretch.end
            while end > stretch.begin:
                begin = max(stretch.begin, end - next(sizes))
                data = stretch.read(begin, end - begin)
                if not data:
                    break
                if begin > stretch.begin and (cut := data.find(b"\n", 0, len(data) - 1)) >= 0:
                    data, begin = data[cut + 1 :], begin + cut + 1
                yield Block(stretch=at, begin=begin, data=data)
                end = begin


def _block_sizes() -> Iterator[int]:
    size = min(_FIRST_BLOCK_BYTES, BLOCK_BYTES)
    while True:
        yield size
        size = min(4 * size, BLOCK_BYTES)


@contextlib.contextmanager
def open_book(path: Path) -> Iterator[LogBook]:
    """Open a log of this machine; one that cannot be read has no stretches."""
    with contextlib.ExitStack() as stack:
        fds: list[int] = []
        # Between two steps of a rotation there is no file in use.
        with contextlib.suppress(OSError):
            fds.append(stack.enter_context(path.open("rb")).fileno())
        fds += open_rotated(path, stack)
        files: dict[int, Stretch] = {}
        for whole in map(_file, fds):
            files.setdefault(whole.inode, whole)
        yield LogBook(_stretches(list(reversed(files.values()))))


@contextlib.contextmanager
def open_remote_book(read: ReadChunk) -> Iterator[LogBook]:
    """Open a log on another node; one that cannot be read has no stretches."""
    newest = read(0, 0, 0)
    files = newest.files or ((newest.inode, newest.size),) if newest else ()
    yield LogBook(_stretches([_remote_file(read, inode, size) for inode, size in files]))


def _remote_file(read: ReadChunk, inode: int, size: int) -> Stretch:
    def read_at(offset: int, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            chunk = read(inode, offset + len(parts), min(_REMOTE_BYTES, count - len(parts)))
            if chunk is None or chunk.inode != inode or not chunk.data:
                break
            parts += chunk.data
        return parts

    return Stretch(inode=inode, begin=0, end=size, read=read_at, mark=lambda _: 0)


def _file(fd: int) -> Stretch:
    status = os.fstat(fd)
    return Stretch(
        inode=status.st_ino,
        begin=0,
        end=status.st_size,
        read=lambda offset, count: os.pread(fd, count, offset),
        mark=lambda offset: mark_of(fd, offset),
    )


def _stretches(files: list[Stretch]) -> list[Stretch]:
    """Cut files, oldest first, into whole lines and the lines between two files."""
    found: list[Stretch] = []
    rest, owner = b"", None
    for file in files:
        begin = 0
        if rest and owner is not None:
            head = file.read(0, min(_LONGEST_LINE_BYTES, file.end))
            begin = head.find(b"\n") + 1
            if begin == 0 and len(head) < _LONGEST_LINE_BYTES:
                rest += head  # Its end is in the next file, or is not written yet.
                continue
            begin = begin or len(head)
            found.append(_between(owner, rest + head[:begin]))
        for most in (_USUAL_LINE_BYTES, _LONGEST_LINE_BYTES):
            tail_from = max(begin, file.end - most)
            tail = file.read(tail_from, file.end - tail_from)
            if b"\n" in tail:
                break
        end = tail_from + (tail.rfind(b"\n") + 1)
        rest = tail[end - tail_from :]
        owner = Stretch(inode=file.inode, begin=begin, end=end, read=file.read, mark=file.mark)
        if end > begin:
            found.append(owner)
    return found


def _between(owner: Stretch, line: bytes) -> Stretch:
    start = owner.end

    def read(offset: int, count: int) -> bytes:
        return line[offset - start : offset - start + count]

    return Stretch(
        inode=owner.inode, begin=start, end=start + len(line), read=read, mark=owner.mark
    )
