"""Keeps what a child says on its console, wherever the disk is full or not."""

import contextlib
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

_KEPT_CHUNKS: Final = 16
_CHUNK_BYTES: Final = 4096
_FILE_BYTES: Final = 1_000_000
"""A child that complains for ever must not fill the disk by that."""


class LastWords:
    """A pipe that somebody reads until it is closed; the newest bytes are kept, and in a file.

    supervisord ends if it cannot write to its standard error, and on a full disk it has much to
    write: so that is never a file.

    Attributes:
        fileno: For the child.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reader, self.fileno = os.pipe()
        self._kept: deque[bytes] = deque(maxlen=_KEPT_CHUNKS)
        self._thread = threading.Thread(target=self._read, name="last-words", daemon=True)

    def listen(self) -> None:
        """Begin to read, once the child has its end: that it closes it ends the reading."""
        os.close(self.fileno)
        with contextlib.suppress(OSError):
            self._file.write_bytes(b"")
        self._thread.start()

    def text(self) -> str:
        """Return the newest of what was said."""
        return b"".join(self._kept).decode(errors="replace")

    def _read(self) -> None:
        written_bytes = 0
        while chunk := os.read(self._reader, _CHUNK_BYTES):
            if written_bytes < _FILE_BYTES:
                written_bytes += len(chunk)
                with contextlib.suppress(OSError), self._file.open("ab") as file:
                    file.write(chunk)
            self._kept.append(chunk)
        os.close(self._reader)
