"""What a reader finds in ``live.db``: names, newest values, and samples that are not sealed yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from collectors.contract.points import Quality
from collectors.history.device_time import CLOCK_AHEAD_NS
from collectors.history.embedded.points import (
    EMPTY,
    Points,
    joined,
    points_of,
    raw_of,
    stored_batch,
)
from collectors.history.read import Gap, LatestValue
from collectors.history.values import typed

_Key = TypeVar("_Key", int, str)
_KEYS_A_QUERY = 500
"""SQLite before 3.32 takes at most 999 parameters."""
_HIGHEST_CHARACTER = "\U0010ffff"

_SERIES = """SELECT key FROM series WHERE key >= ? AND key < ? AND (
    id IN (SELECT series_id FROM latest) OR id IN (SELECT series_id FROM table_series
        WHERE table_id IN (SELECT table_id FROM batch))) ORDER BY key"""
_TABLES = """SELECT table_id, series FROM table_series JOIN point_table ON id = table_id
    WHERE series_id = ?"""
_BATCHES = """SELECT body FROM batch
    WHERE table_id = ? AND last_ns >= ? AND first_ns < ? ORDER BY id"""
_NEWEST_BATCHES = "SELECT body, last_ns FROM batch WHERE table_id = ? ORDER BY id DESC"
_LATEST = """SELECT series_id, t_ns, value, kind, quality, code, received_ns FROM latest
    WHERE series_id IN ({marks})"""
_GAPS = """SELECT first_ns, last_ns, samples, reason FROM loss
    WHERE source = ? AND last_ns >= ? AND first_ns < ? ORDER BY first_ns"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePart:
    """What ``live.db`` has of one series in a span of time, all of one moment.

    Attributes:
        points: By time.
        pending: Hours of which rollups do not hold.
    """

    points: Points
    pending: frozenset[int]
    gaps: tuple[Gap, ...]


def read_live(connection: sqlite3.Connection, series: str, start_ns: int, end_ns: int) -> LivePart:
    """Return what is in ``live.db``.

    Raises:
        sqlite3.Error: it cannot be read.
        BatchError: a batch is damaged.
    """
    connection.execute("BEGIN")
    row = connection.execute("SELECT id FROM series WHERE key = ?", (series,)).fetchone()
    parts: list[Points] = []
    for table_id, blob in connection.execute(_TABLES, row or (None,)).fetchall():
        table = np.frombuffer(blob, np.int32)
        place = int(np.flatnonzero(table == row[0])[0])
        for (body,) in connection.execute(_BATCHES, (table_id, start_ns, end_ns)):
            part = _only(body, len(table), place)
            if part is not None:
                parts.append(part)
    points = joined(parts).in_order() if parts else EMPTY
    first, end = np.searchsorted(points.source_ns, (start_ns, end_ns))
    source = series.partition("/")[0]
    gaps = connection.execute(_GAPS, (source, start_ns, end_ns))
    return LivePart(
        points=points.at(slice(int(first), int(end))),
        pending=frozenset(hour for (hour,) in connection.execute("SELECT hour FROM pending")),
        gaps=tuple(
            Gap(start_ns=first_ns, end_ns=last_ns, samples=samples, reason=reason)
            for first_ns, last_ns, samples, reason in gaps
        ),
    )


def series_names(connection: sqlite3.Connection, prefix: str) -> list[str]:
    """Return the series that start with ``prefix`` and have a sample, sorted."""
    bounds = (prefix, prefix + _HIGHEST_CHARACTER)
    return [key for (key,) in connection.execute(_SERIES, bounds)]


def latest_values(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, LatestValue]:
    """Return the newest value of each series that has any.

    Raises:
        sqlite3.Error: ``live.db`` cannot be read.
        BatchError: a batch is damaged.
    """
    connection.execute("BEGIN")
    names: dict[int, str] = {}
    found: dict[int, LatestValue] = {}
    for marks, some in _in_parts(keys):
        query = f"SELECT id, key FROM series WHERE key IN ({marks})"
        names.update(connection.execute(query, some))
    for marks, ids in _in_parts(list(names)):
        rows = connection.execute(_LATEST.format(marks=marks), ids)
        for number, t_ns, raw, kind, quality, code, received_ns in rows:
            found[number] = LatestValue(
                value=typed(kind, raw),
                quality=Quality(quality),
                code=code,
                source_ns=t_ns,
                received_ns=received_ns,
            )
    wanted = set(names)
    query = "SELECT id, series FROM point_table WHERE id IN (SELECT table_id FROM batch)"
    for table_id, blob in connection.execute(query).fetchall():
        table = np.frombuffer(blob, np.int32)
        if not wanted.isdisjoint(table.tolist()):
            _look_into_table(connection, table_id, table, wanted, found)
    return {names[number]: value for number, value in found.items()}


def _look_into_table(
    connection: sqlite3.Connection,
    table_id: int,
    table: NDArray[np.int32],
    wanted: set[int],
    found: dict[int, LatestValue],
) -> None:
    """Take newer values from the batches of a table, newest first until none can be newer."""
    rows = connection.execute(_NEWEST_BATCHES, (table_id,)).fetchall()
    ids = [number for number in table.tolist() if number in wanted]
    newest: dict[int, LatestValue] = {}
    highest_before = np.maximum.accumulate([last_ns for _, last_ns in reversed(rows)])[::-1]
    for (body, _), highest_ns in zip(rows, highest_before.tolist(), strict=True):
        if len(newest) == len(ids) and all(v.source_ns > highest_ns for v in newest.values()):
            break
        batch = stored_batch(body, len(table))
        points = points_of(batch)
        places = range(len(table)) if batch.places is None else batch.places
        for at in range(len(points) - 1, -1, -1):
            number = int(table[places[at]])
            if number in wanted:
                value = _latest_at(points, at)
                known = newest.get(number)
                if known is None or value.source_ns > known.source_ns:
                    newest[number] = value
    for number, value in newest.items():
        known = found.get(number)
        if known is None or _is_newer(value, known):
            found[number] = value


def _is_newer(value: LatestValue, known: LatestValue) -> bool:
    # As in ``live``: what is far in the future came of a clock that was wrong.
    is_future = known.source_ns > value.received_ns + CLOCK_AHEAD_NS
    return value.source_ns >= known.source_ns or is_future


def _latest_at(points: Points, at: int) -> LatestValue:
    kind, raw = raw_of(points, at)
    return LatestValue(
        value=typed(kind, raw),
        quality=Quality(int(points.qualities[at])),
        code=int(points.codes[at]),
        source_ns=int(points.source_ns[at]),
        received_ns=int(points.received_ns[at]),
    )


def _only(body: bytes, width: int, place: int) -> Points | None:
    """Return the samples of one point in a batch, if it has any."""
    batch = stored_batch(body, width)
    if batch.places is None:
        return points_of(batch).at(slice(place, place + 1))
    at = np.flatnonzero(np.array(batch.places) == place)
    return points_of(batch).at(at) if len(at) else None


def _in_parts(values: Sequence[_Key]) -> Iterator[tuple[str, Sequence[_Key]]]:
    for at in range(0, len(values), _KEYS_A_QUERY):
        some = values[at : at + _KEYS_A_QUERY]
        yield ",".join("?" * len(some)), some
