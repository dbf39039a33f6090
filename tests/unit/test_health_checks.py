from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.heartbeat import ConnectionStatus, Heartbeat
from control_plane.domain.health import (
    HealthCheckConfig,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
)
from control_plane.domain.observation import Observation
from control_plane.domain.process import (
    ExitReason,
    ProcessInfo,
    ProcessUsage,
    SupervisorState,
)
from control_plane.health.checks import (
    CHECKS,
    connection,
    data_flow,
    log_errors,
    process_alive,
    resource_usage,
)
from control_plane.health.score import judge

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
LIMITS = HealthCheckConfig()


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


LINK = ConnectionStatus(
    device_id="press1",
    device_ip="10.0.0.9",
    device_port=502,
    protocol_type="modbus",
    is_connected=True,
    since=ago(600),
    last_connect_time=ago(600),
    last_good_at=ago(0.5),
)
BEAT = Heartbeat(
    collector="line1",
    protocol="modbus_tcp",
    pid=42,
    started_at=ago(600),
    sequence=600,
    sent_at=ago(0.3),
    config_revision="abc",
    connections=(LINK,),
    samples_per_s=10.0,
    expected_samples_per_s=10.0,
    last_data_time=ago(0.5),
)
GOOD = Observation(
    taken_at=NOW,
    supervisor_reachable=True,
    info=ProcessInfo(
        name="line1",
        state=SupervisorState.RUNNING,
        pid=42,
        started_at=ago(600),
        stopped_at=None,
        exit_status=0,
        spawn_error="",
    ),
    usage=ProcessUsage(
        pid=42, created_at=ago(600), cpu_percent=3.0, memory_mb=30.0, is_frozen=False
    ),
    heartbeat=BEAT,
    heartbeat_age_s=0.3,
    config_problem=None,
    errors_5min=0,
    uptime_s=600.0,
)


def with_info(state: SupervisorState, pid: int | None = None, exit_status: int = 0) -> Observation:
    info = replace(GOOD.info, state=state, pid=pid, exit_status=exit_status)
    return replace(GOOD, info=info, usage=None if pid is None else GOOD.usage)


def with_beat(**changes: object) -> Observation:
    return replace(GOOD, heartbeat=replace(BEAT, **changes))


def with_link(**changes: object) -> Observation:
    return with_beat(connections=(replace(LINK, **changes),))


def test_a_process_that_has_just_started_is_a_warning_and_not_a_blind_spot() -> None:
    seen = replace(GOOD, heartbeat=None, heartbeat_age_s=None, uptime_s=0.4)
    health = judge(
        [check(seen, LIMITS) for check in CHECKS],
        stopped_by_operator=False,
        previous=None,
        now=NOW,
    )
    assert (health.status, health.score) == (HealthStatus.WARNING, 30.0)


def test_without_supervisord_only_the_process_is_unknown() -> None:
    seen = replace(GOOD, supervisor_reachable=False, info=None, usage=None)
    health = judge(
        [check(seen, LIMITS) for check in CHECKS],
        stopped_by_operator=False,
        previous=None,
        now=NOW,
    )
    assert (health.status, health.score) == (HealthStatus.UNKNOWN, None)
    by_kind = {check.check_type: check.status for check in health.checks}
    assert (by_kind["connection"], by_kind["data_flow"]) == ("healthy", "healthy")


def test_the_end_of_a_process_is_told_in_both_languages() -> None:
    left = ExitReason(pid=41, code=None, signal="SIGKILL", core_dumped=False, uptime_s=312.4)
    info = replace(GOOD.info, state=SupervisorState.EXITED, pid=None, last_exit=left)
    params = process_alive(replace(GOOD, info=info, usage=None), LIMITS).params
    assert params["ended"] == "SIGKILL after 312 s"
    assert params["ended_zh"] == "信号 SIGKILL，运行 312 秒后"


def test_everything_that_works_is_healthy_and_scores_100() -> None:
    health = judge(
        [check(GOOD, LIMITS) for check in CHECKS],
        stopped_by_operator=False,
        previous=None,
        now=NOW,
    )
    assert [c.status for c in health.checks] == [HealthStatus.HEALTHY] * 5
    assert (health.status, health.score, health.confidence) == (HealthStatus.HEALTHY, 100.0, 1.0)


@pytest.mark.parametrize(
    ("seen", "status", "code"),
    [
        (replace(GOOD, supervisor_reachable=False), "unknown", "process.supervisor_unreachable"),
        (replace(GOOD, info=None), "critical", "process.not_known"),
        (replace(GOOD, blind_reason="OSError"), "unknown", "process.blind"),
        (with_info(SupervisorState.BACKOFF), "critical", "process.backoff"),
        (with_info(SupervisorState.FATAL), "critical", "process.fatal"),
        (with_info(SupervisorState.EXITED, exit_status=1), "critical", "process.exited"),
        (with_info(SupervisorState.EXITED, exit_status=78), "critical", "process.quarantined"),
        (with_beat(held_until=ago(-5)), "warning", "process.held"),
        (with_beat(quarantined=True), "critical", "process.quarantined"),
        (
            replace(GOOD, usage=replace(GOOD.usage, is_frozen=True)),
            "critical",
            "process.frozen",
        ),
        (replace(GOOD, heartbeat_age_s=6.0), "warning", "process.heartbeat_late"),
        (replace(GOOD, heartbeat_age_s=31.0), "critical", "process.heartbeat_stale"),
        (replace(GOOD, heartbeat_age_s=31.0, disk_full=True), "unknown", "process.disk_full"),
        (replace(GOOD, heartbeat_age_s=1.0, disk_full=True), "healthy", "process.alive"),
        (replace(GOOD, heartbeat_age_s=None, uptime_s=5.0), "warning", "process.starting"),
        (replace(GOOD, heartbeat_age_s=None, uptime_s=61.0), "critical", "process.no_heartbeat"),
    ],
)
def test_process_alive_names_what_is_wrong(seen: Observation, status: str, code: str) -> None:
    result = process_alive(seen, LIMITS)
    assert (result.status, result.code) == (status, code)


@pytest.mark.parametrize(
    ("seen", "status", "code"),
    [
        (replace(GOOD, heartbeat_age_s=31.0), "unknown", "report.missing"),
        (with_link(is_connected=False, last_error="refused"), "warning", "connection.lost"),
        (
            with_link(is_connected=False, last_connect_time=None, last_good_at=None),
            "critical",
            "connection.silent",
        ),
        (with_link(last_good_at=ago(40)), "warning", "connection.slow"),
        (with_link(last_good_at=ago(61)), "critical", "connection.silent"),
        # It is asked and answers, but with nothing but errors.
        (with_link(last_good_at=ago(61), points=3, bad_points=3), "healthy", "connection.refusing"),
        (
            with_link(last_good_at=ago(61), points=3, bad_points=3, since=ago(10)),
            "critical",
            "connection.silent",
        ),
    ],
)
def test_connection_tells_a_lost_device_at_once_and_a_dead_one_after_the_limit(
    seen: Observation, status: str, code: str
) -> None:
    result = connection(seen, LIMITS)
    assert (result.status, result.code) == (status, code)


@pytest.mark.parametrize(
    ("seen", "status", "code"),
    [
        (with_link(is_connected=False), "unknown", "data.not_connected"),
        (with_beat(last_data_time=ago(20)), "warning", "data.late"),
        (with_beat(last_data_time=ago(121)), "critical", "data.stale"),
        (
            with_beat(
                last_data_time=ago(121), connections=(replace(LINK, points=3, bad_points=3),)
            ),
            "critical",
            "data.all_bad",
        ),
        (with_link(points=2, frozen_points=2), "warning", "data.frozen"),
        (with_beat(samples_per_s=7.9), "warning", "data.rate_low"),
        (with_beat(samples_per_s=4.9), "critical", "data.rate_low"),
        (with_beat(samples_per_s=1.0, started_at=ago(8)), "healthy", "data.ok"),
    ],
)
def test_data_flow_judges_age_and_rate(seen: Observation, status: str, code: str) -> None:
    result = data_flow(seen, LIMITS)
    assert (result.status, result.code) == (status, code)


def test_a_connected_collector_that_reads_nothing_good_is_not_healthy() -> None:
    """The green light while no data arrives: the fault this program exists for."""
    assert data_flow(with_beat(last_data_time=None), LIMITS).status is HealthStatus.CRITICAL


def test_ages_by_our_own_clock_count_more_than_the_times_in_a_heartbeat() -> None:
    """After the clock was set by an hour, say."""
    old = with_link(last_good_at=ago(3600))
    own = replace(old, silent_s={"press1": 1.0}, data_age_s=1.0)
    assert connection(own, LIMITS).status is HealthStatus.HEALTHY
    assert data_flow(own, LIMITS).status is HealthStatus.HEALTHY
    dead = replace(GOOD, silent_s={"press1": 61.0}, data_age_s=121.0)
    assert connection(dead, LIMITS).status is HealthStatus.CRITICAL
    assert data_flow(dead, LIMITS).status is HealthStatus.CRITICAL


def test_a_collector_that_reads_every_ten_minutes_is_not_silent_in_between() -> None:
    seen = with_beat(
        shortest_interval_s=600.0,
        longest_interval_s=600.0,
        last_data_time=ago(500),
        samples_per_s=0.0,
        expected_samples_per_s=0.01,
        connections=(replace(LINK, last_good_at=ago(500), shortest_interval_s=600.0),),
    )
    assert connection(seen, LIMITS).status is HealthStatus.HEALTHY
    assert data_flow(seen, LIMITS).status is HealthStatus.HEALTHY


def test_a_slow_device_beside_a_quick_one_is_judged_by_its_own_interval() -> None:
    slow = replace(LINK, device_id="meter", last_good_at=ago(200), shortest_interval_s=300.0)
    seen = with_beat(connections=(LINK, slow), longest_interval_s=300.0, samples_per_s=1.0)
    assert connection(seen, LIMITS).status is HealthStatus.HEALTHY
    assert data_flow(seen, LIMITS).status is HealthStatus.HEALTHY
    silent = replace(slow, last_good_at=ago(1000))
    assert connection(with_beat(connections=(LINK, silent)), LIMITS).params["device"] == "meter"


@pytest.mark.parametrize(
    ("memory_mb", "cpu_percent", "status"),
    [(499, 79, "healthy"), (501, 3, "warning"), (751, 3, "critical"), (30, 81, "warning")],
)
def test_resource_usage_keeps_the_documented_limits(
    memory_mb: float, cpu_percent: float, status: str
) -> None:
    usage = replace(GOOD.usage, memory_mb=memory_mb, cpu_percent=cpu_percent)
    assert resource_usage(replace(GOOD, usage=usage), LIMITS).status == status


@pytest.mark.parametrize(("count", "status"), [(None, "unknown"), (4, "healthy"), (5, "warning")])
def test_log_errors_never_go_beyond_a_warning(count: int | None, status: str) -> None:
    assert log_errors(replace(GOOD, errors_5min=count), LIMITS).status == status


results = st.lists(
    st.sampled_from(
        [HealthStatus.HEALTHY, HealthStatus.WARNING, HealthStatus.CRITICAL, HealthStatus.UNKNOWN]
    ),
    min_size=5,
    max_size=5,
)


def judged(statuses: list[HealthStatus]) -> tuple[HealthStatus, float | None]:
    checks = [
        HealthCheckResult(check_type=kind, status=status, code="data.ok")
        for kind, status in zip(HealthCheckType, statuses, strict=True)
    ]
    health = judge(checks, stopped_by_operator=False, previous=None, now=NOW)
    return health.status, health.score


@given(results)
def test_the_score_never_contradicts_the_status(statuses: list[HealthStatus]) -> None:
    status, score = judged(statuses)
    if score is None:
        assert status is HealthStatus.UNKNOWN
        return
    assert 0 <= score <= 100
    assert (score == 100) is (status is HealthStatus.HEALTHY)
    assert (HealthStatus.CRITICAL not in statuses) or score < 50


@given(results, st.integers(0, 4))
def test_a_check_that_gets_worse_never_raises_the_score(
    statuses: list[HealthStatus], index: int
) -> None:
    statuses[index] = HealthStatus.HEALTHY
    _, before = judged(statuses)
    for worse in (HealthStatus.WARNING, HealthStatus.CRITICAL):
        statuses[index] = worse
        _, after = judged(statuses)
        if before is not None and after is not None:
            assert after <= before
        before = after


def test_a_process_that_an_operator_stopped_has_no_score_and_no_fault() -> None:
    seen = with_info(SupervisorState.STOPPED)
    checks = [check(seen, LIMITS) for check in CHECKS]
    health = judge(checks, stopped_by_operator=True, previous=None, now=NOW)
    assert (health.status, health.score) == (HealthStatus.STOPPED, None)
    assert sum(check.penalty for check in health.checks) == 0


def test_since_is_kept_while_a_status_lasts_and_renewed_when_it_changes() -> None:
    def judge_at(seen: Observation, previous: object, at: datetime) -> object:
        checks = [check(seen, LIMITS) for check in CHECKS]
        return judge(checks, stopped_by_operator=False, previous=previous, now=at)

    first = judge_at(GOOD, None, ago(10))
    second = judge_at(GOOD, first, ago(5))
    third = judge_at(with_link(is_connected=False), second, NOW)
    assert (second.since, third.since) == (ago(10), NOW)
    assert {c.check_type: c.since for c in third.checks}["process_alive"] == ago(10)
