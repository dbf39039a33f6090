"""What the control plane may know of stored history: ask, never write.

Reading never waits for the historian and never makes it wait. A series is named
``COLLECTOR/DEVICE/POINT``; times are ns since the Unix epoch, UTC. Each store has a reader of this
face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from collectors.contract.points import Quality, Sample, Value


class HistoryError(Exception):
    """A history file cannot be read. Look at the file; it may be damaged or of a newer program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestValue:
    """The newest value of a series; ``None`` exactly when its quality is bad."""

    value: Value | None
    quality: Quality
    code: int
    source_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What happened from ``start_ns`` on for one resolution; or one sample, if that is 0.

    Attributes:
        minimum: Of the numbers, with a bool as 0 or 1; ``None`` if only text or bad samples came.
        good: Samples that are good or uncertain; their number says nothing about their type.
        bad: Samples without a usable value. A bucket with bad ones only is a gap to be seen.
    """

    start_ns: int
    minimum: float | None
    mean: float | None
    maximum: float | None
    good: int
    bad: int

    @classmethod
    def of(cls, sample: Sample) -> Bucket:
        """Return the bucket of a single sample; a text has no figures."""
        number = None if isinstance(sample.value, str) or sample.value is None else sample.value
        number = int(number) if isinstance(number, bool) else number
        return cls(
            start_ns=sample.source_ns,
            minimum=number,
            mean=number,
            maximum=number,
            good=int(not sample.quality.is_bad),
            bad=int(sample.quality.is_bad),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Samples that the collector of a series could not keep, though not all need be of the series.

    Attributes:
        start_ns, end_ns: When the first and the last of them were put into its spool.
        reason: Why, as ``losses`` names it.
    """

    start_ns: int
    end_ns: int
    samples: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRange:
    """One series from ``start_ns`` up to, but without, ``end_ns``.

    Attributes:
        resolution_ns: Width of every bucket; 0 if each bucket is one sample.
        buckets: In order of time; where there was no sample at all, there is no bucket.
        samples: The samples with their own types if ``resolution_ns`` is 0, otherwise none.
        gaps: What is known to be missing; a store that cannot tell has none.
    """

    series: str
    start_ns: int
    end_ns: int
    resolution_ns: int
    buckets: tuple[Bucket, ...]
    samples: tuple[Sample, ...]
    gaps: tuple[Gap, ...] = ()


class HistoryReader(Protocol):
    """A store that can be asked; may be used from several threads at once."""

    def series(self, prefix: str) -> list[str]:
        """Return the names of all series that start with ``prefix``, sorted.

        Raises:
            HistoryError: the store cannot be read.
        """

    def latest(self, series: Sequence[str]) -> dict[str, LatestValue]:
        """Return the newest value of each of ``series`` that has any.

        Raises:
            HistoryError: the store cannot be read.
        """

    def range(self, series: str, start_ns: int, end_ns: int, *, buckets: int | None) -> SeriesRange:
        """Return a series in at most ``buckets`` buckets, or its samples if there are no more.

        ``None`` returns all samples, however many.

        Raises:
            ValueError: the range is empty, or ``buckets`` is below 1.
            HistoryError: the store cannot be read.
        """
