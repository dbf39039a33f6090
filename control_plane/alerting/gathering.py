"""Gathers the facts of one look for the rules; what needs more than one look is remembered here."""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

from collectors.contract.config_problems import ConfigProblem
from control_plane.alerting.facts import Disk, Facts, OwnFigures, Spool
from control_plane.alerting.limits import AlertLimits
from control_plane.clock import Clock
from control_plane.domain.node import NodeView
from control_plane.domain.process import ProcessStatus
from control_plane.domain.storage import StorageView
from control_plane.errors import StorageError

log = logging.getLogger(__name__)

_SAMPLES: Final = 30
"""Marks of the totals of requests within the window."""
_SLOW_S: Final = 5.0
"""Files and disks are looked at this often."""
_QUICK_S: Final = 1.5
"""Whoever begins maintenance goes to work at once."""
_LEAST_REQUESTS: Final = 20
"""A share of fewer says nothing."""
_LEAST_STEP_S: Final = 0.5

T = TypeVar("T")


class Picture(Protocol):
    """The monitor's picture of the plant."""

    @property
    def taken_at(self) -> datetime: ...
    @property
    def nodes(self) -> tuple[NodeView, ...]: ...
    @property
    def processes(self) -> Mapping[str, ProcessStatus]: ...
    @property
    def refused_files(self) -> Mapping[str, ConfigProblem]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where facts come from; each may be asked from the thread of the alerts.

    Attributes:
        picture, picture_age_s, look_ms: Of the monitor.
        storage: What the historian said last.
        disk: The disk of DAQ_HOME.
        spool_limits: Bytes that each collector's spool may take.
        live_dropped: Listeners cut off since the start.
        notify_queued: Notices that wait.
        banned: Addresses that are shut out.
        audit_findings, log_findings: How much the newest check of the audit trail, and that of
            sealed logs, found.
        maintenance: Processes that people work on.
        given_up: Processes that automatic recovery leaves to people, and why.
        recovered: How often automatic recovery has restarted a process, and why the last time, in
            English and in Chinese.
        commanded: Processes for which a command has not ended.
    """

    picture: Callable[[], Picture]
    picture_age_s: Callable[[], float]
    look_ms: Callable[[], float]
    storage: Callable[[], StorageView | None]
    disk: Callable[[], Disk]
    spool_limits: Callable[[], Mapping[str, int]]
    live_dropped: Callable[[], int]
    notify_queued: Callable[[], int]
    maintenance: Callable[[], frozenset[str]]
    given_up: Callable[[], Mapping[str, tuple[str, str]]]
    recovered: Callable[[], Mapping[str, tuple[int, str, str]]]
    commanded: Callable[[], frozenset[str]]
    banned: Callable[[], Sequence[str]] = tuple
    audit_findings: Callable[[], int | None] = int
    log_findings: Callable[[], int | None] = int


@dataclass(slots=True)
class _Requests:
    """Totals of requests and failed ones of one process, in time."""

    totals: deque[tuple[float, int, int]] = field(default_factory=deque)

    def note(self, mono: float, requests: int, failed: int, window_s: float) -> None:
        if self.totals and requests < self.totals[-1][1]:
            self.totals.clear()  # Another process, which counts anew.
        if not self.totals or mono - self.totals[-1][0] >= window_s / _SAMPLES:
            self.totals.append((mono, requests, failed))
        while self.totals and mono - self.totals[0][0] > window_s:
            self.totals.popleft()

    def percent(self, requests: int, failed: int) -> float | None:
        if not self.totals:
            return None
        _, before, failed_before = self.totals[0]
        if requests - before < _LEAST_REQUESTS:
            return None
        return 100.0 * (failed - failed_before) / (requests - before)


class Gatherer:
    """Owned by one thread."""

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self._window_s = AlertLimits().window_s
        self._restarts: dict[str, int] = {}
        self._recoveries: dict[str, int] = {}
        self._requests: dict[str, _Requests] = {}
        self._steps: deque[tuple[float, float]] = deque()
        self._offset_s = _wall_minus_mono(clock)
        self._dropped: deque[tuple[float, int]] = deque()
        self._storage: _Slow[StorageView | None] = _Slow(sources.storage, None)
        self._maintenance = _Slow(sources.maintenance, frozenset[str](), _QUICK_S)
        self._commanded = _Slow(sources.commanded, frozenset[str](), 0.0)
        self._disk: _Slow[Disk | None] = _Slow(sources.disk, None)
        self._spool_limits: _Slow[Mapping[str, int]] = _Slow(sources.spool_limits, {})

    def gather(self, database_error: str | None, window_s: float | None = None) -> Facts:
        """Return the facts of now, counts being those of the last ``window_s`` seconds."""
        self._window_s = self._window_s if window_s is None else window_s
        mono, picture = self._clock.monotonic(), self._sources.picture()
        storage = self._storage.newest(mono)
        for gone in self._requests.keys() - picture.processes.keys():
            del self._requests[gone]
        return Facts(
            statuses=picture.processes,
            nodes=picture.nodes,
            storage=storage,
            restarted=self._restarted(picture.processes),
            request_errors=self._request_errors(picture.processes, mono),
            spools=_spools(storage, self._spool_limits.newest(mono)),
            disk=self._disk.newest(mono),
            clock_step_s=self._clock_step_s(mono),
            own=OwnFigures(
                look_age_s=self._sources.picture_age_s(),
                look_ms=self._sources.look_ms(),
                live_dropped=self._live_dropped(mono),
                notify_queued=self._sources.notify_queued(),
                database_error=database_error,
                banned=tuple(self._sources.banned()),
                audit_findings=self._sources.audit_findings(),
                log_findings=self._sources.log_findings(),
            ),
            maintenance=self._maintenance.newest(mono),
            given_up=self._sources.given_up(),
            refused_files=picture.refused_files,
            recovered=self._recovered(),
            commanded=self._commanded.newest(mono),
        )

    def _restarted(self, statuses: Mapping[str, ProcessStatus]) -> frozenset[str]:
        before = self._restarts
        self._restarts = {name: status.restart_count for name, status in statuses.items()}
        return frozenset(
            name for name, count in self._restarts.items() if count > before.get(name, count)
        )

    def _recovered(self) -> dict[str, tuple[str, str]]:
        """Return the processes that recovery has restarted since the look before, and why."""
        before, restarts = self._recoveries, self._sources.recovered()
        self._recoveries = {name: count for name, (count, _, _) in restarts.items()}
        return {
            name: (cause, cause_zh)
            for name, (count, cause, cause_zh) in restarts.items()
            if count > before.get(name, 0)
        }

    def _request_errors(
        self, statuses: Mapping[str, ProcessStatus], mono: float
    ) -> dict[str, float]:
        percents: dict[str, float] = {}
        for name, status in statuses.items():
            requests = sum(device.requests for device in status.devices)
            failed = sum(device.request_errors for device in status.devices)
            known = self._requests.setdefault(name, _Requests())
            known.note(mono, requests, failed, self._window_s)
            if (percent := known.percent(requests, failed)) is not None:
                percents[name] = percent
        return percents

    def _clock_step_s(self, mono: float) -> float:
        """Return the largest jump of the wall clock in the window, forward above zero."""
        offset_s = _wall_minus_mono(self._clock)
        if abs(step_s := offset_s - self._offset_s) >= _LEAST_STEP_S:
            self._steps.append((mono, step_s))
        self._offset_s = offset_s
        while self._steps and mono - self._steps[0][0] > self._window_s:
            self._steps.popleft()
        return max((step_s for _, step_s in self._steps), key=abs, default=0.0)

    def _live_dropped(self, mono: float) -> int:
        total = self._sources.live_dropped()
        if not self._dropped or self._dropped[-1][1] != total:
            self._dropped.append((mono, total))
        while len(self._dropped) > 1 and mono - self._dropped[1][0] > self._window_s:
            self._dropped.popleft()
        recent = len(self._dropped) > 1 and mono - self._dropped[-1][0] <= self._window_s
        return total - self._dropped[0][1] if recent else 0


class _Slow(Generic[T]):
    """Asks a slow source now and then; while it fails, nothing newer is known."""

    def __init__(self, ask: Callable[[], T], before: T, every_s: float = _SLOW_S) -> None:
        self._ask = ask
        self._every_s = every_s
        self._newest = before
        self._asked_mono: float | None = None
        self._failing = False

    def newest(self, mono: float) -> T:
        if self._asked_mono is None or mono - self._asked_mono >= self._every_s:
            self._asked_mono = mono
            try:
                self._newest = self._ask()
                self._failing = False
            except (OSError, StorageError) as exc:
                if not self._failing:
                    log.warning("source of alerts fails", extra={"reason": str(exc)})
                self._failing = True
        return self._newest


def _wall_minus_mono(clock: Clock) -> float:
    return clock.now().timestamp() - clock.monotonic()


def _spools(storage: StorageView | None, limits: Mapping[str, int]) -> dict[str, Spool]:
    if storage is None:
        return {}
    queued: dict[str, int] = {}
    for ledger in storage.ledgers:
        queued[ledger.collector] = max(queued.get(ledger.collector, 0), ledger.queued_bytes)
    return {
        name: Spool(queued_bytes=queued.get(name, 0), limit_bytes=limit)
        for name, limit in limits.items()
    }
