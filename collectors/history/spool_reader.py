"""Reads one spool for one store, in order, from where that store stopped.

A reader never writes to segments. It may meet a record that is being written (it waits), a record
or a whole segment that is damaged (it counts and goes on), and a segment that the writer dropped
before it was read (it counts the gap and goes on with the oldest).
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from collectors.history.batch import (
    Batch,
    BatchError,
    decode,
)
from collectors.history.losses import Loss, split_losses
from collectors.history.segment import (
    Frame,
    Position,
    cursor_path,
    find_record,
    list_segments,
    parse_record,
    read_cursor,
    read_cursors,
    record_bytes,
    segment_path,
    write_cursor,
)
from collectors.history.spool_tables import SegmentTables, read_at

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_MOST_SAMPLES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One ``put`` of the writer.

    Attributes:
        wall_ns: When it was put, ns since the Unix epoch.
        end: Commit this once the record is stored.
        losses: Samples that the writer could not keep, told here for the first time.
    """

    sequence: int
    wall_ns: int
    batch: Batch
    end: Position
    losses: tuple[Loss, ...] = ()


class SpoolReader:
    """The only reader of ``directory`` for ``store``; for one thread. Opening reads no backlog."""

    def __init__(self, directory: Path, store: str) -> None:
        self._directory = directory
        self._cursor_path = cursor_path(directory, store)
        self._committed = read_cursor(self._cursor_path)
        self._at = self._committed
        self._fd: int | None = None
        self._chunk = b""
        self._chunk_offset = 0
        self._examined: tuple[int, int] | None = None
        self._reported_segment = 0
        self._final_bytes: dict[int, int] = {}
        self._tables = SegmentTables()
        self.corrupt_records = 0
        """Damaged places skipped; how many records each held cannot be known."""
        self.gaps = 0
        self.missing_records = 0
        """Records in all gaps together: dropped by the writer before they were read."""
        if self._committed is None and self._cursor_path.exists():
            facts = {"cursor": str(self._cursor_path)}
            _log.error("cursor is damaged; reading the whole spool again", extra=facts)

    def read(self, max_records: int, *, max_samples: int = _MOST_SAMPLES) -> list[Record]:
        """Return the next records, none if all are read; never waits.

        The record that reaches ``max_samples`` is the last, so a larger one still gets through.

        Raises:
            OSError: the spool cannot be read; nothing was skipped, so call again later.
        """
        records: list[Record] = []
        samples = 0
        while len(records) < max_records and samples < max_samples:
            try:
                frame = self._peek()
            except OSError:
                if records:
                    break
                raise
            if frame is None:
                break
            end = self._consume(frame)
            try:
                losses, body = split_losses(frame.body)
                batch = decode(body, self._names(frame, body, end))
            except ValueError as exc:
                self._skipped(str(exc))
                continue
            samples += len(batch)
            records.append(
                Record(
                    sequence=frame.sequence,
                    wall_ns=frame.wall_ns,
                    batch=batch,
                    end=end,
                    losses=losses,
                )
            )
        return records

    def commit(self, position: Position) -> None:
        """Remember for the next process that everything up to ``position`` is stored.

        Segments that every store has behind it are removed.

        Raises:
            OSError: the cursor cannot be written.
        """
        if position == self._committed:
            return
        # Only what the disk knows to be read may be removed.
        is_new_segment = self._committed is None or position.segment != self._committed.segment
        write_cursor(self._cursor_path, position, durable=is_new_segment)
        self._committed = position
        if is_new_segment:
            self._remove_finished()

    @property
    def position(self) -> Position | None:
        """What is behind this reader; ``None`` if it has not found anything yet."""
        return self._at

    def seek(self, position: Position | None) -> None:
        """Go on behind ``position``; ``None`` is the oldest record. Commits nothing."""
        self.close()
        self._at = position

    def backlog_bytes(self) -> int:
        """Return how much there is still to read.

        Raises:
            OSError: the spool cannot be read.
        """
        at = self._at
        firsts = [f for f in list_segments(self._directory) if at is None or f >= at.segment]
        known = self._final_bytes
        sizes = {f: known.get(f) or _size_bytes(segment_path(self._directory, f)) for f in firsts}
        self._final_bytes = {f: sizes[f] for f in firsts[:-1]}
        done = min(at.offset, sizes.get(at.segment, 0)) if at is not None else 0
        return sum(sizes.values()) - done

    def oldest_unread_wall_ns(self) -> int | None:
        """Return when the next record was put, or ``None`` if there is none.

        Raises:
            OSError: the spool cannot be read.
        """
        frame = self._peek()
        return None if frame is None else frame.wall_ns

    def close(self) -> None:
        """Let go of the segment; reading may go on later."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._chunk, self._chunk_offset, self._examined = None, b"", 0, None
        self._tables = SegmentTables()

    def _consume(self, frame: Frame) -> Position:
        self._at = Position(
            segment=self._at.segment if self._at else 0,
            offset=self._chunk_offset + frame.end,
            sequence=frame.sequence,
        )
        return self._at

    def _names(self, frame: Frame, body: bytes, end: Position) -> tuple[str, ...]:
        if self._fd is None:
            raise BatchError("the segment is gone")
        return self._tables.table(self._fd, end.offset - (frame.end - frame.start), body)

    def _peek(self) -> Frame | None:
        """Return the next record without passing it; step over damage and into later segments."""
        while True:
            opened = self._opened()
            if opened is None:
                return None
            fd, at = opened
            frame = parse_record(self._chunk, at.offset - self._chunk_offset)
            frame = frame or self._refill(fd, at.offset)
            if frame is not None:
                return frame
            if not self._step_over(fd, at):
                return None

    def _opened(self) -> tuple[int, Position] | None:
        """Return the segment being read and the place in it, or ``None`` if there is none yet."""
        while self._fd is None:
            if self._at is None and not self._go_on_with(list_segments(self._directory)):
                return None
            at = self._at
            if at is None:
                return None
            try:
                path = segment_path(self._directory, at.segment)
                self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                if not self._go_on_with(self._later_than(at)):
                    return None
        return None if self._at is None else (self._fd, self._at)

    def _refill(self, fd: int, offset: int) -> Frame | None:
        self._chunk = read_at(fd, _CHUNK_BYTES, offset)
        self._chunk_offset = offset
        if len(self._chunk) == _CHUNK_BYTES < record_bytes(self._chunk):
            self._chunk = read_at(fd, record_bytes(self._chunk), offset)
        return parse_record(self._chunk, 0)

    def _step_over(self, fd: int, at: Position) -> bool:
        """Pass what is no record; return False if the writer must first go on."""
        # A segment is complete once a later one exists, so look for that before looking again.
        later = self._later_than(at)
        if self._refill(fd, at.offset) is not None:
            return True
        size_bytes = os.fstat(fd).st_size
        if size_bytes > at.offset:
            if self._examined == (at.offset, size_bytes) and not later:
                return False
            self._examined = (at.offset, size_bytes)
            found = find_record(read_at(fd, size_bytes - at.offset, at.offset), 1)
            if found is not None:
                self._at = replace(at, offset=at.offset + found.start)
                self._skipped(f"{found.start} damaged bytes at {at.offset}")
                return True
            if later:
                self._skipped(f"{size_bytes - at.offset} damaged bytes at the end")
                self._at = replace(at, sequence=later[0] - 1)
        return self._go_on_with(later)

    def _later_than(self, at: Position) -> list[int]:
        firsts = list_segments(self._directory)
        later = [first for first in firsts if first > at.segment]
        # Without our segment and without later ones, the spool was deleted and begun again.
        return later if later or at.segment in firsts else firsts

    def _go_on_with(self, firsts: list[int]) -> bool:
        """Go to the first of these segments; count what is missing before it."""
        if not firsts:
            return False
        if self._at is not None and firsts[0] > self._at.sequence + 1:
            missing = firsts[0] - self._at.sequence - 1
            self.gaps += 1
            self.missing_records += missing
            facts = {"directory": str(self._directory), "missing_records": missing}
            _log.error("records were dropped before they were stored", extra=facts)
        self.close()
        self._at = Position(segment=firsts[0], offset=0, sequence=firsts[0] - 1)
        return True

    def _skipped(self, reason: str) -> None:
        self.corrupt_records += 1
        if self._at is not None and self._at.segment != self._reported_segment:
            self._reported_segment = self._at.segment
            path = segment_path(self._directory, self._at.segment)
            _log.error("damaged records skipped", extra={"segment": str(path), "reason": reason})

    def _remove_finished(self) -> None:
        cursors = read_cursors(self._directory)
        if None in cursors:
            return
        slowest = min((cursor.segment for cursor in cursors if cursor), default=0)
        for first in list_segments(self._directory)[:-1]:
            if first < slowest:
                segment_path(self._directory, first).unlink(missing_ok=True)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
