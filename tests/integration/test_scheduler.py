"""Scheduled jobs run although somebody sets the clock."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.scheduler import Job, Scheduler

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


class Counter:
    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> None:
        self.runs += 1


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def scheduler(counter: Counter) -> Iterator[Scheduler]:
    def fail() -> None:
        raise RuntimeError("no")

    jobs = (
        Job(id="often", run=counter, every_s=0.05),
        Job(id="failing", run=fail, every_s=0.05),
        Job(id="nightly", run=counter, daily_utc="02:40"),
    )
    scheduler = Scheduler(jobs)
    scheduler.start()
    yield scheduler
    scheduler.stop()


def wait_for_runs(counter: Counter, more: int) -> None:
    target, deadline = counter.runs + more, time.monotonic() + 10
    while counter.runs < target:
        assert time.monotonic() < deadline, "the job does not run"
        time.sleep(0.01)


def test_a_job_that_fails_keeps_no_other_from_running(
    scheduler: Scheduler, counter: Counter
) -> None:
    wait_for_runs(counter, 3)
    assert set(scheduler.next_runs()) == {"often", "failing", "nightly"}


def test_a_changed_interval_counts_at_once(scheduler: Scheduler, counter: Counter) -> None:
    scheduler.keep_interval("often", 3600.0)
    planned = scheduler.next_runs()["often"]
    assert planned is not None
    assert planned > datetime.now(UTC) + timedelta(minutes=50)
    scheduler.keep_interval("often", 3600.0)
    assert scheduler.next_runs()["often"] == planned
    scheduler.keep_interval("often", 0.05)
    wait_for_runs(counter, 2)


def test_after_a_step_back_of_the_clock_jobs_run_on(scheduler: Scheduler, counter: Counter) -> None:
    wait_for_runs(counter, 1)
    scheduler.check_clock(NOW, 1000.0)
    # What a clock that was set back by an hour looks like: everything is due in an hour.
    inner = scheduler._scheduler
    inner.modify_job("often", next_run_time=datetime.now(UTC) + timedelta(hours=1))
    scheduler.check_clock(NOW - timedelta(hours=1) + timedelta(seconds=5), 1005.0)
    wait_for_runs(counter, 2)


def test_the_clocks_small_corrections_change_no_plan(scheduler: Scheduler) -> None:
    scheduler.check_clock(NOW, 1000.0)
    nightly = scheduler.next_runs()["nightly"]
    scheduler.check_clock(NOW + timedelta(seconds=31.5), 1030.0)
    assert scheduler.next_runs()["nightly"] == nightly
