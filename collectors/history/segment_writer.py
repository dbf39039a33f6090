"""The segment being written: whole records or nothing, and the disk told to keep them."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collectors.history.backlog import FinishedSegment
from collectors.history.columns import INLINE, PointTable
from collectors.history.losses import Loss
from collectors.history.segment import segment_path

_log = logging.getLogger(__name__)

_RECORDS_A_TABLE = 64
"""Names are written again after so many records, so that damage to them costs no more."""
_MOST_TABLES = 256
_MOST_FINISHED_FDS = 4
"""Finished files kept open for a sync; more means that nobody calls sync."""


@dataclass(slots=True, kw_only=True)
class _Named:
    """Where the segment has the names of a table, and how many records rely on that."""

    place: int
    records: int = 0


@dataclass(slots=True, kw_only=True)
class _Segment:
    fd: int
    first_sequence: int
    size_bytes: int
    started_mono: float
    last_start: int = 0
    written_mono: float
    is_inherited: bool
    content: Loss | None = None
    told: list[Loss] = field(default_factory=list)
    is_torn: bool = False
    tables: dict[PointTable, _Named] = field(default_factory=dict)


class SegmentWriter:
    """At most one open segment. Everything is for one thread, but ``sync`` for any."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._segment: _Segment | None = None
        self._finished_fds: list[int] = []
        self._lock = threading.Lock()  # sync runs in a thread that may wait for the disk
        self._has_unsynced = False
        self._sync_fails = False

    @property
    def first_sequence(self) -> int:
        return self._segment.first_sequence if self._segment else 0

    @property
    def size_bytes(self) -> int:
        return self._segment.size_bytes if self._segment else 0

    @property
    def samples(self) -> int:
        """Samples written to this segment by this process."""
        content = self._segment.content if self._segment else None
        return content.samples if content else 0

    @property
    def is_open(self) -> bool:
        return self._segment is not None

    def start(self, first_sequence: int, now_mono: float, size_bytes: int = 0) -> None:
        """Open a segment; ``size_bytes`` of it are there already.

        Raises:
            OSError: the file cannot be made.
        """
        path = segment_path(self._directory, first_sequence)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._segment = _Segment(
            fd=os.open(path, flags, 0o640),
            first_sequence=first_sequence,
            size_bytes=size_bytes,
            started_mono=now_mono,
            written_mono=now_mono,
            is_inherited=size_bytes > 0,
        )

    def is_due(self, record_bytes: int, limit_bytes: int, limit_s: float, now_mono: float) -> bool:
        """Return whether the next record belongs into a new segment."""
        segment = self._segment
        if segment is None or segment.size_bytes == 0:
            return False
        is_full = segment.size_bytes + record_bytes > limit_bytes
        return segment.is_torn or is_full or now_mono - segment.started_mono > limit_s

    def table_place(self, table: PointTable) -> int:
        """Return where in this segment the next record finds the names; ``INLINE`` if nowhere."""
        named = self._segment.tables.get(table) if self._segment else None
        if named is None or named.records >= _RECORDS_A_TABLE:
            return INLINE
        return named.place

    def note_table(self, table: PointTable, place: int) -> None:
        """Remember that the last record had the names, or else relied on those at ``place``."""
        segment = self._segment
        if segment is None:
            return
        if place == INLINE:
            if len(segment.tables) >= _MOST_TABLES:
                segment.tables.clear()
            segment.tables[table] = _Named(place=segment.last_start)
        else:
            segment.tables[table].records += 1

    def write(self, record: bytes, content: Loss, told: Sequence[Loss], now_mono: float) -> None:
        """Write ``record`` or nothing.

        Args:
            content: What would be lost with it.
            told: Losses that it tells of.

        Raises:
            OSError: the disk is full or broken; what was written of it has been cut off again.
        """
        segment = self._segment
        if segment is None:
            raise OSError("no segment is open")
        try:
            written = os.write(segment.fd, record)
            if written != len(record):
                told_bytes = f"only {written} of {len(record)} bytes fit, the disk is full"
                raise OSError(errno.ENOSPC, told_bytes)
        except OSError:
            segment.is_torn = True
            os.ftruncate(segment.fd, segment.size_bytes)
            segment.is_torn = False
            raise
        segment.last_start = segment.size_bytes
        segment.size_bytes += written
        segment.content = segment.content.joined_with(content) if segment.content else content
        segment.told += told
        segment.written_mono = now_mono
        self._has_unsynced = True

    def finish(self) -> FinishedSegment | None:
        """End the segment; return it unless it is empty and so of no interest to anybody."""
        with self._lock:
            segment, self._segment = self._segment, None
            if segment is None:
                return None
            self._finished_fds.append(segment.fd)
            if len(self._finished_fds) > _MOST_FINISHED_FDS:
                os.close(self._finished_fds.pop(0))
        if segment.size_bytes == 0:
            return None
        return FinishedSegment(
            first_sequence=segment.first_sequence,
            size_bytes=segment.size_bytes,
            written_mono=segment.written_mono,
            content=None if segment.is_inherited else segment.content,
            told=tuple(segment.told),
        )

    def sync(self) -> None:
        """Wait until the disk has everything that was written; log if it does not confirm that."""
        if not self._has_unsynced:
            return
        self._has_unsynced = False
        failure: OSError | None = None
        with self._lock:
            fds, self._finished_fds = self._finished_fds, []
            try:
                fds += [os.dup(self._segment.fd)] if self._segment else []
            except OSError as exc:
                failure = exc
        try:
            fds.append(os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as exc:
            failure = exc
        for fd in fds:
            failure = _sync_and_close(fd) or failure
        if (failure is not None) is not self._sync_fails:
            self._sync_fails = failure is not None
            facts = {"directory": str(self._directory), "reason": str(failure)}
            _log.log(
                logging.ERROR if failure else logging.INFO,
                "disk does not confirm writes" if failure else "disk confirms writes again",
                extra=facts,
            )


def _sync_and_close(fd: int) -> OSError | None:
    try:
        os.fdatasync(fd)
    except OSError as exc:
        return exc
    finally:
        os.close(fd)
    return None
