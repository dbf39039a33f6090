"""The finished segments of a spool as its writer sees them: how large, how old, which to drop."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from collectors.history.batch import BatchError, count_samples
from collectors.history.losses import Loss, split_losses
from collectors.history.segment import list_segments, read_cursors, segment_path, whole_records


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSegment:
    """A segment that gets no more records.

    Attributes:
        written_mono: When it was last written, by the monotonic clock of this process, which no
            step of the wall clock makes older.
        content: What is in it, if this process has written all of it.
        told: Losses that its records tell of; known with ``content`` only.
    """

    first_sequence: int
    size_bytes: int
    written_mono: float
    content: Loss | None = None
    told: tuple[Loss, ...] = ()


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

    def add_file(self, first_sequence: int, now_ns: int, now_mono: float) -> None:
        """Take over a segment left by an earlier process, without reading it.

        Raises:
            OSError: the file cannot be examined.
        """
        found = segment_path(self._directory, first_sequence).stat()
        age_s = max(0.0, (now_ns - found.st_mtime_ns) / 1e9)
        self.add(
            FinishedSegment(
                first_sequence=first_sequence,
                size_bytes=found.st_size,
                written_mono=now_mono - age_s,
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

    def drop_oldest(self, reason: str) -> tuple[Loss | None, tuple[Loss, ...]]:
        """Delete the oldest segment; return what is lost by that, and which losses are untold now.

        Raises:
            OSError: the file cannot be deleted.
        """
        segment = self._segments.popleft()
        self.size_bytes -= segment.size_bytes
        path = segment_path(self._directory, segment.first_sequence)
        read_sequence = self._read_sequence()
        content, told = segment.content, segment.told
        if not path.exists():
            return None, ()
        if content is None or read_sequence >= segment.first_sequence:
            content, told = _unread(path, read_sequence)
        path.unlink(missing_ok=True)
        if content is None:
            return None, told
        lost = Loss(
            reason=reason,
            samples=content.samples,
            first_ns=content.first_ns,
            last_ns=content.last_ns,
        )
        return lost, told

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


def _unread(path: Path, read_sequence: int) -> tuple[Loss | None, tuple[Loss, ...]]:
    try:
        data = path.read_bytes()
    except OSError:
        data = b""  # an unreadable disk block must not keep the rest of the disk from being freed
    content: Loss | None = None
    told: list[Loss] = []
    for frame in whole_records(data):
        if frame.sequence <= read_sequence:
            continue
        try:
            losses, body = split_losses(frame.body)
            samples = count_samples(body)
        except (BatchError, ValueError):
            continue
        told += losses
        found = Loss(reason="", samples=samples, first_ns=frame.wall_ns, last_ns=frame.wall_ns)
        content = content.joined_with(found) if content else found
    return content, tuple(told)
