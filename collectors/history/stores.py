"""Opens the stores that ``DAQ_STORES`` names; see ``contract.store_urls`` for the URLs."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from collectors.contract.store_urls import EMBEDDED, INFLUX2, VICTORIA, StoreUrl, StoreUrlError
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.spool_reader import Record
from collectors.history.store import Appended, Store
from collectors.history.troubles import Troubles

_log = logging.getLogger(__name__)

_PRUNE_S = 3600.0
_MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days the embedded store keeps samples, and minimum, mean and maximum of them."""

    days: int = 30
    rollup_days: int = 400


def retention_of(environ: Mapping[str, str]) -> Retention:
    """Return ``DAQ_HISTORY_DAYS`` and ``DAQ_HISTORY_ROLLUP_DAYS``.

    Raises:
        StoreUrlError: one is not a number of days.
    """
    default = Retention()
    return Retention(
        days=_days(environ, "DAQ_HISTORY_DAYS", default.days),
        rollup_days=_days(environ, "DAQ_HISTORY_ROLLUP_DAYS", default.rollup_days),
    )


def _days(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_DAYS):
        raise StoreUrlError(f"{name} is {text!r}; write a number of days from 1 to {_MOST_DAYS}")
    return int(text)


class EmbeddedSink:
    """The embedded store behind the face of all stores; forgets old days once an hour."""

    replay_window_s = 0.0

    def __init__(
        self,
        directory: Path,
        keep: Retention | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = EMBEDDED
        self._keep = keep or Retention()
        self._store = EmbeddedStore(directory)
        self._monotonic = monotonic
        self._next_prune_mono = monotonic()
        self._troubles = Troubles({"store": EMBEDDED}, monotonic)

    def append(self, collector: str, records: Sequence[Record]) -> Appended:
        return Appended(self._store.append(collector, records))

    def sync(self) -> None:
        try:
            self._store.sync()
        except sqlite3.Error as exc:
            raise OSError(f"the history files cannot be written: {exc}") from exc
        if self._monotonic() >= self._next_prune_mono:
            self._next_prune_mono = self._monotonic() + _PRUNE_S
            with self._troubles.noting("old history cannot be deleted", OSError, sqlite3.Error):
                keep = self._keep
                for day in self._store.prune(keep.days, keep_rollup_days=keep.rollup_days):
                    _log.info("old history deleted", extra={"day": day.isoformat()})

    def boot_id(self) -> str | None:
        return None

    def close(self) -> None:
        self._store.close()


def open_store(url: StoreUrl, home: Path, environ: Mapping[str, str] | None = None) -> Store:
    """Return the store at ``url``; connects to nothing yet.

    Raises:
        StoreUrlError: its token is not where the URL says, or a setting cannot be used.
    """
    return STORES[url.kind](url, home, os.environ if environ is None else environ)


def _embedded(_url: StoreUrl, home: Path, environ: Mapping[str, str]) -> Store:
    return EmbeddedSink(home / "history", retention_of(environ))


def _influx(url: StoreUrl, _home: Path, environ: Mapping[str, str]) -> Store:
    # influxdb-client costs 25 MB, so only what is configured is loaded.
    module = import_module("collectors.history.influx")
    store: Store = module.InfluxStore(url.name, module.InfluxTarget.of(url, environ))
    return store


def _victoria(url: StoreUrl, _home: Path, environ: Mapping[str, str]) -> Store:
    target = import_module("collectors.history.influx").InfluxTarget.of(url, environ)
    store: Store = import_module("collectors.history.victoria").VictoriaStore(url.name, target)
    return store


STORES: Mapping[str, Callable[[StoreUrl, Path, Mapping[str, str]], Store]] = {
    EMBEDDED: _embedded,
    INFLUX2: _influx,
    VICTORIA: _victoria,
}
"""How each kind of store is opened; ``readers.READERS`` has its other half."""
