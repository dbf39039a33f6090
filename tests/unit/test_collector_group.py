"""A group keeps its points, whatever a driver has to say of them."""

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


def test_a_reading_without_news_changes_nothing() -> None:
    points = [Point(name=name) for name in ("a", "b")]
    group = GroupState("plc", PollGroup(), points, 0.0, Punctuality)
    for names in (("b", "a"), (), ("a",), ()):
        group.take(reading(*names))
    lost = group.lose(Quality.BAD_COMM, 0)
    assert lost is not None
    assert sorted(lost.points) == ["plc/a", "plc/b"]
    assert group.bad_points == 2
