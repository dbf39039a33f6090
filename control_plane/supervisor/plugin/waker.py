"""Ends the sleep of supervisord's loop when something has happened.

The loop sleeps in ``poll(1 s)``. SIGCHLD does not end that sleep (PEP 475), and what follows a
death (the restart, the next group of an ordered shutdown) waits for one more turn of the loop.
"""

import contextlib
import os
import signal

from supervisor.medusa import asyncore_25 as asyncore


class Waker:
    """A pipe that the loop polls like any of its dispatchers."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def arm(self) -> None:
        """Let every signal and every :meth:`wake` end the sleep; the first time at once."""
        asyncore.socket_map[self._read_fd] = self
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self.wake()

    def disarm(self) -> None:
        """Undo :meth:`arm`; supervisord's restart may have closed the descriptors already."""
        asyncore.socket_map.pop(self._read_fd, None)
        signal.set_wakeup_fd(-1)

    def wake(self) -> None:
        """Have the loop take one more turn as soon as this one ends."""
        with contextlib.suppress(OSError):  # Full means that it is about to wake up anyway.
            os.write(self._write_fd, b"\0")

    # What supervisord's loop asks of a dispatcher.

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read_fd, 4096):
                pass

    def handle_write_event(self) -> None:
        pass

    def handle_error(self) -> None:
        self.disarm()
