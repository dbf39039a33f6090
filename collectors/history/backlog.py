"""The finished segments of a spool as its writer sees them: how large, how old, which to drop."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from collectors.history.batch import COUNT_BYTES, BatchError, count_samples
from collectors.history.segment import list_segments, read_cursors, segment_path, whole_records


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSegment:
    """A segment that gets no more records; ``written_ns`` is the wall clock of its last write."""

    first_sequence: int
    size_bytes: int
    written_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Samples that no store had read when their segment was dropped; times are of their records."""

    samples: int
    first_ns: int
    last_ns: int


class Backlog:
    """Finished segments, oldest first. The historian may remove any of them at any time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._segments: deque[FinishedSegment] = deque()
        self.size_bytes = 0

    @property
    def oldest(self) -> FinishedSegment | None:
        return self._segments[0] if self._segments else None

    def add(self, segment: FinishedSegment) -> None:
        """Take over a segment, newer than all others."""
        self._segments.append(segment)
        self.size_bytes += segment.size_bytes

    def add_file(self, first_sequence: int) -> None:
        """Take over a segment left by an earlier process, without reading it.

        Raises:
            OSError: the file cannot be examined.
        """
        found = segment_path(self._directory, first_sequence).stat()
        self.add(
            FinishedSegment(
                first_sequence=first_sequence,
                size_bytes=found.st_size,
                written_ns=found.st_mtime_ns,
            )
        )

    def forget_removed(self) -> None:
        """Notice which segments the historian has removed.

        Raises:
            OSError: the directory cannot be read.
        """
        present = set(list_segments(self._directory))
        kept = [s for s in self._segments if s.first_sequence in present]
        if len(kept) < len(self._segments):
            self._segments = deque(kept)
            self.size_bytes = sum(s.size_bytes for s in kept)

    def drop_oldest(self) -> Lost | None:
        """Delete the oldest segment; return what was lost by that, if anything.

        Raises:
            OSError: the file cannot be deleted.
        """
        segment = self._segments.popleft()
        self.size_bytes -= segment.size_bytes
        path = segment_path(self._directory, segment.first_sequence)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            data = (
                b""  # an unreadable disk block must not keep the rest of the disk from being freed
            )
        lost = _unread(data, self._read_sequence())
        path.unlink(missing_ok=True)
        return lost

    def unread_bytes(self, active_segment: int, active_bytes: int) -> int:
        """Return how much the slowest store still has to read, with the segment being written."""
        cursors = read_cursors(self._directory)
        total = self.size_bytes + active_bytes
        if not cursors or None in cursors:
            return total
        slowest = min((c for c in cursors if c is not None), key=lambda c: (c.segment, c.offset))
        passed = sum(s.size_bytes for s in self._segments if s.first_sequence < slowest.segment)
        known = {s.first_sequence for s in self._segments} | {active_segment}
        return total - passed - (slowest.offset if slowest.segment in known else 0)

    def _read_sequence(self) -> int:
        """Return the last record that every store has read; 0 if that is not known."""
        return min((c.sequence if c else 0 for c in read_cursors(self._directory)), default=0)


def _unread(data: bytes, read_sequence: int) -> Lost | None:
    samples, times_ns = 0, []
    for frame in whole_records(data):
        if frame.sequence <= read_sequence:
            continue
        try:
            samples += count_samples(frame.body[:COUNT_BYTES])
        except BatchError:
            continue
        times_ns.append(frame.wall_ns)
    if not times_ns:
        return None
    return Lost(samples=samples, first_ns=min(times_ns), last_ns=max(times_ns))
