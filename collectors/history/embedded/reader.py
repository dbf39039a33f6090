"""Answers questions from the files of the embedded store; never writes and never waits for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from collectors.contract.points import Quality, Sample
from collectors.history.embedded.schema import (
    CATALOGUE,
    NS_PER_DAY,
    day_path,
    files_by_day,
    open_read_only,
    start_of,
)
from collectors.history.read import Bucket, HistoryError, LatestValue, SeriesRange
from collectors.history.values import UINT64_SPAN, Kind, typed

_KEYS_A_QUERY = 500
"""SQLite before 3.32 takes at most 999 parameters."""
_HIGHEST_CHARACTER = "\U0010ffff"

_NUMBER = f"""CASE kind WHEN {Kind.FLOAT:d} THEN value WHEN {Kind.STR:d} THEN NULL
    WHEN {Kind.BIG:d} THEN value + {float(UINT64_SPAN)} ELSE value END"""
_IN_RANGE = """FROM point WHERE series_id = (SELECT id FROM series WHERE key = :series)
    AND t_ns >= :start_ns AND t_ns < :end_ns"""
_COUNT = f"SELECT count(*) FROM (SELECT 1 {_IN_RANGE} LIMIT :limit)"
_RAW = f"SELECT t_ns, value, kind, quality, code, received_ns {_IN_RANGE} ORDER BY t_ns"
# A value is NULL exactly when its quality is bad. total() instead of sum(), which fails when
# integers overflow.
_BUCKETS = f"""SELECT (t_ns - :start_ns) / :width_ns AS bucket, min({_NUMBER}), max({_NUMBER}),
    total({_NUMBER}), count({_NUMBER}), count(value), count(*) {_IN_RANGE} GROUP BY bucket"""


class EmbeddedReader:
    """Reads the files of the embedded store in ``directory``; they need not exist yet.

    Files are opened for each question, so a day that is deleted or begun is noticed at once.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def series(self, prefix: str) -> list[str]:
        bounds = (prefix, prefix + _HIGHEST_CHARACTER)
        with _reading(self._directory / CATALOGUE) as catalogue:
            if catalogue is None:
                return []
            query = "SELECT key FROM latest WHERE key >= ? AND key < ? ORDER BY key"
            return [key for (key,) in catalogue.execute(query, bounds)]

    def latest(self, series: Sequence[str]) -> dict[str, LatestValue]:
        found: dict[str, LatestValue] = {}
        with _reading(self._directory / CATALOGUE) as catalogue:
            if catalogue is None:
                return found
            for at in range(0, len(series), _KEYS_A_QUERY):
                keys = series[at : at + _KEYS_A_QUERY]
                marks = ",".join("?" * len(keys))
                query = f"""SELECT key, t_ns, value, kind, quality, code, received_ns
                    FROM latest WHERE key IN ({marks})"""
                for key, t_ns, raw, kind, quality, code, received_ns in catalogue.execute(
                    query, tuple(keys)
                ):
                    found[key] = LatestValue(
                        value=typed(kind, raw),
                        quality=Quality(quality),
                        code=code,
                        source_ns=t_ns,
                        received_ns=received_ns,
                    )
        return found

    def range(self, series: str, start_ns: int, end_ns: int, *, buckets: int | None) -> SeriesRange:
        if end_ns <= start_ns:
            raise ValueError(f"the range ends at {end_ns} ns, not after its start, {start_ns} ns")
        if buckets is not None and buckets < 1:
            raise ValueError(f"{buckets} buckets asked for, at least 1 is needed")
        asked: dict[str, str | int] = {"series": series, "start_ns": start_ns, "end_ns": end_ns}
        days = self._days(start_ns, end_ns)
        width_ns = 0
        if buckets is not None and self._has_more_than(buckets, asked, days):
            width_ns = -(-(end_ns - start_ns) // buckets)
        samples = () if width_ns else tuple(self._samples(asked, days))
        return SeriesRange(
            series=series,
            start_ns=start_ns,
            end_ns=end_ns,
            resolution_ns=width_ns,
            buckets=tuple(
                self._buckets(asked | {"width_ns": width_ns}, days)
                if width_ns
                else map(_bucket_of_sample, samples)
            ),
            samples=samples,
        )

    def _days(self, start_ns: int, end_ns: int) -> list[Path]:
        """Return the day files that overlap the range, in order of time."""
        try:
            days = sorted(files_by_day(self._directory))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise HistoryError(f"{self._directory}: {exc.strerror}") from exc
        return [
            day_path(self._directory, day)
            for day in days
            if start_of(day) < end_ns and start_of(day) + NS_PER_DAY > start_ns
        ]

    def _has_more_than(self, limit: int, asked: dict[str, str | int], days: list[Path]) -> bool:
        count = 0
        for path in days:
            with _reading(path) as day:
                if day is not None:
                    limited = asked | {"limit": limit + 1 - count}
                    count += day.execute(_COUNT, limited).fetchone()[0]
            if count > limit:
                return True
        return False

    def _samples(self, asked: dict[str, str | int], days: list[Path]) -> Iterator[Sample]:
        point = str(asked["series"]).partition("/")[2]
        for path in days:
            with _reading(path) as day:
                found = day.execute(_RAW, asked).fetchall() if day is not None else []
            for t_ns, raw, kind, quality, code, received_ns in found:
                yield Sample(
                    point=point,
                    value=typed(kind, raw),
                    quality=Quality(quality),
                    code=code,
                    source_ns=t_ns,
                    received_ns=received_ns,
                )

    def _buckets(self, asked: dict[str, str | int], days: list[Path]) -> Iterable[Bucket]:
        """Aggregate each day in SQL; only a bucket over midnight is put together here."""
        by_number: dict[int, _Part] = {}
        for path in days:
            with _reading(path) as day:
                found = day.execute(_BUCKETS, asked).fetchall() if day is not None else []
            for number, *columns in found:
                part = _Part(*columns)
                earlier = by_number.get(number)
                by_number[number] = part if earlier is None else earlier.joined_with(part)
        start_ns, width_ns = int(asked["start_ns"]), int(asked["width_ns"])
        return (part.bucket(start_ns + n * width_ns) for n, part in sorted(by_number.items()))


@dataclass(frozen=True, slots=True)
class _Part:
    """A bucket as far as one day file knows it; fields in the order of the query's columns."""

    minimum: float | None
    maximum: float | None
    total: float
    numbers: int
    good: int
    samples: int

    def joined_with(self, other: _Part) -> _Part:
        minima = [part.minimum for part in (self, other) if part.minimum is not None]
        maxima = [part.maximum for part in (self, other) if part.maximum is not None]
        return _Part(
            min(minima, default=None),
            max(maxima, default=None),
            self.total + other.total,
            self.numbers + other.numbers,
            self.good + other.good,
            self.samples + other.samples,
        )

    def bucket(self, start_ns: int) -> Bucket:
        return Bucket(
            start_ns=start_ns,
            minimum=self.minimum,
            mean=self.total / self.numbers if self.numbers else None,
            maximum=self.maximum,
            good=self.good,
            bad=self.samples - self.good,
        )


def _bucket_of_sample(sample: Sample) -> Bucket:
    number = None if isinstance(sample.value, str) or sample.value is None else sample.value
    number = int(number) if isinstance(number, bool) else number
    return Bucket(
        start_ns=sample.source_ns,
        minimum=number,
        mean=number,
        maximum=number,
        good=int(not sample.quality.is_bad),
        bad=int(sample.quality.is_bad),
    )


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    try:
        with open_read_only(path) as connection:
            yield connection
    except sqlite3.Error as exc:
        raise HistoryError(f"{path}: {exc}") from exc
