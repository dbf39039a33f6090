"""``python -m collectors --help``."""

import signal
import sys

from collectors.runtime import start_gate


def _main() -> int:
    if sys.argv[1:2] == ["run"]:
        # Until the event loop has its handlers, a reload or a reset would kill the process.
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        start_gate.enter(sys.argv)
    from collectors.runtime.cli import main  # noqa: PLC0415 - its imports take 0.2 s

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_main())
