"""``python -m collectors run``: logging, the lock and the event loop around a runner."""

import asyncio
import logging
import os
import sys
from pathlib import Path

from collectors.contract.config import AnyCollector
from collectors.contract.config_problems import ConfigError
from collectors.contract.log_format import start_json_logging
from collectors.contract.signals import EXIT_CONFIG
from collectors.runtime.lock import CollectorLock, LockHeld
from collectors.runtime.runner import EXIT_CRASH, Runner, load_with_revision, log_problems

_log = logging.getLogger(__name__)


def run(path: Path, home: Path, language: str) -> int:
    """Acquire until stopped. Ends the process itself; the return value is for the type only."""
    listener = start_json_logging(path.stem, "info")
    try:
        code = _run(path, home, language)
    except Exception:  # noqa: BLE001 - the last line of a process that is about to die
        _log.critical("collector crashed", exc_info=True)
        code = EXIT_CRASH
    listener.stop()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written and closed. A name lookup can still hang in a thread for many seconds, and
    # Python would wait for it, where supervisord expects us to be gone.
    os._exit(code)


def _run(path: Path, home: Path, language: str) -> int:
    try:
        config, revision = load_with_revision(path)
    except ConfigError as exc:
        log_problems(exc.problems)
        for problem in exc.problems:
            print(problem.text(language), file=sys.stderr)
        return EXIT_CONFIG
    logging.getLogger().setLevel(config.log_level.upper())
    lock = CollectorLock(home / "run" / "lock" / f"{config.name}.lock")
    try:
        lock.acquire()
    except LockHeld as exc:
        _log.error("another instance owns this collector", extra={"pid": exc.pid})
        return EXIT_CRASH
    except OSError as exc:
        _log.error("home directory cannot be used", extra={"home": home, "reason": str(exc)})
        return EXIT_CRASH
    try:
        return _acquire(path, home, config, revision)
    finally:
        lock.release()


def _acquire(path: Path, home: Path, config: AnyCollector, revision: str) -> int:
    # Not asyncio.run(), which waits for threads at the end; see run().
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def acquire() -> int:
        return await Runner(path, home, config, revision).run()

    return loop.run_until_complete(acquire())
