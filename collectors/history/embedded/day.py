"""Chunks and clocks on their way into and out of a day file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np

from collectors.history.embedded.codec import (
    ChunkError,
    Clock,
    pack_chunk,
    unpack_chunk,
    unpack_clock,
)
from collectors.history.embedded.points import Int64s, Points

_SPARSEST = 64
"""A series that has fewer of the shared times than one in so many gets times of its own."""

_PUT_CLOCK = "INSERT INTO clock (samples, body) VALUES (?, ?)"
_PUT_CHUNK = """INSERT INTO chunk (hour, series_id, clock_id, samples, body)
    VALUES (?, ?, ?, ?, ?)"""


def shared_clock(source_ns: Int64s, received_ns: Int64s) -> Clock:
    """Return the times, in any order, as a clock that series can share."""
    ordered, first = np.unique(source_ns, return_index=True)
    return Clock(source_ns=ordered, received_ns=received_ns[first])


class ClockWriter:
    """Gives each series of one hour a clock, the same one as far as that is possible."""

    def __init__(self, connection: sqlite3.Connection, shared: Clock) -> None:
        self._connection = connection
        self._shared = shared
        self._shared_id: int | None = None
        self._own: dict[bytes, int] = {}

    def place(self, points: Points) -> tuple[int, Int64s | None]:
        """Return a clock and where in it the samples have their times, ``None`` for all of it."""
        shared = self._shared
        if len(shared.source_ns) <= _SPARSEST * len(points):
            places = np.searchsorted(shared.source_ns, points.source_ns)
            if _agree(shared, places, points):
                self._shared_id = self._shared_id or self._put(shared)
                return self._shared_id, None if len(places) == len(shared.source_ns) else places
        key = points.source_ns.tobytes() + points.received_ns.tobytes()
        if key not in self._own:
            own = Clock(source_ns=points.source_ns, received_ns=points.received_ns)
            self._own[key] = self._put(own)
        return self._own[key], None

    def _put(self, clock: Clock) -> int:
        row = (len(clock.source_ns), clock.packed())
        return int(self._connection.execute(_PUT_CLOCK, row).lastrowid or 0)


def _agree(clock: Clock, places: Int64s, points: Points) -> bool:
    """Tell whether these places of the clock are the times of the samples."""
    if places[-1] >= len(clock.source_ns):
        return False
    same_source = clock.source_ns[places] == points.source_ns
    same_received = clock.received_ns[places] == points.received_ns
    return bool((same_source & same_received).all())


def put_chunk(
    connection: sqlite3.Connection,
    hour: int,
    series_id: int,
    points: Points,
    clocks: ClockWriter,
) -> None:
    """Store the samples of one series and hour, by time."""
    clock_id, places = clocks.place(points)
    row = (hour, series_id, clock_id, len(points), pack_chunk(points, places))
    connection.execute(_PUT_CHUNK, row)


class Clocks:
    """The clocks of one day file, each read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._clocks: dict[int, Clock] = {}

    def points(self, clock_id: int, chunk: bytes) -> Points:
        """Return the samples of a chunk.

        Raises:
            ChunkError: it or its clock is damaged.
            sqlite3.Error: the file cannot be read.
        """
        return unpack_chunk(chunk, self.clock(clock_id))

    def clock(self, clock_id: int) -> Clock:
        """Return a clock.

        Raises:
            ChunkError: it is damaged.
            sqlite3.Error: the file cannot be read.
        """
        known = self._clocks.get(clock_id)
        if known is None:
            query = "SELECT samples, body FROM clock WHERE id = ?"
            row = self._connection.execute(query, (clock_id,)).fetchone()
            if row is None:
                raise ChunkError(f"clock {clock_id} is missing")
            samples, body = row
            known = self._clocks[clock_id] = unpack_clock(body, samples)
        return known


def merged_clock(clocks: Iterable[Clock]) -> Clock:
    """Return the times of several clocks as one."""
    parts: Sequence[Clock] = tuple(clocks)
    return shared_clock(
        np.concatenate([clock.source_ns for clock in parts]),
        np.concatenate([clock.received_ns for clock in parts]),
    )
