"""An export has every sample once, however the store answers and however large it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.points import Quality, Sample
from collectors.history.read import Bucket, LatestValue, SeriesRange
from control_plane.exports import pages as module
from control_plane.exports.pages import ExportRequest, count_samples, pages

S = 10**9
SERIES = "line1/plc/x"


@dataclass
class ListReader:
    """Answers from a list as the embedded store does; ``grid_ns`` is the least width of its own."""

    samples: list[Sample]
    grid_ns: int = 1
    asked: int = 0

    def series(self, prefix: str) -> list[str]:
        raise AssertionError

    def latest(self, series: Sequence[str]) -> dict[str, LatestValue]:
        raise AssertionError

    def range(self, series: str, start_ns: int, end_ns: int, *, buckets: int | None) -> SeriesRange:
        self.asked += 1
        found = [s for s in self.samples if start_ns <= s.source_ns < end_ns]
        width_ns = 0
        if buckets is not None and len(found) > buckets:
            width_ns = -(-(end_ns - start_ns) // buckets)
            width_ns = -(-width_ns // self.grid_ns) * self.grid_ns
        groups: dict[int, list[Sample]] = {}
        for s in found:
            offset = (s.source_ns - start_ns) % width_ns if width_ns else 0
            groups.setdefault(s.source_ns - offset, []).append(s)
        return SeriesRange(
            series=series,
            start_ns=start_ns,
            end_ns=end_ns,
            resolution_ns=width_ns,
            buckets=tuple(bucket(at, group) for at, group in sorted(groups.items())),
            samples=() if width_ns else tuple(found),
        )


def bucket(at: int, group: list[Sample]) -> Bucket:
    values = [float(s.value) for s in group if s.value is not None]
    return Bucket(
        start_ns=at,
        minimum=min(values, default=None),
        mean=sum(values) / len(values) if values else None,
        maximum=max(values, default=None),
        good=len(values),
        bad=len(group) - len(values),
    )


def sample(at_ns: int, value: float | None = 1.0) -> Sample:
    quality = Quality.BAD_TIMEOUT if value is None else Quality.GOOD
    return Sample(point="plc/x", value=value, quality=quality, source_ns=at_ns, received_ns=at_ns)


def asked(end_ns: int, *, start_ns: int = 0, width_ns: int = 0) -> ExportRequest:
    return ExportRequest(units={SERIES: "°C"}, start_ns=start_ns, end_ns=end_ns, width_ns=width_ns)


@given(st.sets(st.integers(0, 10**14 - 1), max_size=200), st.integers(1, 40))
def test_every_sample_is_exported_once_and_in_order(times: set[int], page: int) -> None:
    reader = ListReader([sample(at) for at in sorted(times)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE_ROWS", page)
        found = [(t, len(p.rows)) for p in pages(reader, asked(10**14)) for t, _ in p.rows]
    assert [t for t, _ in found] == sorted(times)
    assert all(rows <= page for _, rows in found)


def test_a_burst_in_one_microsecond_is_exported_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_ROWS", 10)
    times = [*range(5 * S, 5 * S + 1000), 90 * S]
    reader = ListReader([sample(at) for at in times])
    assert [t for p in pages(reader, asked(100 * S)) for t, _ in p.rows] == times
    assert reader.asked < 400


def test_years_without_a_sample_cost_few_questions() -> None:
    reader = ListReader([])
    assert list(pages(reader, asked(10 * 365 * 86400 * S)))[-1].fraction == 1.0
    assert reader.asked < 20


@given(
    st.dictionaries(st.integers(0, 100_000), st.none() | st.integers(-100, 100), max_size=80),
    st.sampled_from([1, 7, 60, 3600]),
    st.sampled_from([1, 5 * S, 7 * S]),
)
def test_buckets_begin_at_multiples_and_hold_every_sample(
    values: dict[int, int | None], width_s: int, grid_ns: int
) -> None:
    reader = ListReader([sample(at * S, v) for at, v in sorted(values.items())], grid_ns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BUCKETS_A_PAGE", 50)
        rows = [
            row
            for page in pages(reader, asked(100_001 * S, width_ns=width_s * S))
            for row in page.rows
        ]
    expected: dict[int, list[int | None]] = {}
    for at, value in sorted(values.items()):
        expected.setdefault(at - at % width_s, []).append(value)
    assert [t for t, _ in rows] == [at * S for at in sorted(expected)]
    for (t_ns, (_, low, mean, high, unit, count, bad)), at in zip(
        rows, sorted(expected), strict=True
    ):
        good = [v for v in expected[at] if v is not None]
        assert (t_ns, unit, count, bad) == (at * S, "°C", len(good), len(expected[at]) - len(good))
        assert (low, high) == (min(good, default=None), max(good, default=None))
        assert mean == (pytest.approx(sum(good) / len(good), abs=1e-9) if good else None)


def test_the_fraction_runs_from_series_to_series() -> None:
    both = ExportRequest(
        units={"a/b/c": "", SERIES: ""}, start_ns=0, end_ns=8 * 3600 * S, width_ns=0
    )
    fractions = [page.fraction for page in pages(ListReader([]), both)]
    assert fractions == sorted(fractions)
    assert 0.5 in fractions
    assert fractions[-1] == 1.0


def test_counting_ends_as_soon_as_there_are_too_many() -> None:
    reader = ListReader([sample(at) for at in range(100)])
    many = ExportRequest(
        units=dict.fromkeys(map(str, range(10)), ""), start_ns=0, end_ns=S, width_ns=0
    )
    assert count_samples(reader, many, 250) == 300
    assert reader.asked == 3
