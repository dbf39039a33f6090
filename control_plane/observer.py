"""Looks at everything afresh: supervisord, operating system, heartbeats, logs, files."""

from datetime import datetime, timedelta

from control_plane.clock import Clock
from control_plane.domain.observation import (
    CollectorFile,
    Observation,
    Round,
    SeenCollector,
    SupervisorView,
)
from control_plane.domain.process import ProcessInfo, ProcessUsage
from control_plane.errors import ControlPlaneError
from control_plane.logs.error_counter import ErrorCounter
from control_plane.settings import Settings
from control_plane.storage.collector_files import CollectorFiles
from control_plane.supervisor.client import SupervisorClient
from control_plane.telemetry.heartbeats import latest_heartbeat
from control_plane.telemetry.process_usage import ProcessUsageSampler

_FIVE_MINUTES = timedelta(minutes=5)
_USAGE_EVERY_S = 1.0
"""CPU shares over shorter times than this are mostly noise."""


class Observer:
    """Owned by one thread, because CPU readings and log places are differences between looks."""

    def __init__(self, settings: Settings, client: SupervisorClient, clock: Clock) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
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
        collectors = tuple(self._collector(file, infos, now) for file in files.values())
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

    def _collector(
        self, file: CollectorFile, infos: dict[str, ProcessInfo], now: datetime
    ) -> SeenCollector:
        info = infos.get(file.name)
        pid = info.pid if info else None
        usage = self._usage_of(pid)
        seen = latest_heartbeat(self._settings.home, file.name, pid)
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
            facts=facts,
            log_file=self._settings.log_file(file.name),
            error_count_24h=self._errors.count(file.name, now),
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
