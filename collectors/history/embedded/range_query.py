"""One series over a span of time, from batches, chunks and rollups together.

Samples are looked at hour by hour. What is not sealed holds over chunks, a later chunk over an
earlier one. A long span in wide buckets takes whole hours from the rollups, and only its ends and
the hours whose rollups do not hold from samples; its buckets begin at whole minutes or hours, so
the first may begin before the span, though it holds nothing from there. Where samples have been
deleted, a minute is the finest there is.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from collectors.history.batch import BatchError
from collectors.history.embedded.codec import ChunkError
from collectors.history.embedded.day import Clocks
from collectors.history.embedded.live_reader import LivePart
from collectors.history.embedded.points import EMPTY, Int64s, Points, joined, runs_of
from collectors.history.embedded.rollup import (
    NS_PER_HOUR,
    NS_PER_MINUTE,
    Summaries,
    joined_summaries,
    summarised,
    unpack_summaries,
)
from collectors.history.embedded.schema import (
    day_of_hour,
    day_path,
    files_by_day,
    first_hour,
    open_read_only,
    rollups_by_month,
)
from collectors.history.read import HistoryError

_HOURS_A_DAY = 24
_LONGEST_RAW_NS = 72 * NS_PER_HOUR
"""A longer span is read from rollups, if its buckets are a minute or more."""
_CHUNKS = """SELECT hour, clock_id, body FROM chunk
    WHERE hour IN ({hours}) AND series_id = (SELECT id FROM series WHERE key = ?)
    ORDER BY hour, id"""
_ROLLUPS = """SELECT hour, good, bad, numbers, minimum, maximum, total, first, last, minutes
    FROM rollup WHERE series_id = (SELECT id FROM series WHERE key = ?)
    AND hour BETWEEN ? AND ? ORDER BY hour"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Buckets of ``width_ns`` from ``origin_ns`` on."""

    origin_ns: int
    width_ns: int

    def keys(self, times_ns: Int64s) -> Int64s:
        """Return the number of the bucket of each time; what is before them is in the first."""
        keys: Int64s = np.maximum(times_ns - self.origin_ns, 0) // self.width_ns
        return keys

    def is_of(self, unit_ns: int) -> bool:
        """Tell whether every bucket is made of whole units."""
        return self.width_ns % unit_ns == 0 and self.origin_ns % unit_ns == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Either samples or summaries, keyed by number of their bucket in ``grid``."""

    samples: Points = EMPTY
    grid: Grid | None = None
    summaries: Summaries | None = None


class RangeQuery:
    """A question, after ``live.db`` has been looked into; ``live`` is ``None`` without that file.

    Raises:
        HistoryError: from every method, if a file cannot be read.
    """

    def __init__(
        self, directory: Path, series: str, start_ns: int, end_ns: int, live: LivePart | None
    ) -> None:
        self._directory = directory
        self._series = series
        self._start_ns = start_ns
        self._end_ns = end_ns
        self._live = live
        self._first_hour = start_ns // NS_PER_HOUR
        self._last_hour = (end_ns - 1) // NS_PER_HOUR

    def all_samples(self) -> Answer:
        """Return every sample that is still there."""
        parts = [points for _, points in self._raw(self._hours_with_samples)]
        return Answer(samples=joined(parts) if parts else EMPTY)

    def in_buckets(self, most: int) -> Answer:
        """Return at most so many summaries, or the samples if there are no more of them."""
        rolled = self._rolled_grid(most)
        if rolled is None:
            width_ns = -(-(self._end_ns - self._start_ns) // most)
            grid = Grid(origin_ns=self._start_ns, width_ns=width_ns)
            return self._summaries(grid, self._hours_with_samples, most)
        return self._summaries(rolled, self._unrolled_hours(), most)

    def _rolled_grid(self, most: int) -> Grid | None:
        """Return buckets that can be made of rollups, if the span is long."""
        span_ns = self._end_ns - self._start_ns
        if self._live is None or span_ns <= _LONGEST_RAW_NS or span_ns // most < NS_PER_MINUTE:
            return None
        unit_ns = NS_PER_HOUR if span_ns // most >= NS_PER_HOUR else NS_PER_MINUTE
        origin_ns = self._start_ns // unit_ns * unit_ns
        units = -(-(self._end_ns - origin_ns) // (most * unit_ns))
        return Grid(origin_ns=origin_ns, width_ns=units * unit_ns)

    def _summaries(self, grid: Grid, raw_hours: Set[int], most: int) -> Answer:
        found: dict[int, Summaries] = {}
        kept: list[Points] = []
        count = 0
        for hour, points in self._raw(raw_hours):
            found[hour] = summarised(points, grid.keys(points.source_ns))
            count += len(points)
            if count <= most:
                kept.append(points)
        rolled = dict(self._rollups(grid, raw_hours))
        count += sum(int((part.good + part.bad).sum()) for part in rolled.values())
        if count <= most and rolled.keys() <= self._hours_with_samples:
            return self.all_samples() if rolled else Answer(samples=joined(kept or [EMPTY]))
        found |= rolled
        summaries = joined_summaries([found[hour] for hour in sorted(found)])
        return Answer(grid=grid, summaries=summaries)

    @cached_property
    def _all_days(self) -> list[int]:
        """The first hour of each day file, in order."""
        try:
            days = sorted(files_by_day(self._directory))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise HistoryError(f"{self._directory}: {exc.strerror}") from exc
        return [first_hour(day) for day in days if day_path(self._directory, day).exists()]

    @cached_property
    def _live_hours(self) -> dict[int, Points]:
        if self._live is None or len(self._live.points) == 0:
            return {}
        hours = self._live.points.source_ns // NS_PER_HOUR
        return {int(hours[run.start]): self._live.points.at(run) for run in runs_of(hours)}

    @cached_property
    def _hours_with_samples(self) -> Set[int]:
        """Hours of the span that may have samples; of deleted days only what came late."""
        found = set(self._live_hours)
        for day in self._all_days:
            start, end = max(day, self._first_hour), min(day + _HOURS_A_DAY - 1, self._last_hour)
            found.update(range(start, end + 1))
        return found

    def _unrolled_hours(self) -> Set[int]:
        """Hours of the span that must be read sample by sample: its ends, and what has changed."""
        ends = set()
        if self._start_ns % NS_PER_HOUR:
            ends.add(self._first_hour)
        if self._end_ns % NS_PER_HOUR:
            ends.add(self._last_hour)
        pending = self._live.pending if self._live is not None else frozenset()
        return self._hours_with_samples & (ends | pending | self._live_hours.keys())

    def _raw(self, hours: Set[int]) -> Iterator[tuple[int, Points]]:
        """Yield the samples of each hour that has any in the span, by time."""
        by_day: defaultdict[int, list[int]] = defaultdict(list)
        for hour in sorted(hours):
            by_day[hour - hour % _HOURS_A_DAY].append(hour)
        for day in sorted(by_day):
            parts = self._chunks(day, by_day[day])
            for hour in by_day[day]:
                if hour in self._live_hours:
                    parts.setdefault(hour, []).append(self._live_hours[hour])
            for hour in sorted(parts):
                points = self._cut(joined(parts[hour]).in_order())
                if len(points):
                    yield hour, points

    def _chunks(self, day: int, hours: list[int]) -> dict[int, list[Points]]:
        path = day_path(self._directory, day_of_hour(day))
        found: dict[int, list[Points]] = {}
        with reading(path) as file:
            if file is None:
                return found
            clocks = Clocks(file)
            query = _CHUNKS.format(hours=",".join(map(str, hours)))
            for hour, clock_id, body in file.execute(query, (self._series,)).fetchall():
                found.setdefault(hour, []).append(clocks.points(clock_id, body))
        return found

    def _cut(self, points: Points) -> Points:
        first, end = np.searchsorted(points.source_ns, (self._start_ns, self._end_ns))
        return points.at(slice(int(first), int(end)))

    def _rollups(self, grid: Grid, raw_hours: Set[int]) -> Iterator[tuple[int, Summaries]]:
        """Yield what is known of every other hour of the span."""
        is_all_raw = raw_hours is self._hours_with_samples
        if is_all_raw and self._all_days and self._all_days[0] <= self._first_hour:
            return  # nothing in the span has been deleted
        try:
            months = sorted(rollups_by_month(self._directory))
        except FileNotFoundError:
            return
        bounds = (self._series, self._first_hour, self._last_hour)
        for month in months:
            if not self._overlaps(first_hour(month)):
                continue
            with reading(self._directory / f"rollup-{month:%Y-%m}.db") as file:
                rows = file.execute(_ROLLUPS, bounds).fetchall() if file is not None else ()
                for hour, *figures, minutes in rows:
                    if hour not in raw_hours:
                        part = self._rolled(grid, hour, figures, minutes)
                        if part is not None:
                            yield hour, part

    def _overlaps(self, month: int) -> bool:
        return month <= self._last_hour and month + 31 * _HOURS_A_DAY > self._first_hour

    def _rolled(
        self, grid: Grid, hour: int, figures: list[float], minutes: bytes
    ) -> Summaries | None:
        start_ns = hour * NS_PER_HOUR
        is_inside = self._start_ns <= start_ns and start_ns + NS_PER_HOUR <= self._end_ns
        if is_inside and grid.is_of(NS_PER_HOUR):
            return _one(grid.keys(np.array([start_ns])), figures)
        parts = unpack_summaries(minutes)
        starts_ns = start_ns + parts.keys * NS_PER_MINUTE
        if not is_inside:
            overlaps = (starts_ns + NS_PER_MINUTE > self._start_ns) & (starts_ns < self._end_ns)
            if not overlaps.any():
                return None
            parts, starts_ns = parts.at(overlaps), starts_ns[overlaps]
        return parts.under(grid.keys(starts_ns))


def _one(key: Int64s, figures: list[float]) -> Summaries:
    good, bad, numbers = (np.array([count], np.int64) for count in figures[:3])
    reals = [np.array([np.nan if real is None else real]) for real in figures[3:]]
    minimum, maximum, total, first, last = reals
    return Summaries(
        keys=key,
        good=good,
        bad=bad,
        numbers=numbers,
        minimum=minimum,
        maximum=maximum,
        total=total,
        first=first,
        last=last,
    )


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a file as it is at one moment, ``None`` if there is none.

    Raises:
        HistoryError: it cannot be read, or something in it is damaged.
    """
    try:
        with open_read_only(path) as connection:
            if connection is not None:
                connection.execute("BEGIN")
            yield connection
    except (sqlite3.Error, BatchError, ChunkError) as exc:
        raise HistoryError(f"{path}: {exc}") from exc
