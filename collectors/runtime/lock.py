"""One owner for each collector: two processes must not poll one PLC or write one spool.

``flock`` alone decides who that is. What the lock file says of its owner serves only to end an
orphan: supervisord was killed, its collector goes on reading, and the next supervisord starts the
same collector again. The new process then takes over, so that somebody looks after it.
"""

import fcntl
import logging
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from collectors.contract import wire
from collectors.contract.limits import Limits

_TERM_S = 3.0
"""An orphan may close its connections for so long; collectors need half a second."""
_KILL_S = 1.0
_UNSIGNED_S = 0.5
"""A new owner writes its name right after it has got the lock."""
_LOOK_AGAIN_S = 0.005
_RECORD_BYTES = 4096
_UNIX = "unix://"
_UCRED = struct.Struct("3i")

_Pid = Annotated[int, Limits(ge=0, le=(1 << 31) - 1)]

_log = logging.getLogger(__name__)


class LockHeld(Exception):
    """Another instance owns this collector; stop it, or leave it be."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        """Of the owner; ``None`` if it is not known."""
        super().__init__(f"held by pid {pid}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identity:
    """A process, and who started it.

    Attributes:
        start_ticks: Since boot, field 22 of proc_pid_stat(5); with the pid it names one process.
        supervisor: Address of the supervisord that started it, if one did.
    """

    pid: _Pid
    parent_pid: _Pid
    start_ticks: int
    supervisor: str | None = None


class CollectorLock:
    """An exclusive ``flock``; the kernel releases it when the process dies, however it dies.

    Args:
        supervisor: Address of the supervisord that started this process, if one did; as in
            ``SUPERVISOR_SERVER_URL``.
    """

    def __init__(self, path: Path, supervisor: str | None = None) -> None:
        self._path = path
        self._supervisor = supervisor
        self._fd: int | None = None

    def acquire(self) -> None:
        """Become the owner; end an orphan that still is, which takes up to four seconds.

        Raises:
            LockHeld: another process is, and is no orphan.
            OSError: the file cannot be made.
        """
        me = _Identity(
            pid=os.getpid(),
            parent_pid=os.getppid(),
            start_ticks=_stat(os.getpid())[1],
            supervisor=self._supervisor,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            _lock(fd, me)
        except BaseException:
            os.close(fd)
            raise
        _sign(fd, me)
        self._fd = fd

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _lock(fd: int, me: _Identity) -> None:
    patience_mono = time.monotonic() + _UNSIGNED_S
    while not _is_locked(fd):
        owner = _read_owner(fd)
        with _pinned(owner) as pidfd:
            if owner is None or pidfd is None:
                # The last owner has died and the next one has not signed yet.
                if time.monotonic() > patience_mono:
                    raise LockHeld(None)
                time.sleep(_LOOK_AGAIN_S)
            elif not _is_orphan(owner, me):
                raise LockHeld(owner.pid)
            elif _end(fd, owner, pidfd):
                return
            else:
                patience_mono = time.monotonic() + _UNSIGNED_S


def _is_locked(fd: int) -> bool:
    """Try to get the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(fd: int, me: _Identity) -> None:
    text = wire.encode(me) + b"\n"
    try:
        # First over the old text, then cut: on a full disk that still works.
        os.pwrite(fd, text, 0)
        os.ftruncate(fd, len(text))
    except OSError as exc:
        # The lock is ours all the same; only nobody could take over from us.
        _log.warning("lock file cannot be signed", extra={"reason": str(exc)})


def _read_owner(fd: int) -> _Identity | None:
    """Return whoever signed last; ``None`` for a file that names nobody."""
    try:
        return wire.decode(_Identity, os.pread(fd, _RECORD_BYTES, 0))
    except wire.WireError:
        return None


@contextmanager
def _pinned(owner: _Identity | None) -> Iterator[int | None]:
    """Give a pidfd of exactly that process, or ``None`` if it lives no more."""
    pidfd = None
    try:
        if owner is not None:
            pidfd = os.pidfd_open(owner.pid)
            # The pidfd first: what the pid says afterwards is true of the process behind it. One
            # that has ended but that nobody has waited for still has its pid.
            is_same = _stat(owner.pid)[1] == owner.start_ticks and not _has_ended_within(pidfd, 0)
    except OSError:
        is_same = False
    try:
        yield pidfd if pidfd is not None and is_same else None
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _is_orphan(owner: _Identity, me: _Identity) -> bool:
    """Has the supervisord that started ``owner`` died?"""
    if owner.pid == me.pid:
        return False
    try:
        parent_pid, _ = _stat(owner.pid)
    except OSError:
        return False
    if parent_pid != owner.parent_pid:
        return True
    # It may have died before the owner could write down whose child it was. But if the supervisord
    # at the same address is our parent, then it is nobody else's.
    return (
        owner.supervisor is not None
        and owner.supervisor == me.supervisor
        and parent_pid != me.parent_pid
        and _served_by(owner.supervisor) == me.parent_pid
    )


def _served_by(address: str) -> int | None:
    """Return the pid that listens on a unix socket (SO_PEERCRED, unix(7)), if that can be seen."""
    if not address.startswith(_UNIX):
        return None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_UNSIGNED_S)
        try:
            client.connect(address.removeprefix(_UNIX))
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError:
            return None
    pid: int = _UCRED.unpack(credentials)[0]
    return pid


def _end(fd: int, orphan: _Identity, pidfd: int) -> bool:
    """End ``orphan`` and return whether the lock is ours; another newcomer may have been faster.

    Raises:
        LockHeld: the orphan cannot be ended.
    """
    began_mono = time.monotonic()
    for number, patience_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return False
        except OSError:
            break
        has_ended = False
        deadline_mono = time.monotonic() + patience_s
        while not has_ended and time.monotonic() < deadline_mono:
            has_ended = _has_ended_within(pidfd, _LOOK_AGAIN_S)
            if _is_locked(fd):
                took_s = round(time.monotonic() - began_mono, 3)
                facts = {"pid": orphan.pid, "signal": number.name, "took_s": took_s}
                _log.warning("took over from an orphan", extra=facts)
                return True
        if has_ended:
            return False
    raise LockHeld(orphan.pid)


def _has_ended_within(pidfd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _stat(pid: int) -> tuple[int, int]:
    """Return the parent's pid and the start in ticks since boot (proc_pid_stat(5)).

    Raises:
        OSError: there is no such process.
    """
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    # The second field, the program's name, may hold blanks and brackets.
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), int(fields[19])
