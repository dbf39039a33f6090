"""Puts together what a time series server gives field by field: samples, newest values, buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from collectors.contract.points import Quality, Sample, Value
from collectors.history.read import Bucket, LatestValue, SeriesRange


@dataclass(slots=True)
class Moment:
    """The fields of one series at one time."""

    value: Value | None = None
    quality: Quality = Quality.GOOD
    code: int = 0
    delay_ns: int = 0

    def sample(self, series: str, t_ns: int) -> Sample | None:
        """Return it as a sample; ``None`` if the store has lost its value."""
        if (self.value is None) is not self.quality.is_bad:
            return None
        return Sample(
            point=series.partition("/")[2],
            value=self.value,
            quality=self.quality,
            code=self.code,
            source_ns=t_ns,
            received_ns=t_ns + self.delay_ns,
        )

    def latest(self, t_ns: int) -> LatestValue:
        """Return it as the newest value of its series."""
        return LatestValue(
            value=None if self.quality.is_bad else self.value,
            quality=self.quality,
            code=self.code,
            source_ns=t_ns,
            received_ns=t_ns + self.delay_ns,
        )


@dataclass(frozen=True, slots=True)
class Stat:
    """One figure of bucket ``number``; of one field, so a bucket can have several of a kind.

    ``name`` is ``min``, ``max`` or ``sum`` of numbers, ``count`` of numbers, ``text`` or ``bad``
    for the count of such samples.
    """

    number: int
    name: str
    value: float


@dataclass(slots=True)
class _Figures:
    minimum: float = inf
    maximum: float = -inf
    total: float = 0.0
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, stat: Stat) -> None:
        if stat.name == "min":
            self.minimum = min(self.minimum, stat.value)
        elif stat.name == "max":
            self.maximum = max(self.maximum, stat.value)
        elif stat.name == "sum":
            self.total += stat.value
        else:
            self.counts[stat.name] += int(stat.value)

    def bucket(self, start_ns: int) -> Bucket:
        numbers = self.counts["count"]
        return Bucket(
            start_ns=start_ns,
            minimum=self.minimum if numbers else None,
            mean=self.total / numbers if numbers else None,
            maximum=self.maximum if numbers else None,
            good=numbers + self.counts["text"],
            bad=self.counts["bad"],
        )


def buckets_of(stats: Iterable[Stat], start_ns: int, width_ns: int) -> tuple[Bucket, ...]:
    """Return the buckets that have a sample, in order of time."""
    figures: defaultdict[int, _Figures] = defaultdict(_Figures)
    for stat in stats:
        figures[stat.number].add(stat)
    buckets = (found.bucket(start_ns + n * width_ns) for n, found in sorted(figures.items()))
    return tuple(bucket for bucket in buckets if bucket.good or bucket.bad)


def checked_width_ns(start_ns: int, end_ns: int, buckets: int | None) -> int:
    """Return the width of a bucket, 0 without buckets.

    Raises:
        ValueError: the range is empty, or ``buckets`` is below 1.
    """
    if end_ns <= start_ns:
        raise ValueError(f"the range ends at {end_ns} ns, not after its start, {start_ns} ns")
    if buckets is not None and buckets < 1:
        raise ValueError(f"{buckets} buckets asked for, at least 1 is needed")
    return 0 if buckets is None else -(-(end_ns - start_ns) // buckets)


def raw_range(series: str, start_ns: int, end_ns: int, samples: Iterable[Sample]) -> SeriesRange:
    """Return a range in which each bucket is one sample."""
    found = tuple(samples)
    return SeriesRange(
        series=series,
        start_ns=start_ns,
        end_ns=end_ns,
        resolution_ns=0,
        buckets=tuple(map(Bucket.of, found)),
        samples=found,
    )
