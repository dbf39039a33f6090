"""Faults that a collector cannot be given from outside, put into its own process.

Python imports this at its start wherever this directory is on ``PYTHONPATH``. Real-time signals
then make a collector misbehave as a faulty driver or library would.
"""

import signal
import sys
import threading
import time

SPIN, BUSY, CALM, LEAK = (signal.SIGRTMIN + number for number in range(1, 5))
_calm = threading.Event()
_BURNERS = 3
"""So that it gets a fair part of a machine that has other work, too."""
_LEAK_BYTES, _LEAK_AT_MOST_BYTES, _LEAK_EVERY_S = 4_000_000, 400_000_000, 0.1


def _spin(_number: int, _frame: object) -> None:
    """Never give the work loop back."""
    while True:
        pass


def _busy(_number: int, _frame: object) -> None:
    """Take a core beside the work loop; to the kernel it is one process."""

    def burn() -> None:
        block = bytes(1 << 20)
        digest = hashlib.sha256()
        while not _calm.is_set():
            digest.update(block)  # Without the interpreter's lock: the work loop goes on.

    import hashlib  # noqa: PLC0415 - only where it is asked for

    for _ in range(_BURNERS):
        threading.Thread(target=burn, daemon=True).start()


def _be_calm(_number: int, _frame: object) -> None:
    _calm.set()


def _leak(_number: int, _frame: object) -> None:
    """Forget to forget."""
    kept: list[bytearray] = []

    def grow() -> None:
        while len(kept) * _LEAK_BYTES < _LEAK_AT_MOST_BYTES:
            kept.append(bytearray(b"\1") * _LEAK_BYTES)
            time.sleep(_LEAK_EVERY_S)

    threading.Thread(target=grow, daemon=True).start()


if sys.orig_argv[1:4] == ["-m", "collectors", "run"]:
    signal.signal(SPIN, _spin)
    signal.signal(BUSY, _busy)
    signal.signal(CALM, _be_calm)
    signal.signal(LEAK, _leak)
