"""Makes one chunk of the several that an hour has been sealed into, and its rollups."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from collectors.history.embedded.day import Clocks, ClockWriter, merged_clock, put_chunk
from collectors.history.embedded.files import StoreFile, StoreFiles
from collectors.history.embedded.live import LiveFile
from collectors.history.embedded.points import Points, joined
from collectors.history.embedded.rollup import NS_PER_MINUTE, Summaries, summarised
from collectors.history.embedded.schema import (
    DAY_TABLES,
    ROLLUP_TABLES,
    day_of_hour,
    day_path,
    rollup_path,
)

_SERIES_A_STEP = 100
"""Some 50 ms of work, so that new samples never wait for long."""
_UNROLLED = "SELECT series_id FROM unrolled WHERE hour = ? LIMIT ?"
_CHUNKS = "SELECT id, clock_id, body FROM chunk WHERE hour = ? AND series_id = ? ORDER BY id"
_MINUTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merged:
    """All samples of one series in the hour, by time, and the chunks that they were in."""

    series_id: int
    points: Points
    chunk_ids: list[int]
    clock_ids: tuple[int, ...]


def compact_some(directory: Path, files: StoreFiles, live: LiveFile, hour: int) -> None:
    """Compact some series of one hour; the last step tells readers that its rollups hold.

    If this is interrupted, it goes on where it was: until the last step readers use the chunks.

    Raises:
        sqlite3.Error: a file cannot be written now.
        OSError: the disk did not confirm.
        ChunkError: what is stored is damaged.
    """
    day = day_of_hour(hour)
    path, rollups = day_path(directory, day), rollup_path(directory, day)
    if not path.exists():
        live.compacted(hour)
        return
    file = files.reading(path, DAY_TABLES)
    rows = file.connection.execute(_UNROLLED, (hour, _SERIES_A_STEP)).fetchall()
    clocks = Clocks(file.connection)
    merged = [_merged(file, clocks, hour, series_id) for (series_id,) in rows]
    if merged:
        names = {number: key for key, number in file.series_ids.items()}
        with files.writing(rollups, ROLLUP_TABLES) as target:
            ids = target.ids_of([names[found.series_id] for found in merged])
            for found in merged:
                _put_rollup(target.connection, ids[names[found.series_id]], hour, found.points)
        files.sync(rollups)
        with files.writing(path, DAY_TABLES) as file:
            _replace(file.connection, clocks, hour, merged)
    if len(merged) < _SERIES_A_STEP:
        live.compacted(hour)


def _merged(file: StoreFile, clocks: Clocks, hour: int, series_id: int) -> _Merged:
    rows = file.connection.execute(_CHUNKS, (hour, series_id)).fetchall()
    parts = [clocks.points(clock_id, body) for _, clock_id, body in rows]
    return _Merged(
        series_id=series_id,
        points=joined(parts).in_order(),
        chunk_ids=[chunk_id for chunk_id, _, _ in rows],
        clock_ids=tuple(sorted({clock_id for _, clock_id, _ in rows})),
    )


def _replace(
    connection: sqlite3.Connection, clocks: Clocks, hour: int, merged: list[_Merged]
) -> None:
    groups: defaultdict[tuple[int, ...], list[_Merged]] = defaultdict(list)
    for found in merged:
        if len(found.chunk_ids) > 1:
            groups[found.clock_ids].append(found)
    for clock_ids, group in groups.items():
        shared = merged_clock(clocks.clock(clock_id) for clock_id in clock_ids)
        writer = ClockWriter(connection, shared)
        for found in group:
            old = [(chunk_id,) for chunk_id in found.chunk_ids]
            connection.executemany("DELETE FROM chunk WHERE id = ?", old)
            put_chunk(connection, hour, found.series_id, found.points, writer)
    done = [(hour, found.series_id) for found in merged]
    connection.executemany("DELETE FROM unrolled WHERE hour = ? AND series_id = ?", done)
    used = {
        clock_id
        for (clock_id,) in connection.execute(
            "SELECT DISTINCT clock_id FROM chunk WHERE hour = ?", (hour,)
        )
    }
    # A clock belongs to one hour, so what no chunk of this hour uses is used by none.
    unused = {clock_id for group in groups for clock_id in group} - used
    rows = [(clock_id,) for clock_id in unused]
    connection.executemany("DELETE FROM clock WHERE id = ?", rows)


def _put_rollup(connection: sqlite3.Connection, series_id: int, hour: int, points: Points) -> None:
    minutes = summarised(points, points.source_ns // NS_PER_MINUTE - hour * _MINUTES)
    whole = minutes.under(minutes.keys * 0)
    connection.execute(
        "INSERT OR REPLACE INTO rollup VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (series_id, hour, *_figures(whole), minutes.packed()),
    )


def _figures(whole: Summaries) -> tuple[int | float, ...]:
    counts = (int(column[0]) for column in (whole.good, whole.bad, whole.numbers))
    reals = (whole.minimum, whole.maximum, whole.total, whole.first, whole.last)
    return (*counts, *(float(column[0]) for column in reals))
