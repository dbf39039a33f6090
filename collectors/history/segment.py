"""The files of a spool: segments, the records in them, and the cursors of their readers.

A segment ``<20-digit sequence of its first record>.seg`` is a row of records, each::

    u32 mark | u32 length of the body | u32 crc32 | u64 sequence | i64 wall clock ns | body

The checksum covers length, sequence, time and body, and a length of 0 is illegal: a checksum of the
body alone would accept the zeros that a power cut can leave at the end of a file, as the CRC-32 of
nothing is 0. The mark lets a reader find the next whole record behind a damaged one.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

MAX_BODY_BYTES = 64 << 20
"""Far above any batch; a longer length is damage."""

_MARK = b"\xf5DQ\x01"
_HEAD = struct.Struct("<4sIIQq")
_COVERED = struct.Struct("<IQq")
HEAD_BYTES = _HEAD.size
_SEGMENT_NAME = re.compile(r"[0-9]{20}\.seg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A whole record as found between ``start`` and ``end`` of some bytes; body not yet decoded."""

    sequence: int
    wall_ns: int
    body: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What a reader has behind it.

    Attributes:
        segment: First sequence of the segment being read, which is also its file name.
        offset: Bytes of that segment that are done.
        sequence: Of the last record that is done.
    """

    segment: int
    offset: int
    sequence: int


_POSITION_FIELDS = tuple(field.name for field in fields(Position))


def pack_record(sequence: int, wall_ns: int, body: bytes) -> bytes:
    """Return the bytes of one record; ``body`` must not be empty."""
    crc = _checksum(len(body), sequence, wall_ns, body)
    return _HEAD.pack(_MARK, len(body), crc, sequence, wall_ns) + body


def parse_record(data: bytes, at: int) -> Frame | None:
    """Return the record that starts at ``at``, or ``None`` if it is damaged or not all there."""
    if len(data) - at < HEAD_BYTES:
        return None
    mark, length, crc, sequence, wall_ns = _HEAD.unpack_from(data, at)
    end = at + HEAD_BYTES + length
    if mark != _MARK or not 0 < length <= MAX_BODY_BYTES or end > len(data):
        return None
    body = data[at + HEAD_BYTES : end]
    if _checksum(length, sequence, wall_ns, body) != crc:
        return None
    return Frame(sequence=sequence, wall_ns=wall_ns, body=body, start=at, end=end)


def find_record(data: bytes, at: int) -> Frame | None:
    """Return the first whole record that starts at ``at`` or later."""
    while (at := data.find(_MARK, at)) >= 0:
        frame = parse_record(data, at)
        if frame is not None:
            return frame
        at += 1
    return None


def whole_records(data: bytes) -> Iterator[Frame]:
    """Yield every whole record, leaving out what is damaged between them."""
    at = 0
    while (frame := parse_record(data, at) or find_record(data, at)) is not None:
        yield frame
        at = frame.end


def record_bytes(head: bytes) -> int:
    """Return how long the record with these first bytes claims to be; 0 if that is no record."""
    if len(head) < HEAD_BYTES:
        return 0
    mark, length = _HEAD.unpack_from(head)[:2]
    return HEAD_BYTES + length if mark == _MARK and length <= MAX_BODY_BYTES else 0


def _checksum(length: int, sequence: int, wall_ns: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_COVERED.pack(length, sequence, wall_ns)))


def segment_path(directory: Path, first_sequence: int) -> Path:
    """Return the file of the segment whose first record is ``first_sequence``."""
    return directory / f"{first_sequence:020d}.seg"


def list_segments(directory: Path) -> list[int]:
    """Return the first sequence of every segment, oldest first; none if there is no directory.

    Raises:
        OSError: the directory cannot be read.
    """
    try:
        names = os.listdir(directory)  # noqa: PTH208 - called ten times a second for each spool
    except FileNotFoundError:
        return []
    return sorted(int(name[:20]) for name in names if _SEGMENT_NAME.fullmatch(name))


def cursor_path(directory: Path, store: str) -> Path:
    """Return the file in which the reader for ``store`` keeps its position."""
    return directory / f"cursor.{store}"


def write_cursor(path: Path, position: Position, *, durable: bool) -> None:
    """Replace the cursor in one step; ``durable`` also waits until the disk has it.

    Raises:
        OSError: the disk is full or the directory is gone.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(json.dumps(asdict(position)).encode())
        file.flush()
        if durable:
            os.fdatasync(file.fileno())
    temporary.replace(path)


def read_cursor(path: Path) -> Position | None:
    """Return the stored position, or ``None`` if there is none or it cannot be understood."""
    try:
        stored = json.loads(path.read_bytes())
        return Position(**{name: int(stored[name]) for name in _POSITION_FIELDS})
    except (OSError, ValueError, LookupError, TypeError):
        return None


def read_cursors(directory: Path) -> list[Position | None]:
    """Return the position of every store that reads this spool, ``None`` for a damaged one.

    Raises:
        OSError: the directory cannot be read.
    """
    return [
        read_cursor(path) for path in directory.glob("cursor.*") if not path.name.endswith(".tmp")
    ]
