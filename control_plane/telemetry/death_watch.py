"""Waits until a watched process dies, somebody calls, or time is up."""

import os
import select


class DeathWatch:
    """Watches children of others through pidfds (pidfd_open(2)); one thread waits, any may wake.

    supervisord reports a death only when its own loop gets to it; the kernel reports it at once.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._fds: dict[int, int] = {}
        self._dead: set[int] = set()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake_fd, select.POLLIN)

    def watch(self, pids: set[int]) -> None:
        """Watch exactly ``pids``; those that already died are reported by :meth:`died`."""
        for pid in set(self._fds) - pids:
            self._drop(pid)
        self._dead &= pids
        for pid in pids - set(self._fds) - self._dead:
            try:
                self._fds[pid] = os.pidfd_open(pid)
            except OSError:
                self._dead.add(pid)
                continue
            self._poll.register(self._fds[pid], select.POLLIN)

    def died(self) -> set[int]:
        """Return the watched pids that are known to have ended."""
        return set(self._dead)

    def wait(self, timeout_s: float) -> None:
        """Return at the first death, at :meth:`wake`, or after ``timeout_s``."""
        ready = {fd for fd, _ in self._poll.poll(max(0.0, timeout_s) * 1000)}
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        for pid in [pid for pid, fd in self._fds.items() if fd in ready]:
            self._drop(pid)
            self._dead.add(pid)

    def wake(self) -> None:
        """End the current or the next wait; may be called from any thread."""
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        for pid in list(self._fds):
            self._drop(pid)
        os.close(self._wake_fd)

    def _drop(self, pid: int) -> None:
        fd = self._fds.pop(pid)
        self._poll.unregister(fd)
        os.close(fd)
