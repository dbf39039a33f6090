"""A group keeps its points, whatever a driver has to say of them."""

import time
from dataclasses import replace

from collectors.contract.columns import Columns, Runs
from collectors.contract.config_base import Point, PollGroup
from collectors.contract.points import Quality
from collectors.runtime.group import GroupState
from collectors.runtime.timing import Punctuality


def reading(*names: str) -> Columns:
    at_ns = Runs([(1, len(names))])
    return Columns(
        points=tuple(f"plc/{name}" for name in names),
        values=[1.0] * len(names),
        qualities=bytes(len(names)),
        source_ns=at_ns,
        received_ns=at_ns,
    )


def still(frozen_after_s: float | None, *, read_again: float = 1.0) -> int:
    """Return how many points are frozen after two readings within no time at all."""
    points = [Point(name=name) for name in ("a", "b")]
    group = GroupState("plc", PollGroup(frozen_after_s=frozen_after_s), points, 0.0, Punctuality)
    group.take(reading("a", "b"))
    time.sleep(0.05)
    group.take(replace(reading("a", "b"), values=[1.0, read_again]))
    return group.frozen_points


def test_values_that_stand_still_are_frozen_after_their_limit_and_only_with_one() -> None:
    assert still(0.01) == 2
    assert still(60.0) == 0
    assert still(None) == 0


def test_one_value_that_moves_proves_the_others() -> None:
    assert still(0.04, read_again=2.0) == 0


def test_an_outage_is_no_standstill() -> None:
    points = [Point(name="a")]
    group = GroupState("plc", PollGroup(frozen_after_s=0.01), points, 0.0, Punctuality)
    group.take(reading("a"))
    time.sleep(0.02)
    assert group.frozen_points == 1
    group.lose(Quality.BAD_COMM, 0)
    assert group.frozen_points == 0
    group.take(reading("a"))
    assert group.frozen_points == 0


def test_a_reading_without_news_changes_nothing() -> None:
    points = [Point(name=name) for name in ("a", "b")]
    group = GroupState("plc", PollGroup(), points, 0.0, Punctuality)
    for names in (("b", "a"), (), ("a",), ()):
        group.take(reading(*names))
    lost = group.lose(Quality.BAD_COMM, 0)
    assert lost is not None
    assert sorted(lost.points) == ["plc/a", "plc/b"]
    assert group.bad_points == 2
