"""The collector's own queue on disk: acquisition never waits for a store.

When :meth:`SpoolWriter.put` has returned, the samples survive the death of the process, as they are
in the kernel's hands. A power cut can cost what was put since the last ``sync_if_due``, so at most
about a second. The queue is bounded in bytes and in age: the oldest segments go first, and every
lost sample is counted.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from collectors.contract.columns import Columns, columns_of
from collectors.contract.heartbeat import SpoolStatus
from collectors.contract.points import Sample
from collectors.history.backlog import Backlog, Lost
from collectors.history.encoder import Block, Encoder
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

_log = logging.getLogger(__name__)

SEGMENT_BYTES = 8 << 20
SYNC_INTERVAL_S = 1.0
NOT_STORED = 0
"""What :meth:`SpoolWriter.put` returns for samples that could not be kept; they are counted."""

_PARTS = 8
"""Bounds are kept by dropping whole segments, so a full spool has at least this many."""
_REOPEN_S = 1.0
_CHECK_AGE_S = 1.0


class SpoolWriter:
    """Writes one collector's samples below ``directory``; one process at a time may do so.

    Nothing here raises because of the disk: what cannot be kept is counted, logged once and
    tried again. All methods belong to one thread, only ``sync_if_due`` may run in another.

    Args:
        max_bytes: All segments together never exceed this.
        max_age_s: A segment is dropped once its last record is older, by the wall clock.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        max_age_s: float,
        segment_bytes: int = SEGMENT_BYTES,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._segment_bytes = max(1, min(segment_bytes, max_bytes // _PARTS))
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._backlog = Backlog(directory)
        self._segment = SegmentWriter(directory)
        self._next_sequence = 1
        self._samples_in = 0
        self._samples_dropped = 0
        self._encoder = Encoder()
        self._failure: _Failure | None = None
        self._is_open = False
        now_mono = monotonic()
        self._next_open_mono = now_mono
        self._next_age_check_mono = now_mono
        self._synced_mono = now_mono
        self.damaged_tail_bytes = 0
        """Bytes cut off the newest segment when it was opened: a torn or damaged last write."""
        try:
            self._open()
        except OSError as exc:
            self._failed(exc, 0)

    def put(self, samples: Sequence[Sample]) -> int:
        """Append one record, as :meth:`put_columns` does."""
        return self.put_columns(columns_of(samples))

    def put_columns(self, columns: Columns, kept: Sequence[int] | None = None) -> int:
        """Append one record; return its sequence, or ``NOT_STORED``.

        Args:
            kept: Only the readings at these positions, the others are not worth storing.

        A reading whose value, code or time does not fit 64 bits, or whose text is not Unicode, is
        left out and counted. Costs least if a whole poll group has the same ``points`` object each
        time; some 50 ns a reading.
        """
        samples = len(columns) if kept is None else len(kept)
        self._samples_in += samples
        found = self._encoder.encode(columns, kept)
        self._samples_dropped += samples - (found.samples if found else 0)
        if found is None:
            return NOT_STORED
        try:
            sequence = self._append(found)
        except OSError as exc:
            self._failed(exc, found.samples)
            return NOT_STORED
        self._recovered()
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
            self._failed(exc, 0)
            backlog_bytes = self._total_bytes()
        return SpoolStatus(
            samples_in=self._samples_in,
            samples_dropped=self._samples_dropped,
            backlog_bytes=backlog_bytes,
            last_sequence=self._next_sequence - 1,
        )

    def close(self) -> None:
        """Have the disk keep everything and let go of the files."""
        self._segment.finish(self._wall_ns())
        self._segment.sync()
        self._is_open = False

    def _append(self, block: Block) -> int:
        most_bytes = HEAD_BYTES + block.most_bytes
        if most_bytes > min(MAX_BODY_BYTES, self._max_bytes):
            raise OSError(f"a record of {most_bytes} bytes is larger than the spool may be")
        now_mono, now_ns = self._monotonic(), self._wall_ns()
        if not self._is_open:
            self._reopen(now_mono)
        # Only whole segments are dropped or removed, so a slow collector must end them by age.
        segment_age_s = self._max_age_s / _PARTS
        if self._segment.is_due(most_bytes, self._segment_bytes, segment_age_s, now_mono):
            self._finish_segment()
        self._keep_bounds(most_bytes, now_mono, now_ns)
        sequence = self._next_sequence
        if not self._segment.is_open:
            self._segment.start(sequence, now_mono)
        place = self._segment.table_place(block.table)
        record = pack_record(sequence, now_ns, block.body(place))
        self._segment.write(record, block.samples, now_ns)
        self._segment.note_table(block.table, place)
        self._next_sequence = sequence + 1
        return sequence

    def _open(self) -> None:
        """Take up the segments of an earlier process; read only the newest.

        Raises:
            OSError: the directory cannot be made or read.
        """
        self._segment.finish(self._wall_ns())
        self._backlog = Backlog(self._directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        firsts = list_segments(self._directory)
        for first in firsts[:-1]:
            self._backlog.add_file(first)
        if firsts:
            self._take_up_newest(firsts[-1])
        # After a power cut a cursor can be ahead of the data. A sequence it has passed must not be
        # given again, and its offset means nothing in a segment that has become shorter.
        ahead = max((c.sequence for c in read_cursors(self._directory) if c), default=0)
        if ahead >= self._next_sequence:
            self._next_sequence = ahead + 1
            self._finish_segment()
        self._is_open = True

    def _take_up_newest(self, first: int) -> None:
        """Cut off what is damaged behind the last whole record and continue there."""
        path = segment_path(self._directory, first)
        try:
            data = path.read_bytes()
        except OSError as exc:
            # No segment holds more records than bytes, so this number is free for the next one.
            self._next_sequence = max(self._next_sequence, first + path.stat().st_size + 1)
            self._backlog.add_file(first)
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
        self._samples_dropped += self._segment.samples
        facts = {"directory": str(self._directory), "samples": self._segment.samples}
        _log.error("the segment being written has been deleted", extra=facts)
        self._segment.finish(self._wall_ns())
        self._is_open = False

    def _finish_segment(self) -> None:
        finished = self._segment.finish(self._wall_ns())
        if finished is not None:
            self._backlog.add(finished)

    def _keep_bounds(self, record_bytes: int, now_mono: float, now_ns: int) -> None:
        """Drop oldest segments until the next record fits and none is too old."""
        if now_mono >= self._next_age_check_mono:
            self._next_age_check_mono = now_mono + _CHECK_AGE_S
            oldest_allowed_ns = now_ns - int(self._max_age_s * 1e9)
            while (oldest := self._backlog.oldest) and oldest.written_ns < oldest_allowed_ns:
                self._dropped(self._backlog.drop_oldest(), "age")
        if self._total_bytes() + record_bytes > self._max_bytes:
            self._backlog.forget_removed()
        while self._backlog.oldest and self._total_bytes() + record_bytes > self._max_bytes:
            self._dropped(self._backlog.drop_oldest(), "size")

    def _total_bytes(self) -> int:
        return self._backlog.size_bytes + self._segment.size_bytes

    def _dropped(self, lost: Lost | None, bound: str) -> None:
        if lost is None:
            return
        self._samples_dropped += lost.samples
        facts = {
            "bound": bound,
            "samples": lost.samples,
            "from": _utc(lost.first_ns),
            "to": _utc(lost.last_ns),
        }
        _log.error("spool is full; dropped its oldest samples", extra=facts)

    def _failed(self, exc: OSError, samples: int) -> None:
        self._samples_dropped += samples
        if self._failure is None:
            self._failure = _Failure(started_mono=self._monotonic(), started_ns=self._wall_ns())
            facts = {"directory": str(self._directory), "reason": str(exc)}
            _log.error("spool cannot be written; samples are lost", extra=facts)
        self._failure.samples += samples

    def _recovered(self) -> None:
        failure, self._failure = self._failure, None
        if failure is None:
            return
        facts = {
            "samples": failure.samples,
            "from": _utc(failure.started_ns),
            "to": _utc(self._wall_ns()),
            "duration_s": round(self._monotonic() - failure.started_mono, 1),
        }
        _log.info("spool can be written again", extra=facts)


@dataclass(slots=True, kw_only=True)
class _Failure:
    """A time in which nothing could be written."""

    started_mono: float
    started_ns: int
    samples: int = 0


def _utc(wall_ns: int) -> str:
    at = datetime.fromtimestamp(wall_ns / 1e9, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
