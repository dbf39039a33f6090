"""Punctuality of poll groups in the last minute."""

from hypothesis import given
from hypothesis import strategies as st

from collectors.runtime.timing import Punctuality


def test_a_group_that_was_never_read_has_no_figures() -> None:
    timing = Punctuality("fast", 0.5).timing()
    assert (timing.group_id, timing.interval_s, timing.cycles) == ("fast", 0.5, 0)
    assert timing.late_p50_ms is timing.late_p99_ms is timing.read_p99_ms is None


@given(st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_percentiles_are_right_within_a_tenth(late_s: list[float]) -> None:
    punctuality = Punctuality("g", 1.0)
    for n, late in enumerate(late_s):
        due = 1000.0 + n / 100
        punctuality.note(due, due + late, due + late + 0.02)
    timing = punctuality.timing()
    in_order = sorted(late_s)
    for share, given_ms in ((0.5, timing.late_p50_ms), (0.99, timing.late_p99_ms)):
        exact_ms = 1000 * in_order[max(0, -int(-share * len(in_order) // 1) - 1)]
        assert given_ms is not None
        assert exact_ms * 0.999 - 0.001 <= given_ms <= exact_ms * 1.1 + 0.002


def test_what_was_more_than_a_minute_ago_is_forgotten() -> None:
    punctuality = Punctuality("g", 1.0)
    punctuality.note(0.0, 3.0, 3.1)
    for second in range(10, 80):
        punctuality.note(float(second), second + 0.001, second + 0.002)
    timing = punctuality.timing()
    assert timing.late_p99_ms is not None
    assert timing.late_p99_ms < 2
    assert timing.cycles <= 61


def test_a_cycle_that_starts_early_is_not_late() -> None:
    punctuality = Punctuality("g", 1.0)
    punctuality.note(10.0, 9.9, 10.0)
    assert (punctuality.timing().late_p99_ms or 0) < 0.001
