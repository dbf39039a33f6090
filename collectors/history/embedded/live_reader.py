"""What a reader finds in ``live.db``: names, newest values, and samples that are not sealed yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from collectors.contract.points import Quality
from collectors.history.batch import Batch
from collectors.history.device_time import CLOCK_AHEAD_NS
from collectors.history.embedded.points import (
    EMPTY,
    Points,
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
        WHERE table_id IN (SELECT table_id FROM waiting))) ORDER BY key"""
_TABLES = """SELECT table_id, series FROM table_series JOIN point_table ON id = table_id
    WHERE series_id = ?"""
_BATCHES = """SELECT sequence, id, body FROM waiting
    WHERE table_id = ? AND last_ns >= ? AND first_ns < ?"""
_NEWEST_BATCHES = """SELECT sequence, last_ns, body FROM waiting WHERE table_id = ?
    ORDER BY sequence DESC, id DESC"""
_LATEST = """SELECT series_id, sequence, t_ns, value, kind, quality, code, received_ns FROM latest
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
    """Return what is in ``live.db``; in a transaction, so that all is of one moment.

    Raises:
        sqlite3.Error: it cannot be read.
        BatchError: a batch is damaged.
    """
    row = connection.execute("SELECT id FROM series WHERE key = ?", (series,)).fetchone()
    rows: list[tuple[int, int, Batch, int]] = []
    for table_id, blob in connection.execute(_TABLES, row or (None,)).fetchall():
        table = np.frombuffer(blob, np.int32)
        place = int(np.flatnonzero(table == row[0])[0])
        for sequence, batch_id, body in connection.execute(_BATCHES, (table_id, start_ns, end_ns)):
            rows.append((sequence, batch_id, stored_batch(body, len(table)), place))
    rows.sort(key=itemgetter(0, 1))
    points = _of_series([(batch, place) for _, _, batch, place in rows]).in_order()
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
    names: dict[int, str] = {}
    found: dict[int, _Newest] = {}
    for marks, some in _in_parts(keys):
        query = f"SELECT id, key FROM series WHERE key IN ({marks})"
        names.update(connection.execute(query, some))
    for marks, ids in _in_parts(list(names)):
        rows = connection.execute(_LATEST.format(marks=marks), ids)
        for number, sequence, t_ns, raw, kind, quality, code, received_ns in rows:
            value = LatestValue(
                value=typed(kind, raw),
                quality=Quality(quality),
                code=code,
                source_ns=t_ns,
                received_ns=received_ns,
            )
            found[number] = _Newest(sequence=sequence, value=value)
    query = "SELECT id, series FROM point_table WHERE id IN (SELECT table_id FROM waiting)"
    for table_id, blob in connection.execute(query).fetchall():
        table = np.frombuffer(blob, np.int32)
        wanted = names.keys() & set(table.tolist())
        if wanted:
            _look_into_table(connection, table_id, table, wanted, found)
    return {names[number]: newest.value for number, newest in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newest:
    sequence: int
    value: LatestValue


def _look_into_table(
    connection: sqlite3.Connection,
    table_id: int,
    table: NDArray[np.int32],
    wanted: Set[int],
    found: dict[int, _Newest],
) -> None:
    """Take newer values from the batches of a table, newest first until none can be newer."""
    rows = connection.execute(_NEWEST_BATCHES, (table_id,)).fetchall()
    newest_sequence = rows[0][0]
    latest_ns = stored_batch(rows[0][2], len(table)).received.low + CLOCK_AHEAD_NS
    newest: dict[int, LatestValue] = {}
    highest_before = np.maximum.accumulate([last_ns for _, last_ns, _ in reversed(rows)])[::-1]
    for (_, _, body), highest_ns in zip(rows, highest_before.tolist(), strict=True):
        oldest_ns = min((v.source_ns for v in newest.values()), default=0)
        if len(newest) == len(wanted) and oldest_ns >= min(highest_ns, latest_ns):
            break
        batch = stored_batch(body, len(table))
        points = points_of([batch])
        places = range(len(table)) if batch.places is None else batch.places
        for at in range(len(points) - 1, -1, -1):
            number, t_ns = int(table[places[at]]), int(points.source_ns[at])
            known = newest.get(number)
            if number in wanted and t_ns <= latest_ns and (not known or t_ns > known.source_ns):
                newest[number] = _latest_at(points, at)
    for number, value in newest.items():
        candidate = _Newest(sequence=newest_sequence, value=value)
        earlier = found.get(number)
        if earlier is None or _is_newer(candidate, earlier, latest_ns):
            found[number] = candidate


def _is_newer(newest: _Newest, known: _Newest, latest_ns: int) -> bool:
    """Tell, as ``live`` does, which of two holds; one of the future came of a wrong clock."""
    is_future = newest.sequence > known.sequence and known.value.source_ns > latest_ns
    return newest.value.source_ns >= known.value.source_ns or is_future


def _latest_at(points: Points, at: int) -> LatestValue:
    kind, raw = raw_of(points, at)
    return LatestValue(
        value=typed(kind, raw),
        quality=Quality(int(points.qualities[at])),
        code=int(points.codes[at]),
        source_ns=int(points.source_ns[at]),
        received_ns=int(points.received_ns[at]),
    )


def _of_series(batches: Sequence[tuple[Batch, int]]) -> Points:
    """Return the samples of the point at the given place of each batch."""
    chosen, start = [], 0
    for batch, place in batches:
        if batch.places is None:
            chosen.append(start + place)
        else:
            chosen += [start + at for at, found in enumerate(batch.places) if found == place]
        start += len(batch)
    if not chosen:
        return EMPTY
    return points_of([batch for batch, _ in batches]).at(np.array(chosen))


def _in_parts(values: Sequence[_Key]) -> Iterator[tuple[str, Sequence[_Key]]]:
    for at in range(0, len(values), _KEYS_A_QUERY):
        some = values[at : at + _KEYS_A_QUERY]
        yield ",".join("?" * len(some)), some
