"""How large a spool and each of its segments may be, on the disk as it is now."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PARTS = 8
"""Bounds are kept by dropping whole segments, so a full spool has at least this many."""
_FEWEST_BYTES = 1 << 16
"""A segment is not made smaller than this because the disk is full."""
_SPARE_BYTES = 4 << 20
"""Left free on the disk, or a twentieth of a small one, for cursors and heartbeats."""


@dataclass(slots=True, kw_only=True)
class Bounds:
    """``limit_bytes`` is what all segments together may have; below ``max_bytes`` on a full disk.

    Attributes:
        segment_bytes: The most that one segment may have.
    """

    directory: Path
    max_bytes: int
    segment_bytes: int
    limit_bytes: int = 0

    def __post_init__(self) -> None:
        self.segment_bytes = max(1, min(self.segment_bytes, self.max_bytes // PARTS))
        self.limit_bytes = self.max_bytes

    def look_at_disk(self, total_bytes: int) -> None:
        """Take notice of how much is free, when the segments have ``total_bytes``.

        Raises:
            OSError: the directory is gone.
        """
        disk = os.statvfs(self.directory)
        spare_bytes = min(_SPARE_BYTES, disk.f_blocks * disk.f_frsize // 20)
        free_bytes = disk.f_bavail * disk.f_frsize - spare_bytes
        self.limit_bytes = min(self.max_bytes, max(_FEWEST_BYTES, total_bytes + free_bytes))

    @property
    def due_bytes(self) -> int:
        """How large a segment may become, so that dropping one is no great loss."""
        return min(self.segment_bytes, max(_FEWEST_BYTES, self.limit_bytes // PARTS))
