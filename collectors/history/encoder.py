"""Readings on their way into the spool: which table names them, which have no place in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from collectors.contract.columns import Columns, Runs
from collectors.history.columns import (
    HEAD,
    UNSTORABLE,
    PointTable,
    batch_body,
    encode_columns,
)

_log = logging.getLogger(__name__)

_MOST_POINTS = 1 << 20
"""Of all tables together; after more names than a collector can have, begin anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Encoded readings, at least one."""

    samples: int
    table: PointTable
    columns: bytes

    @property
    def most_bytes(self) -> int:
        """Size of the body if it has the names in it."""
        return HEAD.size + len(self.table.packed) + len(self.columns)

    def body(self, place: int) -> bytes:
        """Return the body of a record that finds the names at ``place``, or has them itself."""
        return batch_body(self.columns, self.samples, self.table, place)


class Encoder:
    """Knows the points of earlier readings, so that their names are packed once."""

    def __init__(self) -> None:
        self._tables: dict[str, PointTable] = {}
        self._refused: set[str] = set()

    def encode(self, columns: Columns, kept: Sequence[int] | None = None) -> Block | None:
        """Return what can be stored of the readings; what cannot is logged once for each point.

        Args:
            kept: Only the readings at these positions.
        """
        if not (columns.points if kept is None else kept):
            return None
        try:
            return self._block(columns, kept)
        except UNSTORABLE:
            candidates = range(len(columns)) if kept is None else kept
            storable = [at for at in candidates if self._is_storable(columns, at)]
        return self._block(columns, storable) if storable else None

    def _block(self, columns: Columns, kept: Sequence[int] | None) -> Block:
        if kept is None:
            table = self._table(columns.points)
            packed, samples = encode_columns(columns, table), len(columns)
        else:
            table = self._table(columns.points)
            places = table.places_of(columns.points)
            wanted = kept if places is None else [places[at] for at in kept]
            packed, samples = encode_columns(_only(columns, kept), table, wanted), len(kept)
        return Block(samples=samples, table=table, columns=packed)

    def _table(self, points: tuple[str, ...]) -> PointTable:
        """Return a table with these points: of the poll group of which they are a part.

        If there is none, it gets the points of all tables that have one of them. So points that
        come in ever new combinations soon are in one table.
        """
        table = self._tables.get(points[0])
        if table is not None and (points is table.points or table.places.keys() >= set(points)):
            return table
        known = {id(t): t for point in points if (t := self._tables.get(point)) is not None}
        if known:
            points = (*chain.from_iterable(t.points for t in known.values()), *points)
        table = PointTable(points)
        if len(self._tables) + len(table) > _MOST_POINTS:
            self._tables.clear()
        self._tables.update(dict.fromkeys(table.points, table))
        return table

    def _is_storable(self, columns: Columns, at: int) -> bool:
        point = columns.points[at]
        try:
            encode_columns(_only(columns, [at]), PointTable([point]), [0])
        except UNSTORABLE as exc:
            if point not in self._refused:
                self._refused.add(point)
                facts = {"point": ascii(point), "reason": ascii(exc)}
                _log.warning("a sample of this point cannot be stored; left out", extra=facts)
            return False
        return True


def _only(columns: Columns, kept: Sequence[int]) -> Columns:
    """Return the readings at these positions; their points are of no use to ``encode_columns``."""
    return Columns(
        points=columns.points,
        values=[columns.values[at] for at in kept],
        qualities=bytes([columns.qualities[at] for at in kept]),
        codes=_integers(columns.codes, kept) if columns.codes else (),
        source_ns=_integers(columns.source_ns, kept),
        received_ns=_integers(columns.received_ns, kept),
    )


def _integers(column: Sequence[int], kept: Sequence[int]) -> Sequence[int]:
    if isinstance(column, Runs):
        if len(column.pairs) == 1:
            return Runs([(column.pairs[0][0], len(kept))])
        column = list(column)
    return [column[at] for at in kept]
