"""Looks at everything afresh: supervisord, operating system, heartbeats, logs, files."""

import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from control_plane.clock import Clock
from control_plane.domain.observation import (
    CollectorFile,
    Observation,
    Round,
    SeenCollector,
    SupervisorView,
)
from control_plane.domain.process import Desired, ProcessInfo, ProcessUsage
from control_plane.errors import ControlPlaneError, StorageError
from control_plane.logs.error_counter import ErrorCounter
from control_plane.settings import Settings
from control_plane.storage.collector_files import CollectorFiles
from control_plane.supervisor.client import SupervisorClient
from control_plane.telemetry.heartbeats import HeartbeatReader
from control_plane.telemetry.process_usage import ProcessUsageSampler

log = logging.getLogger(__name__)

_FIVE_MINUTES = timedelta(minutes=5)
_USAGE_EVERY_S = 1.0
"""CPU shares over shorter times than this are mostly noise."""


class Observer:
    """Owned by one thread, because CPU readings and log places are differences between looks."""

    def __init__(
        self,
        settings: Settings,
        client: SupervisorClient,
        stopped_by_operators: Callable[[], set[str]],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._client = client
        self._stopped_by_operators = stopped_by_operators
        self._stopped: set[str] = set()
        self._blind: set[str] = set()
        self._clock = clock
        self._heartbeats = HeartbeatReader(settings.home, clock.monotonic)
        self._files = CollectorFiles(settings.collectors_dir)
        self._sampler = ProcessUsageSampler(clock.monotonic)
        self._errors = ErrorCounter(settings.log_file)
        self._usage: dict[int, tuple[float, ProcessUsage | None]] = {}
        self._supervisor: SupervisorView | None = None
        self._supervisor_pid: int | None = None

    def look(self) -> Round:
        """Observe everything; never raises for what it observes."""
        now = self._clock.now()
        infos = self._supervisord(now)
        files = self._files.scan()
        self._forget_gone_processes(infos)
        with contextlib.suppress(StorageError):
            # While the database is away, the last word that is known counts.
            self._stopped = self._stopped_by_operators()
        collectors = tuple(self._collector_or_blind(file, infos, now) for file in files.values())
        services = tuple(
            (info, self._usage_of(info.pid)) for name, info in infos.items() if name not in files
        )
        assert self._supervisor is not None
        return Round(
            taken_at=now,
            supervisor=self._supervisor,
            collectors=collectors,
            services=services,
        )

    def _supervisord(self, now: datetime) -> dict[str, ProcessInfo]:
        before = self._supervisor
        try:
            infos = self._client.processes()
            pid = self._client.pid()
            if before is None or not before.reachable or pid != self._supervisor_pid:
                self._supervisor = SupervisorView(
                    reachable=True,
                    version=self._client.version(),
                    since=now,
                    error=None,
                    started_at=self._started_at(pid),
                )
                self._supervisor_pid = pid
        except ControlPlaneError as exc:
            lasts = before is not None and not before.reachable
            self._supervisor = SupervisorView(
                reachable=False,
                version=None,
                since=before.since if before and lasts else now,
                error=str(exc.params.get("reason", exc)),
            )
            return {}
        return infos

    def _started_at(self, pid: int) -> datetime | None:
        usage = self._sampler.sample(pid)
        return usage.created_at if usage else None

    def _collector_or_blind(
        self, file: CollectorFile, infos: dict[str, ProcessInfo], now: datetime
    ) -> SeenCollector:
        """Look at one collector; whatever goes wrong with it must not hide the others."""
        try:
            seen = self._collector(file, infos, now)
        except Exception as exc:
            if file.name not in self._blind:
                log.exception("collector cannot be looked at", extra={"collector": file.name})
            self._blind.add(file.name)
            facts = Observation(
                taken_at=now,
                supervisor_reachable=self._supervisor is not None and self._supervisor.reachable,
                info=infos.get(file.name),
                usage=None,
                heartbeat=None,
                heartbeat_age_s=None,
                config_problem=None,
                errors_5min=None,
                uptime_s=None,
                blind_reason=f"{type(exc).__name__}: {exc}",
            )
            return SeenCollector(
                file=file,
                desired=Desired.STOP if file.name in self._stopped else Desired.RUN,
                facts=facts,
                error_count_24h=0,
                last_logged_error=None,
            )
        self._blind.discard(file.name)
        return seen

    def _collector(
        self, file: CollectorFile, infos: dict[str, ProcessInfo], now: datetime
    ) -> SeenCollector:
        info = infos.get(file.name)
        pid = info.pid if info else None
        usage = self._usage_of(pid)
        seen = self._heartbeats.latest(file.name, pid)
        self._errors.look(file.name, now)
        logged = self._errors.last_error(file.name)
        facts = Observation(
            taken_at=now,
            supervisor_reachable=self._supervisor is not None and self._supervisor.reachable,
            info=info,
            usage=usage,
            heartbeat=seen.beat if seen else None,
            heartbeat_age_s=seen.age_s if seen else None,
            config_problem=file.problems[0] if file.problems else None,
            errors_5min=self._errors.count(file.name, now, _FIVE_MINUTES),
            uptime_s=(now - usage.created_at).total_seconds() if usage else None,
        )
        return SeenCollector(
            file=file,
            desired=Desired.STOP if file.name in self._stopped else Desired.RUN,
            facts=facts,
            error_count_24h=self._errors.count_day(file.name, now),
            last_logged_error=logged.message if logged else None,
        )

    def _usage_of(self, pid: int | None) -> ProcessUsage | None:
        if pid is None:
            return None
        now = self._clock.monotonic()
        known = self._usage.get(pid)
        if known is None or now - known[0] >= _USAGE_EVERY_S:
            known = self._usage[pid] = (now, self._sampler.sample(pid))
        return known[1]

    def _forget_gone_processes(self, infos: dict[str, ProcessInfo]) -> None:
        pids = {info.pid for info in infos.values() if info.pid is not None}
        self._usage = {pid: kept for pid, kept in self._usage.items() if pid in pids}
        self._sampler.forget_all_but(pids)
