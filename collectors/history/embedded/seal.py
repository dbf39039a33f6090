"""Seals batches: sorts them by series and hour, and writes them as chunks into day files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collectors.history.batch import Batch
from collectors.history.embedded.codec import Clock
from collectors.history.embedded.day import ClockWriter, put_chunk, shared_clock
from collectors.history.embedded.files import StoreFile, StoreFiles
from collectors.history.embedded.live import LiveFile, StoredBatch
from collectors.history.embedded.points import Points, points_of, runs_of
from collectors.history.embedded.rollup import NS_PER_HOUR
from collectors.history.embedded.schema import DAY_TABLES, day_of_hour, day_path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """Samples of one series in one hour, by time."""

    key: str
    hour: int
    points: Points


def seal(
    directory: Path, files: StoreFiles, live: LiveFile, table_id: int, most_samples: int
) -> set[int]:
    """Move the oldest batches of one table into day files; return the hours that they are of.

    If this is interrupted, the same batches are sealed again: a sample that is there twice counts
    once.

    Raises:
        sqlite3.Error: a file cannot be written now.
        OSError: the disk did not confirm.
    """
    batches = live.batches(table_id, most_samples)
    if not batches:
        live.waiting().pop(table_id)
        return set()
    # Where times are equal, what was spooled last holds.
    batches.sort(key=attrgetter("sequence", "id"))
    keys = live.series_keys(table_id)
    points = points_of([stored.batch for stored in batches])
    clock = _clock_of(batches, points)
    days: defaultdict[Path, list[_Slice]] = defaultdict(list)
    latest: dict[str, Points] = {}
    for found in _slices(keys, _places([stored.batch for stored in batches]), points):
        days[day_path(directory, day_of_hour(found.hour))].append(found)
        believed = found.points.until(batches[-1].latest_ns)
        if len(believed):
            latest[found.key] = believed
    for path, slices in days.items():
        with files.writing(path, DAY_TABLES) as file:
            _write(file, slices, clock)
        # The batches are forgotten below, so a power cut must not undo this.
        files.sync(path)
    hours = {found.hour for slices in days.values() for found in slices}
    batches.sort(key=attrgetter("id"))
    live.sealed(table_id, batches, hours, latest.items())
    return hours


def _write(file: StoreFile, slices: Sequence[_Slice], clock: Clock) -> None:
    ids = file.ids_of([found.key for found in slices])
    writers: dict[int, ClockWriter] = {}
    for found in slices:
        writer = writers.get(found.hour)
        if writer is None:
            shared = _within(clock, found.hour)
            writer = writers[found.hour] = ClockWriter(file.connection, shared)
        put_chunk(file.connection, found.hour, ids[found.key], found.points, writer)
    unrolled = [(found.hour, ids[found.key]) for found in slices]
    file.connection.executemany("INSERT OR IGNORE INTO unrolled VALUES (?, ?)", unrolled)


def _places(batches: Sequence[Batch]) -> NDArray[np.uint32]:
    """Return the place in the table of every sample."""
    parts = [
        np.arange(len(batch), dtype=np.uint32)
        if batch.places is None
        else np.array(batch.places, np.uint32)
        for batch in batches
    ]
    return np.concatenate(parts)


def _slices(keys: Sequence[str], places: NDArray[np.uint32], points: Points) -> Iterator[_Slice]:
    # Sorting 16-bit keys is a radix sort, several times faster.
    narrow = places.astype(np.uint16) if len(keys) <= 2**16 else places
    order = np.argsort(narrow, kind="stable")
    ordered, sorted_places = points.at(order), places[order].astype(np.int64)
    for run in runs_of(sorted_places):
        of_series = ordered.at(run).in_order()
        hours = of_series.source_ns // NS_PER_HOUR
        for stretch in runs_of(hours):
            yield _Slice(
                key=keys[sorted_places[run.start]],
                hour=int(hours[stretch.start]),
                points=of_series.at(stretch),
            )


def _clock_of(batches: Sequence[StoredBatch], points: Points) -> Clock:
    """Return all times of the samples; a poll has the same for all its points."""
    firsts, ends = [], np.cumsum([len(stored.batch) for stored in batches])
    for stored, end in zip(batches, ends.tolist(), strict=True):
        start = end - len(stored.batch)
        has_one = stored.batch.source.width == stored.batch.received.width == "0"
        firsts.append(np.arange(start, start + 1 if has_one else end))
    places = np.concatenate(firsts)
    return shared_clock(points.source_ns[places], points.received_ns[places])


def _within(clock: Clock, hour: int) -> Clock:
    start, end = np.searchsorted(clock.source_ns, (hour * NS_PER_HOUR, (hour + 1) * NS_PER_HOUR))
    part = slice(int(start), int(end))
    return Clock(source_ns=clock.source_ns[part], received_ns=clock.received_ns[part])
