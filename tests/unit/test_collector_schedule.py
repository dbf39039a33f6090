"""Groups are read on a grid that does not drift, never in a burst; connects back off."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.runtime.backoff import Backoff
from collectors.runtime.schedule import Schedule, phase_s


def starts_of(
    schedule: Schedule, durations: list[float], start: float = 0.0
) -> tuple[list[float], int]:
    """Run one cycle for each duration and return when they started, and how many were skipped."""
    now, skipped, starts = start, 0, []
    schedule.start_now(now)
    for duration in durations:
        now = max(now, schedule.due_s)
        starts.append(now)
        now += duration
        skipped += schedule.advance(starts[-1], now)
    return starts, skipped


def test_a_thousand_quick_cycles_do_not_drift() -> None:
    schedule = Schedule(origin_s=0.3, interval_s=1.0)
    starts, skipped = starts_of(schedule, [0.02] * 1001, start=0.3)
    assert starts[1000] == pytest.approx(1000.3)
    assert skipped == 0


def test_the_first_cycle_is_at_once_and_the_next_on_the_grid() -> None:
    schedule = Schedule(origin_s=0.0, interval_s=10.0)
    assert starts_of(schedule, [0.1, 0.1, 0.1], start=3.0)[0] == [3.0, 10.0, 20.0]


def test_the_first_cycle_does_not_crowd_the_second() -> None:
    schedule = Schedule(origin_s=0.0, interval_s=10.0)
    starts, skipped = starts_of(schedule, [0.1, 0.1], start=8.0)
    assert starts == [8.0, 20.0]
    assert skipped == 0


def test_a_slow_cycle_skips_and_counts_what_it_missed() -> None:
    schedule = Schedule(origin_s=0.0, interval_s=1.0)
    starts, skipped = starts_of(schedule, [0.1, 3.7, 0.1, 0.1])
    assert starts == [0.0, 1.0, 5.0, 6.0]
    assert skipped == 3


def test_a_slightly_late_cycle_still_runs_and_is_called_late() -> None:
    schedule = Schedule(origin_s=0.0, interval_s=1.0)
    schedule.start_now(0.0)
    assert schedule.advance(0.0, 1.3) == 0
    assert schedule.due_s == 1.0
    assert schedule.is_late_by(0.3)
    assert not schedule.is_late_by(0.05)


@given(
    st.floats(0.01, 100),
    st.floats(0, 1000),
    st.floats(0, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=50),
)
def test_cycles_are_never_closer_than_half_an_interval_and_none_is_uncounted(
    interval: float, origin: float, start: float, durations_in_intervals: list[float]
) -> None:
    schedule = Schedule(origin_s=origin, interval_s=interval)
    durations = [d * interval for d in durations_in_intervals]
    starts, skipped = starts_of(schedule, durations, start=origin + start)
    for before, after in pairwise(starts):
        assert after - before > 0.499 * interval
    if len(starts) > 1:
        due = schedule.due_s
        cycles = round((due - origin) / interval) - round((starts[0] - origin) / interval)
        # The first cycle is off the grid, so the count of grid places is exact to one.
        assert abs(cycles - len(starts) - skipped) <= 1


@given(st.integers(0, 10_000), st.floats(0.01, 3600))
def test_a_phase_lies_within_its_interval(place: int, interval: float) -> None:
    assert 0 <= phase_s(place, interval) < interval


@pytest.mark.parametrize("devices", [2, 3, 10, 50, 200, 1000])
def test_no_two_devices_have_their_turn_close_together(devices: int) -> None:
    phases = sorted(phase_s(place, 1.0) for place in range(devices))
    gaps = [later - earlier for earlier, later in pairwise([*phases, phases[0] + 1.0])]
    assert min(gaps) > 0.38 / devices
    assert max(gaps) < 2 / devices


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_a_pause_is_a_random_share_of_a_doubling_ceiling(seed: int, failures: int) -> None:
    backoff = Backoff(0.5, 30.0, random.Random(seed))
    pauses = [backoff.next_delay_s() for _ in range(failures)]
    for n, pause in enumerate(pauses):
        assert 0 <= pause <= min(30.0, 0.5 * 2**n)


def test_pauses_use_the_whole_range() -> None:
    backoff = Backoff(1.0, 1.0, random.Random(7))
    pauses = [backoff.next_delay_s() for _ in range(500)]
    assert min(pauses) < 0.05
    assert max(pauses) > 0.95


@given(st.integers(0, 2**32), st.floats(0, 10), st.integers(1, 8))
def test_from_attempt_to_attempt_it_is_max_s_at_most_and_never_without_randomness(
    seed: int, spent_s: float, failures: int
) -> None:
    backoff = Backoff(0.5, 1.5, random.Random(seed))
    pauses = [backoff.next_delay_s(spent_s) for _ in range(failures)]
    assert max(pauses) + spent_s <= max(1.5, spent_s + 0.5) + 1e-9
    again = Backoff(0.5, 1.5, random.Random(seed))
    assert max(again.next_delay_s(spent_s) for _ in range(200)) > 0.4


def test_only_a_minute_of_health_starts_the_back_off_over() -> None:
    backoff = Backoff(0.5, 30.0, random.Random(1))
    for _ in range(8):
        backoff.next_delay_s()
    backoff.connection_lived(59.0)
    assert max(Backoff.next_delay_s(backoff) for _ in range(50)) > 0.5
    backoff.connection_lived(60.0)
    assert backoff.next_delay_s() <= 0.5
