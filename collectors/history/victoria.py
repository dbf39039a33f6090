"""The sink for VictoriaMetrics, which speaks InfluxDB's write protocol but keeps less.

What it does otherwise, seen on 1.79.5: every value becomes a double of about 15 digits, every time
a millisecond; text would become 0. A line that it cannot read is answered with 204 and forgotten,
so its own counters are watched. A ``kill -9`` costs it the last 5 to 8 s that it has confirmed, so
it needs a replay window, and ``-dedup.minScrapeInterval=1ms`` to show what was sent twice once.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException
from urllib.error import HTTPError

from collectors.history.influx import InfluxStore, InfluxTarget
from collectors.history.line_protocol import VICTORIA
from collectors.history.spool_reader import Record
from collectors.history.store import Appended, StoreUnavailable
from collectors.history.victoria_http import VictoriaHttp

_log = logging.getLogger(__name__)

_REPLAY_WINDOW_S = 60.0
_WATCH_S = 10.0
_TIMEOUT_S = 3.0
_BOOT = re.compile(rb"^process_start_time_seconds (\S+)$", re.MULTILINE)
_INSERTED = re.compile(rb'^vm_rows_inserted_total\{type="influx"\} (\S+)$', re.MULTILINE)
_IGNORED = re.compile(
    rb'^(vm_rows_ignored_total\{[^}]*\}|vm_rows_invalid_total\{type="influx"\}) (\S+)$',
    re.MULTILINE,
)


class VictoriaStore:
    """Writes samples to one VictoriaMetrics; a cluster's ``vminsert`` by its path.

    A cluster does not tell when one of its storage nodes has started again, so only a failed
    connection makes the historian store the replay window again there.
    """

    replay_window_s = _REPLAY_WINDOW_S

    def __init__(
        self,
        name: str,
        target: InfluxTarget,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._lines = InfluxStore(name, target, VICTORIA)
        # Behind a path there is a cluster or a proxy, whose own start says nothing.
        has_path = target.url.partition("//")[2].partition("/")[2]
        self._http = None if has_path else VictoriaHttp(target.url, target.token, target.ca_file)
        self._monotonic = monotonic
        self._ignored: dict[bytes, float] = {}
        self._inserted = 0.0
        self._restarts = 0
        self._next_watch_mono = monotonic()

    def append(self, collector: str, records: Sequence[Record]) -> Appended:
        return self._lines.append(collector, records)

    def sync(self) -> None:
        """Do nothing: VictoriaMetrics writes to disk when it likes; see the replay window."""

    def boot_id(self) -> str | None:
        if self._http is None:
            return None
        try:
            metrics = self._http.ask("/metrics", timeout_s=_TIMEOUT_S)
        except HTTPError:
            return None  # whoever may write need not be allowed to see this
        except (OSError, HTTPException) as exc:
            raise StoreUnavailable(f"{type(exc).__name__}: {exc}", was_cut=True) from exc
        self._watch_ignored(metrics)
        started, inserted = _BOOT.search(metrics), _INSERTED.search(metrics)
        if started is None or inserted is None:
            return None
        # The start is told in whole seconds, too coarse for two starts within one.
        before, self._inserted = self._inserted, float(inserted[1])
        self._restarts += self._inserted < before
        return f"{started[1].decode()}-{self._restarts}"

    def close(self) -> None:
        self._lines.close()

    def _watch_ignored(self, metrics: bytes) -> None:
        """Log rows that VictoriaMetrics has left out: a time outside its retention, mostly."""
        now_mono = self._monotonic()
        if now_mono < self._next_watch_mono:
            return
        self._next_watch_mono = now_mono + _WATCH_S
        counts = {name: float(count) for name, count in _IGNORED.findall(metrics)}
        for name, count in counts.items():
            before = self._ignored.get(name, 0.0) if self._ignored else count
            if count > before:
                facts = {"store": self.name, "counter": name.decode(), "rows": int(count - before)}
                _log.error("the store has left out rows that it had confirmed", extra=facts)
        self._ignored = counts
