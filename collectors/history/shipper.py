"""The historian: takes what collectors have spooled and stores it. It may die at any time.

A sample can be queried some tenths of a second after its collector has put it. A spool's cursor
moves on once a second, after the store has what it confirmed; what a crash makes it read again is
stored under the same keys.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from collectors.contract.historian_status import (
    HistorianStatus,
    LedgerStatus,
    StoreStatus,
    write_historian_status,
)
from collectors.contract.log_format import start_json_logging
from collectors.contract.signals import EXIT_OK
from collectors.contract.store_urls import StoreUrl, StoreUrlError, parse_stores
from collectors.history.drain import DrainStatus
from collectors.history.ledger import ledger_path
from collectors.history.segment import cursor_path
from collectors.history.spool_tail import SpoolTail
from collectors.history.store_worker import StoreWorker, WorkerStatus
from collectors.history.stores import open_store
from collectors.history.troubles import Troubles

_log = logging.getLogger(__name__)

EXIT_CANNOT_START = 1
EXIT_FAILED = 3
_STATUS_S = 1.0
_HANGS_NS = 3 * 10**9
_STOP_S = 3.0
"""A store that does not answer is not waited for longer; nothing is lost by that."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class CannotStart(Exception):
    """The historian cannot work on this directory or with these stores."""


def main(home: Path, environ: Mapping[str, str] | None = None) -> int:
    """Run until SIGTERM or SIGINT, or until supervisord has died; return the exit code."""
    environ = os.environ if environ is None else environ
    # An orphan would keep the lock, so that the next supervisord's historian could never start.
    supervisor_pid = os.getppid() if "SUPERVISOR_ENABLED" in environ else None
    stop_requests = StopRequests()
    log_writer = start_json_logging("historian", "info")
    try:
        urls = _stores(environ)
        with _only_historian(home):
            opened = _opened(home, urls)
            facts = {"home": str(home), "stores": [url.name for url in urls]}
            _log.info("historian started", extra=facts)
            if not _run(*opened, stop_requests, supervisor_pid):
                return EXIT_FAILED
            _log.info("historian stopped")
    except CannotStart as exc:
        _log.error("historian cannot start", extra={"reason": str(exc)})
        return EXIT_CANNOT_START
    finally:
        log_writer.stop()
        stop_requests.close()
    return EXIT_OK


class StopRequests:
    """SIGTERM and SIGINT, which interrupt no transaction, as all our threads block them.

    numpy starts threads of its own when it is loaded, before anything can be blocked. A signal that
    comes to one of these would end the process without a handler.
    """

    def __init__(self) -> None:
        self._received: list[int] = []
        self._before_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        self._before = {number: signal.signal(number, self._receive) for number in _STOP_SIGNALS}

    def wait(self, timeout_s: float) -> bool:
        """Wait for a request; return whether there was one."""
        return signal.sigtimedwait(_STOP_SIGNALS, timeout_s) is not None or bool(self._received)

    def close(self) -> None:
        """Leave signals as they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before_mask)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._received.append(number)


class Historian:
    """The stores of ``home``, each in a thread of its own, and the file that tells how they do."""

    def __init__(self, home: Path, workers: Mapping[StoreUrl, StoreWorker]) -> None:
        self._home = home
        self._workers = workers
        self._tails: dict[str, SpoolTail] = {}
        self._troubles = Troubles({})
        # No thread may keep the process alive: one may wait for a store that never answers, and a
        # historian may die at any time.
        self._threads = [
            threading.Thread(target=worker.run, name=url.name, daemon=True)
            for url, worker in workers.items()
        ]

    def start(self) -> None:
        """Forget stores that are no longer configured, then begin."""
        names = {url.name for url in self._workers}
        with self._troubles.noting("cursors of former stores cannot be removed", OSError):
            for cursor in (self._home / "spool").glob("*/cursor.*"):
                store = cursor.name.partition(".")[2]
                if store not in names and not store.endswith(".tmp"):
                    _forget(cursor.parent, store)
        for thread in self._threads:
            thread.start()

    def write_status(self) -> None:
        """Tell in the status file how all stores are."""
        with self._troubles.noting("status file cannot be written", OSError):
            write_historian_status(self._home / "run", self._status())

    def has_failed(self) -> bool:
        """Tell whether a thread has ended by a fault of ours, whose trace is in the log."""
        return not all(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait for the threads, whose stop event is set, but not for ever."""
        deadline_mono = time.monotonic() + _STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_mono - time.monotonic()))
            if thread.is_alive():
                _log.warning("a store does not answer; left", extra={"store": thread.name})
        self.write_status()

    def _status(self) -> HistorianStatus:
        stores: list[StoreStatus] = []
        collectors: dict[str, dict[str, LedgerStatus]] = {}
        now_mono, now_ns = time.monotonic(), time.time_ns()
        for url, worker in self._workers.items():
            status = worker.status
            stores.append(_store_status(url, status, now_mono))
            # A worker looks once a second; one that hangs has got no further since.
            at_ns = now_ns if now_ns - status.looked_ns > _HANGS_NS else status.looked_ns
            for name, drain in status.drains.items():
                ledger = _ledger_status(drain, self._newest(name), at_ns)
                collectors.setdefault(name, {})[url.name] = ledger
        return HistorianStatus(
            pid=os.getpid(),
            sent_at=datetime.fromtimestamp(now_ns / 1e9, UTC),
            stores=tuple(stores),
            collectors=dict(sorted(collectors.items())),
        )

    def _newest(self, collector: str) -> int:
        tail = self._tails.setdefault(collector, SpoolTail(self._home / "spool" / collector))
        try:
            return tail.newest()
        except OSError:
            return 0


def _store_status(url: StoreUrl, status: WorkerStatus, now_mono: float) -> StoreStatus:
    return StoreStatus(
        name=url.name,
        url=url.url or "embedded:",
        error=status.error,
        retry_in_s=round(max(0.0, status.retry_mono - now_mono), 1) if status.error else 0.0,
    )


def _ledger_status(drain: DrainStatus, newest: int, at_ns: int) -> LedgerStatus:
    """Put both lanes together; ``newest`` is the spool's own number of its last record."""
    counted = [ledger for ledger in (drain.ledger, drain.live) if ledger is not None]
    done = sum(ledger.sequence - ledger.since for ledger in counted)
    last = max(newest, *(ledger.sequence for ledger in counted), 0)
    records_in = last - drain.ledger.since
    lag_s = 0.0 if drain.oldest_ns is None else max(0.0, (at_ns - drain.oldest_ns) / 1e9)
    return LedgerStatus(
        records_in=records_in,
        records_stored=sum(ledger.stored for ledger in counted),
        records_queued=records_in - done,
        records_dropped=sum(ledger.dropped for ledger in counted),
        records_dead=sum(ledger.dead for ledger in counted),
        samples_stored=sum(ledger.samples_stored for ledger in counted),
        samples_dead=sum(ledger.samples_dead for ledger in counted),
        samples_dropped=sum(ledger.samples_dropped for ledger in counted),
        queued_bytes=drain.queued_bytes,
        lag_s=round(lag_s, 3),
        last_error=drain.last_error,
    )


def _stores(environ: Mapping[str, str]) -> Sequence[StoreUrl]:
    try:
        return parse_stores(environ.get("DAQ_STORES", ""))
    except StoreUrlError as exc:
        raise CannotStart(str(exc)) from exc


def _opened(home: Path, urls: Sequence[StoreUrl]) -> tuple[Historian, threading.Event]:
    stop = threading.Event()
    try:
        workers = {url: StoreWorker(home, open_store(url, home), stop=stop) for url in urls}
    except StoreUrlError as exc:
        raise CannotStart(str(exc)) from exc
    return Historian(home, workers), stop


def _run(
    historian: Historian,
    stop: threading.Event,
    stop_requests: StopRequests,
    supervisor_pid: int | None,
) -> bool:
    """Work until a signal comes; return False if a thread has failed before."""
    historian.start()
    has_failed = False
    try:
        historian.write_status()
        while not has_failed and not stop_requests.wait(_STATUS_S):
            if supervisor_pid not in (None, os.getppid()):
                _log.warning("supervisord has died; ending")
                break
            historian.write_status()
            has_failed = historian.has_failed()
    finally:
        stop.set()
        historian.join()
    return not has_failed


def _forget(spool: Path, store: str) -> None:
    """Remove what a former store has left, or the spool would keep all for it until it is full."""
    for path in (cursor_path(spool, store), ledger_path(spool, store)):
        path.unlink(missing_ok=True)
    _log.info("former store forgotten", extra={"collector": spool.name, "store": store})


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
