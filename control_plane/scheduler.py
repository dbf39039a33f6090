"""Calendar and interval jobs on APScheduler; a job only asks the owner of the work to do it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from control_plane.outages import Outages

log = logging.getLogger(__name__)

_STEP_S = 2.0
"""Smaller steps of the clock are everyday work of NTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row of the table; exactly one of ``every_s`` and ``daily_utc`` (``HH:MM``) is set."""

    id: str
    run: Callable[[], object]
    every_s: float | None = None
    daily_utc: str | None = None


class Scheduler:
    """Runs a table of jobs; an error in one is logged and ends neither it nor the others."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._offset_s: float | None = None
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600},
        )
        self._every_s = {job.id: job.every_s for job in jobs}
        for job in jobs:
            self._scheduler.add_job(_guarded(job), _trigger(job), id=job.id, name=job.id)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Let running jobs end, start no more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def check_clock(self, wall: datetime, monotonic_s: float) -> None:
        """Plan every job anew when the wall clock was set; to be called every few seconds.

        APScheduler plans by the wall clock: after a step back by an hour it would do nothing for
        an hour.
        """
        offset_s = wall.timestamp() - monotonic_s
        step_s = 0.0 if self._offset_s is None else offset_s - self._offset_s
        if self._offset_s is None or abs(step_s) > _STEP_S:
            self._offset_s = offset_s
        if abs(step_s) <= _STEP_S:
            return
        log.warning("the clock was set", extra={"step_s": round(step_s, 1)})
        for job in self._scheduler.get_jobs():
            job.reschedule(job.trigger)

    def keep_interval(self, job_id: str, every_s: float) -> None:
        """Run a job of the table every ``every_s`` seconds from now on; cheap if it does."""
        if self._every_s[job_id] == every_s:
            return
        self._every_s[job_id] = every_s
        trigger = IntervalTrigger(seconds=every_s, timezone=UTC)
        self._scheduler.reschedule_job(job_id, trigger=trigger)

    def next_runs(self) -> dict[str, datetime | None]:
        """Return when each job runs next, UTC."""
        return {job.id: job.next_run_time for job in self._scheduler.get_jobs()}


def _trigger(job: Job) -> BaseTrigger:
    if job.every_s is not None:
        return IntervalTrigger(seconds=job.every_s, timezone=UTC)
    hour, _, minute = (job.daily_utc or "03:00").partition(":")
    return CronTrigger(hour=int(hour), minute=int(minute), timezone=UTC)


def _guarded(job: Job) -> Callable[[], None]:
    outages = Outages(log)

    def run() -> None:
        try:
            job.run()
        except Exception as exc:  # noqa: BLE001 - it is logged by what remembers outages
            outages.failed(job.id, job.id, "scheduled job failed", exc)
        else:
            outages.works(job.id)

    return run
