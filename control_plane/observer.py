"""Looks at one node afresh: supervisord, operating system, heartbeats, logs, files."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from control_plane.clock import Clock
from control_plane.domain.node import LOCAL_NODE, NodeView, Tier
from control_plane.domain.observation import (
    CollectorFile,
    Observation,
    Round,
    SeenCollector,
    unseen,
)
from control_plane.domain.process import Desired, ProcessInfo, ProcessUsage
from control_plane.errors import ControlPlaneError, StorageError
from control_plane.logs.error_counter import ErrorCounter
from control_plane.logs.reader import LogReader
from control_plane.supervisor.client import SupervisorClient
from control_plane.telemetry.heartbeats import SeenHeartbeat

log = logging.getLogger(__name__)

_FIVE_MINUTES = timedelta(minutes=5)

ListCollectors = Callable[[Mapping[str, ProcessInfo] | None], Mapping[str, CollectorFile]]
"""From what supervisord runs (``None``: it does not say) to all collectors of the node."""


class Telemetry(Protocol):
    """What a node tells of its programs besides their states."""

    @property
    def reports_readable(self) -> bool:
        """Whether heartbeats can be read at all."""

    @property
    def disk_full(self) -> bool:
        """Whether the disk of its heartbeats is full, or was a moment ago."""

    def refresh(self, pids: Iterable[int]) -> None:
        """Prepare for questions about these processes; may ask the node."""

    def lost_sight(self) -> None:
        """Forget what only supervisord could tell: it does not answer."""

    def supervisord_started_at(self, pid: int) -> datetime | None:
        """Return the start of supervisord, whose process this is."""

    def usage(self, name: str, pid: int | None) -> ProcessUsage | None:
        """Return the newest figures of a process."""

    def heartbeat(self, name: str, pid: int | None) -> SeenHeartbeat | None:
        """Return the newest heartbeat of process ``pid``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedNode:
    """Everything that a look at one node needs; ``stock_tier`` is its tier without the plugin."""

    name: str
    address: str
    stock_tier: Tier
    client: SupervisorClient
    telemetry: Telemetry
    list_collectors: ListCollectors
    log_of: Callable[[str], LogReader]


class Observer:
    """Owned by one thread, because CPU readings and log places are differences between looks."""

    def __init__(
        self, node: ObservedNode, stopped_by_operators: Callable[[], set[str]], clock: Clock
    ) -> None:
        self._node = node
        self._stopped_by_operators = stopped_by_operators
        self._stopped: set[str] = set()
        self._blind: set[str] = set()
        self._clock = clock
        self._errors = ErrorCounter(node.log_of)
        self._supervisord_pid: int | None = None
        self._view = NodeView(
            name=node.name,
            address=node.address,
            reachable=False,
            version=None,
            since=clock.now(),
            error=None,
        )

    def before_first_look(self) -> Round:
        """Return a round in which nothing but the names of collectors is known."""
        now = self._clock.now()
        files = self._node.list_collectors(None)
        collectors = tuple(
            self._unseen(file, unseen(now, self._node.name)) for file in files.values()
        )
        return Round(taken_at=now, node=self._view, collectors=collectors, services=())

    def look(self) -> Round:
        """Observe everything; never raises for what it observes."""
        now = self._clock.now()
        answer = self._supervisord(now)
        infos, files = answer or {}, self._node.list_collectors(answer)
        with contextlib.suppress(StorageError):
            # While the database is away, the last word that is known counts.
            self._stopped = self._stopped_by_operators()
        return Round(
            taken_at=now,
            node=self._view,
            collectors=tuple(self._collector_or_blind(file, infos, now) for file in files.values()),
            services=tuple(
                (info, self._node.telemetry.usage(name, info.pid))
                for name, info in infos.items()
                if name not in files
            ),
        )

    def _supervisord(self, now: datetime) -> Mapping[str, ProcessInfo] | None:
        client, began_mono = self._node.client, self._clock.monotonic()
        try:
            infos = client.processes()
            lag_ms = round((self._clock.monotonic() - began_mono) * 1000, 1)
            pid = client.pid()
            self._node.telemetry.refresh(info.pid for info in infos.values() if info.pid)
            if not self._view.reachable or pid != self._supervisord_pid:
                self._view = replace(
                    self._view,
                    reachable=True,
                    version=client.version(),
                    since=now,
                    error=None,
                    tier=Tier.PLUGIN if client.has_plugin() else self._node.stock_tier,
                    started_at=self._node.telemetry.supervisord_started_at(pid),
                )
                self._supervisord_pid = pid
        except ControlPlaneError as exc:
            self._node.telemetry.lost_sight()
            self._view = replace(
                self._view,
                reachable=False,
                version=None,
                since=now if self._view.reachable else self._view.since,
                error=str(exc.params.get("reason", exc)),
                tier=None,
                lag_ms=None,
                started_at=None,
            )
            return None
        self._view = replace(self._view, lag_ms=lag_ms, observed_at=now)
        return infos

    def _collector_or_blind(
        self, file: CollectorFile, infos: Mapping[str, ProcessInfo], now: datetime
    ) -> SeenCollector:
        """Look at one collector; whatever goes wrong with it must not hide the others."""
        try:
            seen = self._collector(file, infos, now)
        except Exception as exc:
            if file.name not in self._blind:
                log.exception("collector cannot be looked at", extra={"collector": file.name})
            self._blind.add(file.name)
            blind = unseen(now, self._node.name, f"{type(exc).__name__}: {exc}")
            reachable, info = self._view.reachable, infos.get(file.name)
            return self._unseen(file, replace(blind, supervisor_reachable=reachable, info=info))
        self._blind.discard(file.name)
        return seen

    def _collector(
        self, file: CollectorFile, infos: Mapping[str, ProcessInfo], now: datetime
    ) -> SeenCollector:
        info, telemetry = infos.get(file.name), self._node.telemetry
        pid = info.pid if info else None
        usage = telemetry.usage(file.name, pid)
        seen = telemetry.heartbeat(file.name, pid)
        if self._view.reachable or self._node.name == LOCAL_NODE:
            self._errors.look(file.name, now)
        logged = self._errors.last_error(file.name)
        facts = Observation(
            taken_at=now,
            node=self._node.name,
            supervisor_reachable=self._view.reachable,
            info=info,
            usage=usage,
            heartbeat=seen.beat if seen else None,
            heartbeat_age_s=seen.age_s if seen else None,
            data_age_s=seen.data_age_s if seen else None,
            silent_s=seen.silent_s if seen else {},
            config_problem=file.problems[0] if file.problems else None,
            errors_5min=self._errors.count(file.name, now, _FIVE_MINUTES),
            uptime_s=_uptime_s(usage, now),
            reports_readable=telemetry.reports_readable,
            disk_full=telemetry.disk_full,
        )
        return SeenCollector(
            file=file,
            desired=self._desired(file.name),
            facts=facts,
            error_count_24h=self._errors.count_day(file.name, now),
            last_logged_error=logged.message if logged else None,
        )

    def _unseen(self, file: CollectorFile, facts: Observation) -> SeenCollector:
        return SeenCollector(
            file=file,
            desired=self._desired(file.name),
            facts=facts,
            error_count_24h=0,
            last_logged_error=None,
        )

    def _desired(self, name: str) -> Desired:
        return Desired.STOP if name in self._stopped else Desired.RUN


def _uptime_s(usage: ProcessUsage | None, now: datetime) -> float | None:
    if usage is None:
        return None
    return (now - usage.created_at).total_seconds() if usage.age_s is None else usage.age_s
