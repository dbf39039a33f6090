"""Tells the newest record of a spool, whoever has read it or not."""

from __future__ import annotations

import os
from pathlib import Path

from collectors.history.segment import find_record, list_segments, parse_record, segment_path

_CHUNK_BYTES = 1 << 20


class SpoolTail:
    """Follows the end of the newest segment; for one thread. The first look reads that segment."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._segment = 0
        self._offset = 0
        self._newest = 0

    def newest(self) -> int:
        """Return the sequence of the newest whole record; 0 if there was none ever.

        Raises:
            OSError: the spool cannot be read now.
        """
        segments = list_segments(self._directory)
        if segments and segments[-1] != self._segment:
            self._segment, self._offset = segments[-1], 0
            # The name says what came before, also if this segment is empty yet.
            self._newest = segments[-1] - 1
        if segments:
            self._follow()
        return self._newest

    def _follow(self) -> None:
        try:
            fd = os.open(segment_path(self._directory, self._segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            while self._pass(os.pread(fd, _CHUNK_BYTES, self._offset)):
                pass
            # A record larger than a chunk, or the end.
            self._pass(os.pread(fd, max(0, os.fstat(fd).st_size - self._offset), self._offset))
        finally:
            os.close(fd)

    def _pass(self, data: bytes) -> bool:
        """Go behind all whole records in ``data``; return whether there was any."""
        at = 0
        while frame := parse_record(data, at) or find_record(data, at):
            at = frame.end
            self._newest = frame.sequence
        self._offset += at
        return at > 0
