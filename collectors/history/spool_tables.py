"""Finds the names of the points of a record, which an earlier record of its segment may have."""

from __future__ import annotations

import errno
import os

from collectors.history.batch import BatchError, TableReference, table_in, table_reference
from collectors.history.losses import split_losses
from collectors.history.segment import HEAD_BYTES, parse_record, record_bytes


class SegmentTables:
    """The names met so far in one segment."""

    def __init__(self) -> None:
        self._tables: dict[int, tuple[str, ...]] = {}

    def table(self, fd: int, start: int, body: bytes) -> tuple[str, ...]:
        """Return the names for the record that starts at ``start`` of the segment ``fd``.

        Raises:
            ValueError: they are damaged.
        """
        reference = table_reference(body)
        if reference.place is None:
            table = self._tables[start] = table_in(body)
            return table
        if reference.place not in self._tables:
            self._tables[reference.place] = _table_at(fd, reference.place, reference)
        return self._tables[reference.place]


def _table_at(fd: int, place: int, reference: TableReference) -> tuple[str, ...]:
    head = read_at(fd, HEAD_BYTES, place)
    frame = parse_record(read_at(fd, record_bytes(head), place), 0)
    body = split_losses(frame.body)[1] if frame is not None else b""
    if table_reference(body).checksum != reference.checksum:
        raise BatchError("the record with the names of the points is damaged")
    return table_in(body)


def read_at(fd: int, size_bytes: int, offset: int) -> bytes:
    """Read; a broken disk block is damage like any other, so it reads as nothing."""
    try:
        return os.pread(fd, size_bytes, offset)
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        return b""
