"""Runs inside supervisord: makes it notice deaths at once instead of up to two seconds later.

Stock supervisord sleeps in ``poll(1 s)``. A child's SIGCHLD does not end that sleep (PEP 475), and
what follows a death (the restart, the next group of an ordered shutdown) waits for one more turn
of the loop. Here ``signal.set_wakeup_fd`` and every process event write one byte into a pipe that
the loop polls, so each of these turns happens at once.

Rules of this package: standard library and supervisor only, no threads, and nothing may raise:
an exception in a callback ends supervisord. Remove the ``[rpcinterface:daq]`` section to run
without it.
"""

import contextlib
import os
import signal
from typing import Any

from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore

API_VERSION = 1

_waker: "_Waker | None" = None
"""Outlives supervisord's own restart, which builds everything else anew."""


class _Waker:
    """A pipe that supervisord's loop polls like any of its dispatchers."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def arm(self) -> None:
        asyncore.socket_map[self._read_fd] = self
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self.wake()

    def disarm(self) -> None:
        asyncore.socket_map.pop(self._read_fd, None)
        signal.set_wakeup_fd(-1)

    def wake(self, _event: object = None) -> None:
        with contextlib.suppress(OSError):  # Full means that the loop is about to wake up anyway.
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


class RpcInterface:
    """Methods that clients call as ``daq.NAME``."""

    def getVersion(self) -> int:
        """Return the version of this interface; its presence tells that deaths are seen at once."""
        return API_VERSION


def make_rpcinterface(supervisord: Any, **_config: str) -> RpcInterface:
    """Build the interface; supervisord calls this once for each of its HTTP servers."""
    global _waker  # noqa: PLW0603 - must survive supervisord's own restart
    try:
        if _waker is not None:
            # A restart of supervisord closed our descriptors and forgot our subscriptions.
            _waker.disarm()
        _waker = _Waker()
        _waker.arm()
        events.subscribe(events.ProcessStateEvent, _waker.wake)
        events.subscribe(events.SupervisorStateChangeEvent, _waker.wake)
    except Exception as exc:  # noqa: BLE001 - a failing plugin must not stop supervisord
        supervisord.options.logger.critical(f"daq plugin is off: {exc!r}")
    return RpcInterface()
