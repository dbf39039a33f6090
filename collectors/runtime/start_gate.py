"""So many collectors of a home start at once as there are cores; the others wait for their turn.

supervisord starts all of them in the same moment. Each needs about 0.2 s of a core until its first
heartbeat, so two hundred at once would leave the control plane none for half a minute.

Imported before everything else, so this module imports next to nothing.
"""

import fcntl
import os
import signal
from collections.abc import Sequence

_PATIENCE_S = 45.0
"""Less than the minute in which a process without a heartbeat counts as starting."""

_held: list[int] = []
"""The descriptor of this process's place. The kernel gives a place back when a process dies."""


def enter(argv: Sequence[str]) -> None:
    """Wait for a place, at most 45 s, if supervisord started this process.

    Args:
        argv: As of ``collectors run FILE --home HOME``; without ``--home`` nobody waits.
    """
    if "SUPERVISOR_ENABLED" not in os.environ or "--home" not in argv[:-1]:
        return
    folder = os.path.join(argv[argv.index("--home") + 1], "run", "start")  # noqa: PTH118 - pathlib takes 10 ms
    place = os.getpid() % max(2, len(os.sched_getaffinity(0)))
    try:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as above
        descriptor = os.open(f"{folder}/{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError:
        return  # What is wrong with the home is told by whoever needs it.
    _held.append(descriptor)
    _lock_within_patience(descriptor)


def leave() -> None:
    """Let the next one start."""
    while _held:
        os.close(_held.pop())


def _lock_within_patience(descriptor: int) -> None:
    """Wait in the kernel, first come first served, until the lock is ours or patience ends."""
    kept = signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except TimeoutError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)


def _give_up(_number: int, _frame: object) -> None:
    raise TimeoutError
