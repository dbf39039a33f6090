"""Waves are pure functions of time and seed that keep to their bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulators.waveforms import (
    Constant,
    Counter,
    CsvReplay,
    Ramp,
    RandomWalk,
    Sine,
    Square,
    Steps,
    TextList,
    Triangle,
    Writable,
)

times = st.floats(min_value=0, max_value=1e8)
seeds = st.integers(min_value=0, max_value=2**64 - 1)
levels = st.floats(min_value=-1e6, max_value=1e6)
periods = st.floats(min_value=1e-3, max_value=1e5)


def test_a_sine_starts_at_its_mean_and_peaks_after_a_quarter_of_its_period():
    wave = Sine(kind="sine", mean=50, amplitude=10, period_s=8)
    assert wave.at(0, seed=0) == 50
    assert wave.at(2, seed=0) == pytest.approx(60)
    assert wave.at(6, seed=0) == pytest.approx(40)
    assert wave.at(8, seed=0) == pytest.approx(50)


def test_a_phase_moves_a_sine_ahead():
    ahead = Sine(kind="sine", period_s=8, phase_s=2)
    assert ahead.at(0, seed=0) == pytest.approx(1.0)


def test_a_ramp_climbs_and_falls_back_at_once():
    wave = Ramp(kind="ramp", low=10, high=20, period_s=5)
    assert [wave.at(t, seed=0) for t in (0, 1, 4, 5)] == [10, 12, 18, 10]


def test_a_triangle_climbs_and_falls_alike():
    wave = Triangle(kind="triangle", low=0, high=4, period_s=8)
    assert [wave.at(t, seed=0) for t in (0, 2, 4, 6, 8)] == [0, 2, 4, 2, 0]


def test_a_square_is_high_first_for_its_share_of_the_period():
    wave = Square(kind="square", low=0, high=1, period_s=10, duty=0.3)
    assert [wave.at(t, seed=0) for t in (0, 2.9, 3.1, 9.9, 10)] == [1, 1, 0, 0, 1]


def test_a_counter_counts_steps_of_time():
    wave = Counter(kind="counter", start=100, step=3, step_s=0.5)
    assert [wave.at(t, seed=0) for t in (0, 0.49, 0.5, 10)] == [100, 100, 103, 160]


def test_a_text_list_starts_again_after_its_last_text():
    wave = TextList(kind="text_list", values=["a", "b", "c"], step_s=2)
    assert [wave.at(t, seed=0) for t in (0, 2, 4, 6)] == ["a", "b", "c", "a"]


def test_steps_start_again_after_the_last_one():
    wave = Steps(kind="steps", values=[1, 5, 2.5], step_s=2)
    assert [wave.at(t, seed=0) for t in (0, 1.9, 2, 4, 6)] == [1, 1, 5, 2.5, 1]


def replay(tmp_path, text, column="b"):
    (tmp_path / "run.csv").write_text(text)
    document = {"kind": "csv", "file": "run.csv", "column": column}
    return CsvReplay.model_validate(document, context={"folder": tmp_path})


def test_a_recording_is_played_row_by_row_and_again(tmp_path):
    wave = replay(tmp_path, "t,a,b\n10,0,1\n11,0,2\n\n13,0,3\n")
    assert [wave.at(t, seed=0) for t in (0, 0.9, 1, 2.9, 3, 4.9, 5, 6)] == [1, 1, 2, 2, 3, 3, 1, 2]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("t,a\n0,1\n", "csv_column", None),
        ("", "csv_column", None),
        ("t,b\n", "csv_empty", None),
        ("t,b\n0,1\n1,x\n", "csv_row", "3"),
        ("t,b\n0,1\n1\n", "csv_row", "3"),
        ("t,b\n0,1\n0,1\n", "csv_time", "3"),
        ("t,b\nnan,1\n", "csv_time", "2"),
    ],
)
def test_a_recording_that_cannot_be_played_says_which_line(tmp_path, text, code, line):
    with pytest.raises(ValidationError) as caught:
        replay(tmp_path, text)
    (detail,) = caught.value.errors()
    assert detail["type"] == code
    assert detail["ctx"].get("line") == line


@pytest.mark.parametrize("value", [True, 7, 2.5, "text"])
def test_constant_and_writable_keep_the_value_and_its_type(value):
    for wave in (Constant(kind="constant", value=value), Writable(kind="writable", value=value)):
        assert wave.at(123.4, seed=5) == value
        assert type(wave.at(123.4, seed=5)) is type(value)


@given(t_s=times, seed=seeds, mean=levels, noise=st.floats(min_value=0, max_value=1e3))
def test_noise_never_exceeds_its_limit(t_s, seed, mean, noise):
    wave = Sine(kind="sine", mean=mean, amplitude=0, period_s=1, noise=noise)
    assert abs(float(wave.at(t_s, seed)) - mean) <= noise * (1 + 1e-9) + 1e-9


@given(t_s=times, seed=seeds, low=levels, span=st.floats(min_value=0, max_value=1e6), p=periods)
def test_periodic_waves_stay_between_low_and_high(t_s, seed, low, span, p):
    high = low + span
    slack = 1e-9 * max(abs(low), abs(high), 1)
    for wave in (
        Ramp(kind="ramp", low=low, high=high, period_s=p),
        Triangle(kind="triangle", low=low, high=high, period_s=p),
        Square(kind="square", low=low, high=high, period_s=p),
    ):
        assert low - slack <= float(wave.at(t_s, seed)) <= high + slack


@given(n=st.integers(min_value=0, max_value=10**9), seed=seeds, step=st.floats(1e-3, 1e3))
def test_a_random_walk_never_moves_more_than_its_step(n, seed, step):
    wave = RandomWalk(kind="random_walk", start=10, step=step, step_s=1)
    moved = abs(float(wave.at(n + 1, seed)) - float(wave.at(n, seed)))
    assert moved <= step * (1 + 1e-6)


@given(t_s=times, seed=seeds)
def test_a_random_walk_stays_between_its_bounds_and_starts_at_its_start(t_s, seed):
    wave = RandomWalk(kind="random_walk", start=5, step=3, step_s=0.1, low=4, high=6)
    assert wave.at(0, seed) == 5
    assert 4 <= float(wave.at(t_s, seed)) <= 6


def test_a_random_walk_wanders_far_beyond_a_single_step():
    wave = RandomWalk(kind="random_walk", start=0, step=1, step_s=1)
    reached = [float(wave.at(n, seed=1)) for n in range(4000)]
    assert max(reached) - min(reached) > 5
    assert all(math.isfinite(value) for value in reached)


@given(t_s=times, seed=seeds)
def test_the_same_time_and_seed_give_the_same_value(t_s, seed):
    noisy = Sine(kind="sine", period_s=3, noise=1)
    walk = RandomWalk(kind="random_walk")
    assert noisy.at(t_s, seed) == noisy.at(t_s, seed)
    assert walk.at(t_s, seed) == walk.at(t_s, seed)


def test_another_seed_gives_another_course():
    walk = RandomWalk(kind="random_walk")
    assert [walk.at(n, seed=1) for n in range(9)] != [walk.at(n, seed=2) for n in range(9)]
