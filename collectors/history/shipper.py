"""The historian: takes what collectors have spooled and stores it. It may die at any time.

A sample can be queried some tenths of a second after its collector has put it. A spool's cursor
moves on once a second, after the disk has what was stored; what a crash makes it read again is
stored under the same keys.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from collectors.contract.log_format import start_json_logging
from collectors.contract.signals import EXIT_OK
from collectors.history.drain import Drain
from collectors.history.embedded.store import EmbeddedStore

_log = logging.getLogger(__name__)

EXIT_CANNOT_START = 1
KEEP_DAYS = 30
_POLL_S = 0.1
_COMMIT_S = 1.0
_PRUNE_S = 3600.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class CannotStart(Exception):
    """The historian cannot work on this directory."""


def main(home: Path) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    # Blocked and asked for between two batches, a signal never interrupts a transaction.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    log_writer = start_json_logging("historian", "info")
    try:
        with _only_historian(home):
            _log.info("historian started", extra={"home": str(home)})
            _run(Historian(home))
            _log.info("historian stopped")
    except CannotStart as exc:
        _log.error("historian cannot start", extra={"reason": str(exc)})
        return EXIT_CANNOT_START
    finally:
        log_writer.stop()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return EXIT_OK


class Historian:
    """All spools below ``home`` and the store that they go to; for one thread."""

    def __init__(self, home: Path) -> None:
        self._spools = home / "spool"
        self._status_path = home / "run" / "historian.json"
        self._store = EmbeddedStore(home / "history")
        self._drains: dict[str, Drain] = {}
        self._next_commit_mono = time.monotonic()
        self._next_prune_mono = time.monotonic()
        self._trouble: dict[str, str] = {}

    def round(self) -> bool:
        """Store one batch of every spool; return whether there is more to do at once.

        Stops early if a stop signal has come.
        """
        self._find_spools()
        had_work = False
        for drain in tuple(self._drains.values()):
            had_work = drain.step() or had_work
            if signal.sigpending() & set(_STOP_SIGNALS):
                break
        now_mono = time.monotonic()
        if now_mono >= self._next_commit_mono:
            self._next_commit_mono = now_mono + _COMMIT_S
            self.commit()
        if now_mono >= self._next_prune_mono:
            self._next_prune_mono = now_mono + _PRUNE_S
            self._prune()
        return had_work

    def commit(self) -> None:
        """Have the disk keep what is stored, then let the spools forget it; tell how we are."""
        with self._noting_trouble("stored samples are not yet safe from a power cut"):
            self._store.sync()
            for drain in self._drains.values():
                drain.commit()
        with self._noting_trouble("status file cannot be written"):
            self._write_status()

    def close(self) -> None:
        """Commit what is stored and close all files."""
        self.commit()
        for drain in self._drains.values():
            drain.close()
        self._store.close()

    def _find_spools(self) -> None:
        """Notice collectors that are new or whose spool was deleted."""
        with self._noting_trouble("spools cannot be listed"):
            try:
                names = {entry.name for entry in os.scandir(self._spools) if entry.is_dir()}
            except FileNotFoundError:
                names = set()
            for name in self._drains.keys() - names:
                self._drains.pop(name).close()
                _log.info("spool is gone", extra={"collector": name})
            for name in sorted(names - self._drains.keys()):
                self._drains[name] = Drain(name, self._spools / name, self._store)
                _log.info("spool found", extra={"collector": name})

    def _prune(self) -> None:
        with self._noting_trouble("old history cannot be deleted"):
            for day in self._store.prune(KEEP_DAYS):
                _log.info("old history deleted", extra={"day": day.isoformat()})

    def _write_status(self) -> None:
        now_ns = time.time_ns()
        sent_at = datetime.fromtimestamp(now_ns / 1e9, UTC).isoformat(timespec="milliseconds")
        status = {
            "pid": os.getpid(),
            "sent_at": sent_at.replace("+00:00", "Z"),
            "collectors": {
                name: asdict(drain.status(now_ns)) for name, drain in sorted(self._drains.items())
            },
        }
        temporary = self._status_path.with_suffix(".tmp")
        temporary.write_text(json.dumps(status), encoding="utf-8")
        temporary.replace(self._status_path)

    @contextmanager
    def _noting_trouble(self, event: str) -> Iterator[None]:
        """Log an error of the disk or the store when it changes, and go on."""
        try:
            yield
        except (OSError, sqlite3.Error) as exc:
            reason = f"{type(exc).__name__}: {exc}"
            if self._trouble.get(event) != reason:
                self._trouble[event] = reason
                _log.error(event, extra={"reason": reason})
        else:
            if self._trouble.pop(event, None) is not None:
                _log.info("trouble is over", extra={"trouble": event})


def _run(historian: Historian) -> None:
    try:
        while True:
            wait_s = 0.0 if historian.round() else _POLL_S
            if signal.sigtimedwait(_STOP_SIGNALS, wait_s) is not None:
                return
    finally:
        historian.close()


@contextmanager
def _only_historian(home: Path) -> Iterator[None]:
    """Hold the lock that makes this process the only historian of ``home``.

    Raises:
        CannotStart: another one runs, or the directories cannot be made.
    """
    path = home / "run" / "historian.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+", encoding="ascii")
    except OSError as exc:
        raise CannotStart(f"{path}: {exc.strerror}; give this user the right to write it") from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            reason = f"historian with pid {pid} already works on {home}; stop it first"
            raise CannotStart(reason) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
