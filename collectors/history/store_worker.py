"""Moves all spools into one store, in a thread of its own, so that no store waits for another."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from collectors.history.breaker import Breaker
from collectors.history.dead_letters import DeadLetters
from collectors.history.drain import Drain, DrainStatus
from collectors.history.store import Store, StoreUnavailable
from collectors.history.troubles import Troubles

_log = logging.getLogger(__name__)

_POLL_S = 0.1
_COMMIT_S = 1.0
_UNAVAILABLE = "store takes nothing; samples wait in the spools"
_NOT_SAFE = "stored samples are not yet safe from a power cut"
_NO_SPOOLS = "spools cannot be listed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """How the store is, and how far it is with each collector.

    Attributes:
        looked_ns: When this was so, by the wall clock.
        error: Why it takes nothing now, ``None`` if it does.
        retry_mono: When it is asked again, by the monotonic clock.
    """

    looked_ns: int = 0
    error: str | None = None
    retry_mono: float = 0.0
    drains: dict[str, DrainStatus]


class StoreWorker:
    """All spools below ``home`` and the one store that they go to.

    ``status`` may be read from any thread; all methods belong to one.
    """

    def __init__(
        self,
        home: Path,
        store: Store,
        *,
        stop: threading.Event | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.status = WorkerStatus(drains={})
        self._spools = home / "spool"
        self._dead_letters = DeadLetters(home / "dead" / store.name)
        self._stop = stop or threading.Event()
        self._monotonic = monotonic
        self._breaker = Breaker(monotonic=monotonic)
        self._troubles = Troubles({"store": store.name}, monotonic)
        self._drains: dict[str, Drain] = {}
        self._inodes: dict[str, int] = {}
        self._probe: Drain | None = None
        self._boot_id: str | None = None
        self._was_cut = False
        self._turn = 0
        self._next_commit_mono = monotonic()

    def run(self) -> None:
        """Work until the stop event is set."""
        try:
            while not self._stop.is_set():
                if not self.round():
                    self._stop.wait(_POLL_S)
        finally:
            self.close()

    def round(self) -> bool:
        """Store a batch of every spool; return whether there is more to do at once."""
        self._find_spools()
        had_work = self._breaker.is_due and self._store_some()
        now_mono = self._monotonic()
        if now_mono >= self._next_commit_mono:
            self._next_commit_mono = now_mono + _COMMIT_S
            self.commit()
        return had_work

    def commit(self) -> None:
        """Have the store keep what it has, then let the spools forget what is safe."""
        if self._breaker.is_due:
            with self._troubles.noting(_NOT_SAFE, OSError):
                try:
                    self._settle()
                except StoreUnavailable as exc:
                    self._lost(exc)
        self.status = WorkerStatus(
            looked_ns=time.time_ns(),
            error=self._troubles.first,
            retry_mono=self._monotonic() + self._breaker.pause_s(),
            drains={name: drain.status() for name, drain in sorted(self._drains.items())},
        )

    def close(self) -> None:
        """Commit what is stored and close all files and connections."""
        self.commit()
        for drain in self._drains.values():
            drain.close()
        self._drains.clear()
        self.store.close()

    def _settle(self) -> None:
        if not self._breaker.is_open:
            self.store.sync()
            self._look_for_restart()
            for drain in self._drains.values():
                drain.commit()
        elif self._boot_id is not None:
            # With nothing to store, only this notices that the store is back without its newest.
            self._regained()

    def _store_some(self) -> bool:
        """Live data of all first, then one batch of one backlog."""
        had_work = False
        try:
            for drain in self._in_turn():
                had_work = drain.step() or had_work
                if drain is self._probe and had_work:
                    self._regained()
                if self._stop.is_set():
                    return False
            return any(drain.step_backlog() for drain in self._in_turn()) or had_work
        except StoreUnavailable as exc:
            self._lost(exc)
            return False

    def _in_turn(self) -> Iterator[Drain]:
        """Yield each drain once and another one first each time; only one while the store is lost.

        What failed is asked first until it succeeds, so only one batch is kept in memory for it.
        """
        drains = list(self._drains.values())
        if self._probe is not None and self._probe in drains:
            drains.remove(self._probe)
            drains.insert(0, self._probe)
        elif drains:
            self._turn = (self._turn + 1) % len(drains)
            drains = drains[self._turn :] + drains[: self._turn]
        for drain in drains:
            if self._breaker.is_open:
                self._probe = drain
            yield drain

    def _lost(self, exc: StoreUnavailable) -> None:
        self._was_cut = self._was_cut or exc.was_cut
        self._breaker.failed(exc.retry_after_s)
        self._troubles.note(_UNAVAILABLE, exc)

    def _regained(self) -> None:
        self._look_for_restart()
        self._breaker.succeeded()
        self._probe = None
        self._troubles.over(_UNAVAILABLE)

    def _look_for_restart(self) -> None:
        """Store again what the store may have forgotten, if it has died since the last look.

        Raises:
            StoreUnavailable: it does not say.
        """
        before, self._boot_id = self._boot_id, self.store.boot_id()
        was_cut, self._was_cut = self._was_cut, False
        has_restarted = self._boot_id != before if before and self._boot_id else was_cut
        if has_restarted and self.store.replay_window_s:
            facts = {"store": self.store.name, "window_s": self.store.replay_window_s}
            _log.warning("store may have died; its last samples are stored again", extra=facts)
            for drain in self._drains.values():
                drain.rewind()

    def _find_spools(self) -> None:
        """Notice collectors that are new or whose spool was deleted."""
        with self._troubles.noting(_NO_SPOOLS, OSError):
            try:
                found = {e.name: e.inode() for e in os.scandir(self._spools) if e.is_dir()}
            except FileNotFoundError:
                found = {}
            # One that was deleted and begun anew counts from 1 again, so it is another spool.
            for name in [name for name, at in self._inodes.items() if found.get(name) != at]:
                del self._inodes[name]
                self._drains.pop(name).close()
                _log.info("spool is gone", extra={"collector": name, "store": self.store.name})
            for name in sorted(found.keys() - self._drains.keys()):
                self._open_spool(name)
                self._inodes[name] = found[name]

    def _open_spool(self, name: str) -> None:
        self._drains[name] = Drain(
            name,
            self._spools / name,
            self.store,
            self._dead_letters,
            monotonic=self._monotonic,
        )
        _log.info("spool found", extra={"collector": name, "store": self.store.name})
