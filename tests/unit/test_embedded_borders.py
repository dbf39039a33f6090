"""Whatever is sealed, compacted or still live, and in whatever order it came, answers are right."""

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import decode, encode
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.read import Bucket, SeriesRange
from collectors.history.segment import Position
from collectors.history.spool_reader import Record

_S = 10**9
_HOUR_NS = 3600 * _S
_MIDNIGHT_NS = 1_795_478_400 * _S  # 2026-11-24 00:00 UTC
_POINTS = ("plc/x", "plc/y", "plc/z")
_VALUES: st.SearchStrategy[Value | None] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.decimals(-100, 100, places=2).map(float),
    st.text("ab\u6e29", max_size=2),
)


@dataclass
class Reference:
    """The same samples in a dictionary."""

    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)

    def put(self, samples: list[Sample]) -> None:
        for sample in samples:
            self.samples.setdefault(sample.point, {})[sample.source_ns] = sample

    def known(self, sample: Sample) -> Sample:
        """Return the sample that was there at this time; which of two would hold is not said."""
        return self.samples.get(sample.point, {}).get(sample.source_ns, sample)

    def range(self, point: str, start_ns: int, end_ns: int) -> list[Sample]:
        found = self.samples.get(point, {})
        return [found[at_ns] for at_ns in sorted(found) if start_ns <= at_ns < end_ns]


class Line:
    """A store with its reader, fed record by record."""

    def __init__(self, directory: Path) -> None:
        self.clock_ns = _MIDNIGHT_NS
        self.store = EmbeddedStore(directory, wall_ns=lambda: self.clock_ns)
        self.reader = EmbeddedReader(directory)
        self.reference = Reference()
        self._sequences = itertools.count(1)
        self._records: list[Record] = []

    def put(self, samples: list[Sample]) -> None:
        sequence = next(self._sequences)
        end = Position(segment=1, offset=0, sequence=sequence)
        batch = decode(encode(samples))
        record = Record(sequence=sequence, wall_ns=self.clock_ns, batch=batch, end=end)
        self._records.append(record)
        self.store.append("line1", [record])
        self.reference.put(samples)

    def put_again(self) -> None:
        """Store the newest records once more, as after a crash."""
        self.store.append("line1", self._records[-3:])

    def check(self, point: str, start_ns: int, end_ns: int, buckets: int | None) -> None:
        answer = self.reader.range(f"line1/{point}", start_ns, end_ns, buckets=buckets)
        expected = self.reference.range(point, start_ns, end_ns)
        if answer.resolution_ns == 0:
            assert list(answer.samples) == expected
            assert [repr(s.value) for s in answer.samples] == [repr(s.value) for s in expected]
            return
        assert buckets is not None
        assert len(expected) > buckets >= len(answer.buckets)
        check_buckets(answer, expected)

    def check_latest(self) -> None:
        keys = {f"line1/{point}": point for point in _POINTS}
        latest = self.reader.latest(list(keys))
        for key, point in keys.items():
            stored = self.reference.samples.get(point)
            assert (key in latest) == bool(stored)
            if stored:
                newest = stored[max(stored)]
                found = latest[key]
                assert (found.source_ns, repr(found.value)) == (
                    newest.source_ns,
                    repr(newest.value),
                )


def check_buckets(answer: SeriesRange, expected: list[Sample]) -> None:
    width_ns = answer.resolution_ns
    origin_ns = answer.buckets[0].start_ns
    by_start: dict[int, list[Sample]] = {}
    for sample in expected:
        offset = (sample.source_ns - origin_ns) // width_ns
        by_start.setdefault(origin_ns + offset * width_ns, []).append(sample)
    assert [bucket.start_ns for bucket in answer.buckets] == sorted(by_start)
    for bucket in answer.buckets:
        check_bucket(bucket, by_start[bucket.start_ns])


def check_bucket(bucket: Bucket, samples: list[Sample]) -> None:
    numbers = [float(s.value) for s in samples if isinstance(s.value, bool | int | float)]
    assert bucket.good == sum(not s.quality.is_bad for s in samples)
    assert bucket.bad == sum(s.quality.is_bad for s in samples)
    assert bucket.minimum == (min(numbers) if numbers else None)
    assert bucket.maximum == (max(numbers) if numbers else None)
    if numbers:
        scale = max(map(abs, numbers))
        mean = math.fsum(numbers) / len(numbers)
        assert bucket.mean == pytest.approx(mean, rel=1e-9, abs=1e-9 * scale)
    else:
        assert bucket.mean is None


def sample(point: str, value: Value | None, at_ns: int) -> Sample:
    return Sample(
        point=point,
        value=value,
        quality=Quality.BAD_TIMEOUT if value is None else Quality.GOOD,
        code=7 if value is None else 0,
        source_ns=at_ns,
        received_ns=max(at_ns, _MIDNIGHT_NS + 400 * _HOUR_NS),
    )


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.data())
def test_answers_agree_with_a_plain_list_whatever_is_sealed_late_or_there_twice(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    line = Line(tmp_path_factory.mktemp("history"))
    hours = data.draw(st.sampled_from([1, 5, 150]))
    spread_ns = hours * _HOUR_NS
    offset = st.integers(-spread_ns, spread_ns).map(lambda ns: ns // (_S // 7) * (_S // 7))
    for _ in range(data.draw(st.integers(1, 12))):
        points = data.draw(st.lists(st.sampled_from(_POINTS), min_size=1, max_size=5))
        base_ns = _MIDNIGHT_NS + data.draw(offset)
        samples = [
            sample(point, data.draw(_VALUES), base_ns + number * data.draw(st.integers(0, _S)))
            for number, point in enumerate(points)
        ]
        line.put([line.reference.known(sample) for sample in samples])
        step = data.draw(st.sampled_from(["", "", "seal", "again", "reopen", "late"]))
        if step == "seal":
            line.store.seal_all()
        elif step == "again":
            line.put_again()
        elif step == "reopen":
            line.store.close()
        elif step == "late":
            line.clock_ns += 2 * _HOUR_NS
            line.store.maintain()
        start_ns = _MIDNIGHT_NS + data.draw(offset)
        end_ns = start_ns + data.draw(st.integers(1, 2 * spread_ns))
        most = data.draw(st.none() | st.integers(1, 20))
        line.check(data.draw(st.sampled_from(_POINTS)), start_ns, end_ns, most)
        line.check_latest()
    line.store.close()


@settings(max_examples=5, derandomize=True, deadline=None)
@given(st.data())
def test_long_spans_from_rollups_agree_with_a_plain_list(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    line = Line(tmp_path_factory.mktemp("history"))
    step_ns = data.draw(st.sampled_from([97, 601])) * _S + data.draw(st.integers(0, _S))
    start_ns = _MIDNIGHT_NS - 10 * 24 * _HOUR_NS
    values = [None if n % 13 == 5 else round(math.sin(n) * 50, 2) for n in range(2500)]
    samples = [sample("plc/x", value, start_ns + n * step_ns) for n, value in enumerate(values)]
    line.clock_ns = samples[-1].source_ns
    late = data.draw(st.lists(st.integers(0, 2000), max_size=4, unique=True))
    for at in range(0, 2400, 300):
        line.put([s for n, s in enumerate(samples[at : at + 300], at) if n not in late])
    line.store.seal_all()
    if late:
        line.put([samples[number] for number in late])
    if data.draw(st.booleans()):
        line.store.seal_all()
    line.put(samples[2400:])
    for _ in range(6):
        first_ns = start_ns + data.draw(st.integers(-_HOUR_NS, 40 * _HOUR_NS))
        end_ns = samples[-1].source_ns + data.draw(st.integers(-40 * _HOUR_NS, _HOUR_NS))
        if data.draw(st.booleans()):
            first_ns, end_ns = (ns // _HOUR_NS * _HOUR_NS for ns in (first_ns, end_ns))
        line.check("plc/x", first_ns, max(end_ns, first_ns + 1), data.draw(st.integers(1, 300)))
    line.store.close()


def test_where_samples_were_deleted_their_rollups_still_answer(tmp_path: Path) -> None:
    line = Line(tmp_path)
    start_ns = _MIDNIGHT_NS - 5 * 24 * _HOUR_NS
    for day in range(5):
        line.put(
            [
                sample("plc/x", float(n), start_ns + day * 24 * _HOUR_NS + n * 30 * _S)
                for n in range(2880)
            ]
        )
    line.store.seal_all()
    line.store.prune(2, keep_rollup_days=400, now_ns=_MIDNIGHT_NS - 1)
    assert len([*tmp_path.glob("20*.db")]) == 3
    day_ns = 24 * _HOUR_NS
    for span_ns, buckets in ((5 * day_ns, 10), (5 * day_ns, 500), (day_ns, 24), (_HOUR_NS, 60)):
        answer = line.reader.range("line1/plc/x", start_ns, start_ns + span_ns, buckets=buckets)
        assert 0 < len(answer.buckets) <= buckets
        check_buckets(answer, line.reference.range("plc/x", start_ns, start_ns + span_ns))
    raw = line.reader.range("line1/plc/x", start_ns, _MIDNIGHT_NS, buckets=None)
    assert len(raw.samples) == 3 * 2880
    line.store.prune(1, keep_rollup_days=1, now_ns=_MIDNIGHT_NS + 90 * day_ns)
    line.store.close()
