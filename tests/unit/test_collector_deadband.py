"""What is stored of the readings of a group: clamp, deadband and longest silence."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.columns import Columns, Runs, columns_of
from collectors.contract.points import Quality, Value
from collectors.runtime.deadband import Gate, Rule
from collectors.runtime.values import fault, reading

S = 1_000_000_000
POINTS = ("plc/a", "plc/b", "plc/c")


def columns(values: Sequence[Value | None], at_s: float = 1.0, quality: int = 0) -> Columns:
    at_ns = int(at_s * S)
    qualities = [Quality.BAD_RANGE if value is None else quality for value in values]
    return Columns(
        points=POINTS[: len(values)],
        values=list(values),
        qualities=bytes(qualities),
        source_ns=Runs([(at_ns, len(values))]),
        received_ns=Runs([(at_ns, len(values))]),
    )


def gate(*rules: Rule) -> Gate:
    return Gate(dict(zip(POINTS, rules, strict=False)))


def stored(which: Gate, reading: Columns) -> list[int]:
    kept = which.admit(reading)
    return list(range(len(reading))) if kept is None else list(kept)


def test_without_rules_every_reading_is_stored() -> None:
    free = gate(Rule(), Rule())
    for _ in range(3):
        assert stored(free, columns([1, 1])) == [0, 1]


def test_a_number_is_stored_once_it_has_moved_by_more_than_its_deadband() -> None:
    narrow = gate(Rule(deadband=0.5), Rule())
    assert stored(narrow, columns([10.0, 1])) == [0, 1]
    assert stored(narrow, columns([10.5, 1])) == [1]
    assert stored(narrow, columns([9.5, 1])) == [1]
    assert stored(narrow, columns([10.6, 1])) == [0, 1]
    assert stored(narrow, columns([10.2, 1])) == [1]


def test_a_slow_drift_is_not_lost_in_small_steps() -> None:
    narrow = gate(Rule(deadband=1.0))
    kept = [step for step in range(101) if stored(narrow, columns([step * 0.125]))]
    assert kept == list(range(0, 101, 9))


def test_a_deadband_of_zero_stores_every_change_and_nothing_else() -> None:
    exact = gate(Rule(deadband=0.0), Rule(deadband=0.0), Rule(deadband=0.0))
    assert stored(exact, columns([1, True, "on"])) == [0, 1, 2]
    assert stored(exact, columns([1, True, "on"])) == []
    assert stored(exact, columns([1, False, "on"])) == [1]
    assert stored(exact, columns([2, False, "off"])) == [0, 2]


def test_an_unchanged_value_is_repeated_within_its_longest_silence() -> None:
    quiet = gate(Rule(deadband=1.0, max_silence_s=10), Rule(deadband=1.0, max_silence_s=1000))
    times = [t for t in range(0, 100) if 0 in stored(quiet, columns([5, 5], at_s=1000 + t))]
    assert times[0] == 0
    assert all(b - a <= 10 for a, b in pairwise(times))
    assert len(times) <= 13


def test_a_clock_that_is_set_back_makes_no_point_silent() -> None:
    quiet = gate(Rule(deadband=1.0, max_silence_s=10), Rule(deadband=1.0, max_silence_s=10))

    def times_from(start_s: int) -> list[int]:
        readings = ((t, columns([5, 5], at_s=t)) for t in range(start_s, start_s + 40))
        return [t for t, reading in readings if stored(quiet, reading)]

    assert times_from(10_000)[0] == 10_000
    after = times_from(6_000)
    assert after[0] == 6_000
    assert all(b - a <= 10 for a, b in pairwise(after))


def test_a_bad_reading_is_stored_once_and_so_is_the_good_one_after_it() -> None:
    watch = gate(Rule(deadband=100.0), Rule(deadband=100.0))
    assert stored(watch, columns([1, 1])) == [0, 1]
    assert stored(watch, columns([None, 1])) == [0]
    assert stored(watch, columns([None, 1])) == []
    assert stored(watch, columns([1, 1])) == [0]
    assert stored(watch, columns([1, 1])) == []


def test_another_code_or_another_quality_is_a_change() -> None:
    watch = gate(Rule(deadband=100.0))
    for quality, code in ((Quality.BAD_DEVICE, 4), (Quality.BAD_DEVICE, 6), (Quality.BAD_COMM, 0)):
        bad = columns_of([fault("plc/a", quality, code, S, S)])
        assert stored(watch, bad) == [0]
        assert stored(watch, bad) == []
    assert stored(watch, columns([1], quality=Quality.UNCERTAIN)) == [0]
    assert stored(watch, columns([1])) == [0]
    assert stored(watch, columns([1])) == []


def test_after_an_outage_everything_is_stored_again() -> None:
    watch = gate(Rule(deadband=100.0), Rule(deadband=100.0))
    assert stored(watch, columns([1, 1])) == [0, 1]
    watch.forget()
    assert stored(watch, columns([1, 1])) == [0, 1]


def test_a_number_outside_its_clamp_is_out_of_range_and_its_neighbours_are_not() -> None:
    limits = gate(Rule(clamp=(-50.0, 400.0)), Rule(), Rule(clamp=(0.0, 1.0)))
    given_values = columns([400.1, 400.1, 1])
    for _ in range(2):
        clamped = limits.clamped(given_values)
        assert clamped.values == [None, 400.1, 1]
        assert [Quality(q) for q in clamped.qualities] == [
            Quality.BAD_RANGE,
            Quality.GOOD,
            Quality.GOOD,
        ]
    assert limits.clamped(columns([400.0, 0, 0.0])).values == [400.0, 0, 0.0]
    assert limits.clamped(columns([-50.1, 0, "text"])).values == [None, 0, "text"]


def test_single_points_in_any_order_meet_the_same_rules() -> None:
    """As from a subscription: some points only, some of them twice."""
    some = gate(Rule(deadband=1.0), Rule(clamp=(0.0, 9.0)), Rule(deadband=1.0))
    many = columns_of(
        [reading(p, v, S, S) for p, v in (("plc/c", 5), ("plc/b", 10), ("plc/c", 5.5))]
    )
    clamped = some.clamped(many)
    assert clamped.values == [5, None, 5.5]
    assert stored(some, clamped) == [0, 1]
    again = columns_of([reading("plc/c", 7, S, S), reading("plc/a", 1, S, S)])
    assert stored(some, again) == [0, 1]


def test_the_order_in_which_a_device_is_read_need_not_be_that_of_the_file() -> None:
    mixed = gate(Rule(deadband=10.0), Rule(deadband=0.0, max_silence_s=5), Rule(clamp=(0.0, 1.0)))
    turned = tuple(reversed(POINTS))

    def cycle(values: list[Value], at_s: float) -> tuple[list[Value | None], list[int]]:
        base = columns(values, at_s)
        read = mixed.clamped(
            Columns(
                points=turned,
                values=base.values,
                qualities=base.qualities,
                source_ns=base.source_ns,
                received_ns=base.received_ns,
            )
        )
        return list(read.values), stored(mixed, read)

    assert cycle([2.0, 0, 0], 100) == ([None, 0, 0], [0, 1, 2])
    assert cycle([0.5, 1, 9], 101) == ([0.5, 1, 9], [0, 1])
    assert cycle([0.5, 1, 11], 102) == ([0.5, 1, 11], [0, 2])


def test_a_driver_that_plans_anew_does_not_start_the_rules_over() -> None:
    watch = gate(Rule(deadband=1.0), Rule(deadband=1.0))
    assert stored(watch, columns([1, 1])) == [0, 1]
    assert stored(watch, columns([1, 1])) == []
    for _ in range(2):
        again = replace(columns([1, 5]), points=tuple("plc/" + name for name in "ab"))
        assert watch._is_regular(again.points)
        assert stored(watch, again) in ([1], [])
    assert watch._is_regular(again.points)


class Naive:
    """The rules as the documentation states them, one point at a time."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.last: Value | None = None
        self.bad: bool | None = None

    def stores(self, value: Value | None) -> bool:
        if self.rule.deadband is None:
            return True
        is_bad = value is None
        moved = (
            value is not None
            and self.last is not None
            and not isinstance(value, str)
            and not isinstance(self.last, str)
            and abs(value - self.last) > self.rule.deadband
        )
        if is_bad is self.bad and not moved:
            return False
        self.last, self.bad = value, is_bad
        return True


@given(
    st.lists(st.sampled_from([None, 0.0, 0.5, 3.0]), min_size=3, max_size=3),
    st.lists(
        st.lists(
            st.none() | st.floats(-10, 10) | st.integers(-10, 10) | st.booleans(),
            min_size=3,
            max_size=3,
        ),
        max_size=30,
    ),
)
def test_what_is_stored_is_what_the_rules_say(
    bands: list[float | None], cycles: list[list[float | None]]
) -> None:
    rules = [Rule(deadband=band, max_silence_s=10_000) for band in bands]
    fast = gate(*rules)
    slow = [Naive(rule) for rule in rules]
    for number, values in enumerate(cycles):
        expected = [i for i, value in enumerate(values) if slow[i].stores(value)]
        assert stored(fast, columns(values, at_s=1000.0 + number)) == expected


@pytest.mark.parametrize("index", [-3, -1, 0, 1, 2])
def test_runs_are_a_sequence(index: int) -> None:
    runs = Runs([(7, 2), (9, 1)])
    assert list(runs) == [7, 7, 9]
    assert runs[index] == [7, 7, 9][index]
    assert runs[1:] == [7, 9]
    with pytest.raises(IndexError):
        _ = runs[3]
