"""One owner for each collector: two processes must not poll one PLC or write one spool."""

import fcntl
import os
from pathlib import Path


class LockHeld(Exception):
    """Another instance owns this collector; stop it, or leave it be."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        """Of the owner; ``None`` if it has not written it yet."""
        super().__init__(f"held by pid {pid}")


class CollectorLock:
    """An exclusive ``flock``; the kernel releases it when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Become the owner.

        Raises:
            LockHeld: another process is.
            OSError: the file cannot be made.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(fd, 32, 0).strip()
            os.close(fd)
            raise LockHeld(int(text) if text.isdigit() else None) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        self._fd = fd

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
