"""The collector's own queue on disk: acquisition never waits for a store.

When :meth:`SpoolWriter.put` has returned, the samples survive the death of the process, as they are
in the kernel's hands. A power cut can cost what was put since the last ``sync_if_due``, so at most
about a second. The queue is bounded in bytes and in age: the oldest segments go first, or else, if
it is to keep what it has, the newest samples are refused. Every lost sample is counted, and the
spool tells its readers of it. On a disk that others fill, the queue is as small as it must be.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from collectors.contract.columns import Columns, columns_of
from collectors.contract.heartbeat import SpoolStatus
from collectors.contract.points import Sample
from collectors.history.backlog import Backlog
from collectors.history.clocks import SYSTEM, Clocks
from collectors.history.encoder import Block, Encoder
from collectors.history.losses import AGE, DISK, FULL, SIZE, VALUE, Loss, Losses, with_losses
from collectors.history.segment import (
    HEAD_BYTES,
    MAX_BODY_BYTES,
    list_segments,
    pack_record,
    read_cursors,
    segment_path,
    whole_records,
)
from collectors.history.segment_writer import SegmentWriter
from collectors.history.spool_bounds import PARTS, Bounds

_log = logging.getLogger(__name__)

SEGMENT_BYTES = 8 << 20
SYNC_INTERVAL_S = 1.0
NOT_STORED = 0
"""What :meth:`SpoolWriter.put` returns for samples that could not be kept; they are counted."""

_LOSSES_BYTES = 512
_REOPEN_S = 1.0
_CHECK_AGE_S = 1.0


class _SpoolFull(OSError):
    """The spool is full and must keep what it has; a store that reads it makes room."""


class SpoolWriter:
    """Writes one collector's samples below ``directory``; one process at a time may do so.

    Nothing here raises because of the disk: what cannot be kept is counted, logged once and
    tried again. All methods belong to one thread, only ``sync_if_due`` may run in another.

    Args:
        max_bytes: All segments together never exceed this.
        max_age_s: A segment is dropped once its last record is older.
        keeps_oldest: At ``max_bytes``, or on a full disk, refuse what is new; see ``is_full``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        max_age_s: float,
        keeps_oldest: bool = False,
        segment_bytes: int = SEGMENT_BYTES,
        clocks: Clocks = SYSTEM,
    ) -> None:
        self._directory = directory
        self._max_age_s = max_age_s
        self._keeps_oldest = keeps_oldest
        self._wall_ns, self._monotonic = clocks.wall_ns, clocks.monotonic
        self._bounds = Bounds(directory=directory, max_bytes=max_bytes, segment_bytes=segment_bytes)
        self._backlog = Backlog(directory)
        self._segment = SegmentWriter(directory)
        self._next_sequence = 1
        self._samples_in = 0
        self._encoder = Encoder()
        self._losses = Losses({"directory": str(directory)}, clocks)
        self._is_open = False
        now_mono = clocks.monotonic()
        self._next_open_mono = now_mono
        self._next_age_check_mono = now_mono
        self._synced_mono = now_mono
        self.is_full = False
        """The newest put was refused, as ``keeps_oldest`` asks: better pause acquisition."""
        self.damaged_tail_bytes = 0
        """Bytes cut off the newest segment when it was opened: a torn or damaged last write."""
        try:
            self._open()
        except OSError as exc:
            self._losses.failed(exc, DISK, 0)

    def put(self, samples: Sequence[Sample]) -> int:
        """Append one record, as :meth:`put_columns` does."""
        return self.put_columns(columns_of(samples))

    def put_columns(self, columns: Columns, kept: Sequence[int] | None = None) -> int:
        """Append one record; return its sequence, or ``NOT_STORED``.

        A reading whose value, code or time does not fit 64 bits, or whose text is not Unicode, is
        left out and counted. Costs some 50 ns a reading if ``points`` is the same object each time.

        Args:
            kept: Only the readings at these positions, the others are not worth storing.
        """
        samples = len(columns) if kept is None else len(kept)
        self._samples_in += samples
        found = self._encoder.encode(columns, kept)
        refused = samples - (found.samples if found else 0)
        if refused:
            self._losses.add(VALUE, refused)
        if found is None:
            return NOT_STORED
        try:
            sequence = self._append(found)
        except OSError as exc:
            self.is_full = isinstance(exc, _SpoolFull)
            self._losses.failed(exc, FULL if self.is_full else DISK, found.samples)
            return NOT_STORED
        self.is_full = False
        self._losses.recovered()
        return sequence

    def sync_if_due(self) -> None:
        """Have the disk keep what was put, at most once a second. May run in another thread."""
        now_mono = self._monotonic()
        if now_mono - self._synced_mono >= SYNC_INTERVAL_S:
            self._synced_mono = now_mono
            self._segment.sync()

    def status(self) -> SpoolStatus:
        """Return the counters for the heartbeat; notice what others did to the directory."""
        segment = self._segment
        try:
            if (
                segment.is_open
                and not segment_path(self._directory, segment.first_sequence).exists()
            ):
                self._segment_was_removed()
            self._backlog.forget_removed()
            backlog_bytes = self._backlog.unread_bytes(segment.first_sequence, segment.size_bytes)
        except OSError as exc:
            self._losses.failed(exc, DISK, 0)
            backlog_bytes = self._total_bytes()
        return SpoolStatus(
            samples_in=self._samples_in,
            samples_dropped=self._losses.samples,
            backlog_bytes=backlog_bytes,
            last_sequence=self._next_sequence - 1,
        )

    def close(self) -> None:
        """Have the disk keep everything and let go of the files."""
        self._segment.finish()
        self._segment.sync()
        self._is_open = False

    def _append(self, block: Block) -> int:
        most_bytes = HEAD_BYTES + block.most_bytes
        if most_bytes > min(MAX_BODY_BYTES, self._bounds.max_bytes):
            raise OSError(f"a record of {most_bytes} bytes is larger than the spool may be")
        now_mono, now_ns = self._monotonic(), self._wall_ns()
        if not self._is_open:
            self._reopen(now_mono)
        # Only whole segments are dropped or removed, so a slow collector must end them by age.
        segment_age_s = self._max_age_s / PARTS
        if self._segment.is_due(most_bytes, self._bounds.due_bytes, segment_age_s, now_mono):
            self._finish_segment()
        self._drop_aged(now_mono)
        while True:
            self._make_room(most_bytes + _LOSSES_BYTES)
            try:
                return self._write(block, now_mono, now_ns)
            except OSError as exc:
                if exc.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._free_disk():
                    raise

    def _write(self, block: Block, now_mono: float, now_ns: int) -> int:
        sequence = self._next_sequence
        if not self._segment.is_open:
            self._segment.start(sequence, now_mono)
        place = self._segment.table_place(block.table)
        body, losses = block.body(place), self._losses.untold()
        body = with_losses(body, losses) if losses else body
        content = Loss(reason=SIZE, samples=block.samples, first_ns=now_ns, last_ns=now_ns)
        self._segment.write(pack_record(sequence, now_ns, body), content, losses, now_mono)
        self._segment.note_table(block.table, place)
        self._losses.told()
        self._next_sequence = sequence + 1
        return sequence

    def _open(self) -> None:
        """Take up the segments of an earlier process; read only the newest.

        Raises:
            OSError: the directory cannot be made or read.
        """
        self._segment.finish()
        self._backlog = Backlog(self._directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        firsts = list_segments(self._directory)
        now_ns, now_mono = self._wall_ns(), self._monotonic()
        for first in firsts[:-1]:
            self._backlog.add_file(first, now_ns, now_mono)
        if firsts:
            self._take_up_newest(firsts[-1])
        # After a power cut a cursor can be ahead of the data. A sequence it has passed must not be
        # given again, and its offset means nothing in a segment that has become shorter.
        ahead = max((c.sequence for c in read_cursors(self._directory) if c), default=0)
        if ahead >= self._next_sequence:
            self._next_sequence = ahead + 1
            self._finish_segment()
        self._bounds.look_at_disk(self._total_bytes())
        self._is_open = True

    def _take_up_newest(self, first: int) -> None:
        """Cut off what is damaged behind the last whole record and continue there."""
        path = segment_path(self._directory, first)
        try:
            data = path.read_bytes()
        except OSError as exc:
            # No segment holds more records than bytes, so this number is free for the next one.
            self._next_sequence = max(self._next_sequence, first + path.stat().st_size + 1)
            self._backlog.add_file(first, self._wall_ns(), self._monotonic())
            _log.error("newest segment cannot be read; left as it is", extra={"reason": str(exc)})
            return
        end, last = 0, first - 1
        for frame in whole_records(data):
            end, last = frame.end, max(last, frame.sequence)
        self.damaged_tail_bytes = len(data) - end
        if self.damaged_tail_bytes:
            os.truncate(path, end)
            facts = {"segment": path.name, "damaged_bytes": self.damaged_tail_bytes}
            _log.warning("cut a damaged tail off the newest segment", extra=facts)
        self._next_sequence = max(self._next_sequence, last + 1)
        self._segment.start(first, self._monotonic(), end)

    def _reopen(self, now_mono: float) -> None:
        if now_mono < self._next_open_mono:
            raise OSError("the spool directory could not be opened a moment ago")
        self._next_open_mono = now_mono + _REOPEN_S
        self._open()

    def _segment_was_removed(self) -> None:
        """Start over after somebody else has deleted the file that is being written."""
        self._losses.deleted(self._segment.samples)
        self._segment.finish()
        self._is_open = False

    def _finish_segment(self) -> None:
        finished = self._segment.finish()
        if finished is not None:
            self._backlog.add(finished)
        self._bounds.look_at_disk(self._total_bytes())

    def _drop_aged(self, now_mono: float) -> None:
        if now_mono < self._next_age_check_mono:
            return
        self._next_age_check_mono = now_mono + _CHECK_AGE_S
        while (oldest := self._backlog.oldest) and now_mono - oldest.written_mono > self._max_age_s:
            self._drop_oldest(AGE)

    def _make_room(self, record_bytes: int) -> None:
        """Drop oldest segments until the next record fits.

        Raises:
            _SpoolFull: it does not, and the oldest must be kept.
        """
        if self._fits(record_bytes):
            return
        self._backlog.forget_removed()
        while self._backlog.oldest and not self._fits(record_bytes):
            if self._keeps_oldest:
                self._bounds.look_at_disk(self._total_bytes())
                raise _SpoolFull(f"the spool is full at {self._bounds.limit_bytes} bytes")
            self._drop_oldest(SIZE)

    def _fits(self, record_bytes: int) -> bool:
        return self._total_bytes() + record_bytes <= self._bounds.limit_bytes

    def _free_disk(self) -> bool:
        """Give a segment back to a full disk; return whether there was one to give."""
        if self._keeps_oldest:
            raise _SpoolFull("the disk is full")
        self._backlog.forget_removed()
        if self._backlog.oldest is None:
            self._finish_segment()
        if self._backlog.oldest is None:
            return False
        self._drop_oldest(SIZE)
        return True

    def _drop_oldest(self, reason: str) -> None:
        lost, untold = self._backlog.drop_oldest(reason)
        self._losses.carry(untold)
        if lost is not None:
            self._losses.dropped(lost)

    def _total_bytes(self) -> int:
        return self._backlog.size_bytes + self._segment.size_bytes
