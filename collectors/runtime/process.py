"""``python -m collectors run``: logging, lock, boot ledger and event loop around a runner."""

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

from collectors.contract.config_error import ConfigError
from collectors.contract.heartbeat import SpoolStatus, heartbeat_path
from collectors.contract.ledger import ledger_path
from collectors.contract.log_format import start_json_logging
from collectors.contract.messages import sentence
from collectors.contract.signals import EXIT_CONFIG, EXIT_OK
from collectors.runtime.cli import PACKAGE
from collectors.runtime.config_file import load_in_fork, log_problems
from collectors.runtime.heartbeat import Beater
from collectors.runtime.ledger import WINDOW_S, Admission, BootLedger
from collectors.runtime.lock import CollectorLock, LockHeld
from collectors.runtime.names import NamesLoop
from collectors.runtime.packed_config import PackedConfig
from collectors.runtime.runner import EXIT_CRASH, STOP_SIGNALS, Runner
from collectors.runtime.vitals import Vitals

STARTSECS = 5.0
"""As in the template collector.conf: what ends sooner, supervisord starts again."""
QUARANTINE_S = STARTSECS + 1.0

_log = logging.getLogger(__name__)


def run(path: Path, home: Path, language: str) -> int:
    """Acquire until stopped. Ends the process itself; the return value is for the type only."""
    loaded = _load(path)  # before there is a second thread
    listener = start_json_logging(path.stem, "info")
    try:
        code = _run(path, home, loaded, language)
    except Exception:  # noqa: BLE001 - the last line of a process that is about to die
        _log.critical("collector crashed", exc_info=True)
        code = EXIT_CRASH
    listener.stop()
    for stream in (sys.stdout, sys.stderr):
        # A supervisord that was killed reads no more.
        with contextlib.suppress(OSError):
            stream.flush()
    # All is written and closed. A name lookup can still hang in a thread for many seconds, and
    # Python would wait for it, where supervisord expects us to be gone.
    os._exit(code)


def _load(path: Path) -> PackedConfig | ConfigError:
    try:
        return load_in_fork(path)
    except ConfigError as exc:
        return exc


def _run(path: Path, home: Path, loaded: PackedConfig | ConfigError, language: str) -> int:
    if isinstance(loaded, ConfigError):
        log_problems(loaded.problems)
        for problem in loaded.problems:
            print(problem.text(language), file=sys.stderr)
        return EXIT_CONFIG
    config = loaded.config
    logging.getLogger().setLevel(config.log_level.upper())
    lock = CollectorLock(
        home / "run" / "lock" / f"{config.name}.lock", os.environ.get("SUPERVISOR_SERVER_URL")
    )
    try:
        lock.acquire()
    except LockHeld as exc:
        _log.error("another instance owns this collector", extra={"pid": exc.pid})
        return EXIT_CRASH
    except OSError as exc:
        _log.error("home directory cannot be used", extra={"home": home, "reason": str(exc)})
        return EXIT_CRASH
    try:
        # Not asyncio.run(), which waits for threads at the end; see run().
        loop = NamesLoop()
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(_live(path, home, loaded, language))
    finally:
        lock.release()


async def _live(path: Path, home: Path, packed: PackedConfig, language: str) -> int:
    config = packed.config
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        # The loop keeps a signal until it turns, and by then the handler for it is in place: a stop
        # at any moment from here on is a clean end.
        loop.add_signal_handler(number, lambda: None)
    ledger = BootLedger(ledger_path(home, config.name))
    admission = ledger.begin()
    if admission.is_refused:
        _say_quarantined(config.name, admission.unplanned_starts, language)
        code = await _beat_in_quarantine(heartbeat_path(home, config.name), packed)
        # Not before: if it dies while it waits, supervisord starts it again, and that is nobody's
        # decision.
        ledger.quarantine()
        return code
    if admission.unplanned_starts:
        _log_unplanned(admission)
    code = await Runner(path, home, packed).run(admission.hold_s)
    if code == EXIT_OK:
        ledger.end()
    return code


def _log_unplanned(admission: Admission) -> None:
    facts = {
        "starts": admission.unplanned_starts,
        "window_s": WINDOW_S,
        "hold_s": admission.hold_s,
    }
    _log.warning("the run before this one did not end cleanly", extra=facts)


def _say_quarantined(name: str, starts: int, language: str) -> None:
    remedy = f"daqplane start {name}"
    facts = {"starts": starts, "window_s": WINDOW_S, "remedy": remedy}
    _log.critical("collector is quarantined", extra=facts)
    params = {"name": name, "starts": starts, "minutes": round(WINDOW_S / 60), "remedy": remedy}
    print(sentence(PACKAGE, "run.quarantined", params, language), file=sys.stderr)


async def _beat_in_quarantine(path: Path, packed: PackedConfig) -> int:
    """Stay until supervisord takes this process for started; touch neither spool nor devices.

    Returns:
        78, which supervisord does not restart, or 0 after a stop signal.
    """
    asked_to_stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    vitals = Vitals(packed=packed, spool_status=SpoolStatus, is_quarantined=True)
    beater = Beater(path, vitals)
    beater.start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asked_to_stop.wait(), QUARANTINE_S)
    beater.stop()
    return EXIT_OK if asked_to_stop.is_set() else EXIT_CONFIG
