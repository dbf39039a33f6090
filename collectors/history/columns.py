"""The bytes of one batch of readings, column by column.

A poll group reads the same points each time, so their names are packed once into a
:class:`PointTable`, and a reading is a number in that table, a value, a quality and times. This is
the hot path of acquisition: no object a reading, no compression.

Bytes of a batch, in the byte order of this machine (a spool never moves to another one)::

    u8 format | u32 readings | u32 table place | u32 table checksum | u32 length of names
    | names | places | kinds | qualities | source times | receive times | codes
    | integers | bools | floats | texts

``names`` are there only if the table place is ``INLINE``; otherwise an earlier record of the same
segment, which starts at that place, has them. Bytes and integers are stored as one if all are
equal, integers else as the smallest and what each is above it, as narrow as the largest allows.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from collectors.contract.columns import Columns, Runs
from collectors.contract.points import Quality, Value
from collectors.history.values import INT64_MAX, UINT64_SPAN, Kind

FORMAT = 2
HEAD = struct.Struct("=BIIII")
INTEGERS = struct.Struct("=cq")
INLINE = 2**32 - 1
UNSTORABLE = (KeyError, OverflowError, TypeError, ValueError)
"""What :func:`encode_columns` raises for readings that have no place in a batch; a text that is no
Unicode is a ``ValueError`` too."""

_KINDS: dict[type, int] = {
    type(None): Kind.NONE,
    bool: Kind.BOOL,
    int: Kind.INT,
    float: Kind.FLOAT,
    str: Kind.STR,
}
_FASTEST = 1
_HAS_NO_VALUE = bytes(1 if kind == Kind.NONE else 0 for kind in range(256))
_BAD = {int(quality) for quality in Quality if quality.is_bad}
_IS_BAD = bytes(quality in _BAD for quality in range(256))
_IS = {kind: bytes(number == kind for number in range(256)) for kind in Kind}


class PointTable:
    """The names of points that are read together, each once; make it once and keep it.

    Raises:
        UnicodeEncodeError: a name cannot be written as UTF-8.
    """

    __slots__ = ("checksum", "packed", "places", "points")

    def __init__(self, points: Iterable[str]) -> None:
        self.places = {point: place for place, point in enumerate(dict.fromkeys(points))}
        given = points if isinstance(points, tuple) else ()
        # Kept if it is the same, so that a poll of all points is known by the object.
        self.points = given if len(given) == len(self.places) else tuple(self.places)
        names = json.dumps(self.points, ensure_ascii=False).encode()
        self.packed = zlib.compress(names, _FASTEST)
        self.checksum = zlib.crc32(self.packed)

    def __len__(self) -> int:
        return len(self.points)

    def places_of(self, points: tuple[str, ...]) -> list[int] | None:
        """Return the place of each point; ``None`` if they are the whole table in its order.

        Raises:
            KeyError: the table lacks one of them.
        """
        if points is self.points:
            return None
        places = [self.places[point] for point in points]
        return None if points == self.points else places


def kinds_of(values: Sequence[Value | None]) -> bytes:
    """Return the :class:`Kind` of each value; one that needs 64 bits without sign is an ``INT``.

    Raises:
        KeyError: a value is neither bool, int, float, str nor None.
    """
    if isinstance(values, array) and values.typecode == "d":
        return bytes((Kind.FLOAT,)) * len(values)
    return bytes(map(_KINDS.__getitem__, map(type, values)))


def encode_columns(
    columns: Columns, table: PointTable, places: Sequence[int] | None = None
) -> bytes:
    """Return the columns as bytes, for :func:`batch_body`.

    Args:
        places: In the table, of each reading, instead of ``columns.points``; at least one.

    Raises:
        KeyError: a value is neither bool, int, float, str nor None, or the table lacks a point.
        OverflowError: an integer, code or time does not fit 64 bits.
        ValueError: a number is not finite, a text is no Unicode, a value is there without being
            usable or missing though it should be, or a column has another length.
    """
    values, count = columns.values, len(columns.values)
    kinds = kinds_of(values)
    places = table.places_of(columns.points) if places is None else places
    if len(columns.qualities) != count or len(table if places is None else places) != count:
        raise ValueError("columns of different length")
    if columns.qualities.translate(_IS_BAD) != kinds.translate(_HAS_NO_VALUE):
        raise ValueError("a value is present exactly when its quality is usable")
    integers = _of(Kind.INT, kinds, values)
    try:
        packed_integers = array("q", integers).tobytes()
    except OverflowError:
        kinds = bytes(map(_exact_kind, kinds, values))
        packed_integers = array("q", [_signed(v) for v in integers]).tobytes()
    return b"".join(
        (
            _pack_places(places, len(table)),
            _pack_bytes(kinds),
            _pack_bytes(columns.qualities),
            _pack_integers(columns.source_ns, count),
            _pack_integers(columns.received_ns, count),
            _pack_integers(columns.codes or Runs([(0, count)]), count),
            packed_integers,
            bytes(_of(Kind.BOOL, kinds, values)),
            _pack_floats(_of(Kind.FLOAT, kinds, values)),
            _pack_texts(_of(Kind.STR, kinds, values)),
        )
    )


def batch_body(columns: bytes, count: int, table: PointTable, place: int) -> bytes:
    """Return the body of a record, with the names of the table if ``place`` is ``INLINE``."""
    names = table.packed if place == INLINE else b""
    return HEAD.pack(FORMAT, count, place, table.checksum, len(names)) + names + columns


def _of(kind: Kind, kinds: bytes, values: Sequence[Value | None]) -> Sequence[Any]:
    """Return the values of one kind, so of a known type."""
    found = kinds.count(kind)
    if found in (0, len(kinds)):
        return values if found else ()
    return list(compress(values, kinds.translate(_IS[kind])))


def _exact_kind(kind: int, value: Value | None) -> int:
    is_big = kind == Kind.INT and isinstance(value, int) and value > INT64_MAX
    return Kind.BIG if is_big else kind


def _signed(number: int) -> int:
    if number >= UINT64_SPAN:
        raise OverflowError(f"{number} does not fit 64 bits")
    return number - UINT64_SPAN if number > INT64_MAX else number


def _pack_places(places: Sequence[int] | None, points: int) -> bytes:
    if places is None:
        return b"0"
    width = "H" if points <= 2**16 else "I"
    return width.encode() + array(width, places).tobytes()


def _pack_bytes(column: bytes) -> bytes:
    if column.count(column[0]) == len(column):
        return b"0" + column[:1]
    return b"B" + column


def _pack_integers(values: Sequence[int], count: int) -> bytes:
    if len(values) != count:
        raise ValueError("columns of different length")
    distinct = [value for value, _ in values.pairs] if isinstance(values, Runs) else values
    low = min(distinct)
    span = max(distinct) - low
    try:
        head = INTEGERS.pack(_width_for(span), low)
        if low + span > INT64_MAX:
            raise OverflowError(f"{low + span} does not fit 64 bits")
    except struct.error as exc:
        raise OverflowError(f"{low} does not fit 64 bits") from exc
    if span == 0:
        return head
    width = _width_for(span).decode()
    if isinstance(values, Runs):
        runs = [array(width, [value - low]) * length for value, length in values.pairs]
        return head + b"".join(runs)
    return head + array(width, [value - low for value in values]).tobytes()


def _width_for(span: int) -> bytes:
    """Return the array type code of the narrowest unsigned integer; ``0`` if all are equal."""
    if span == 0:
        return b"0"
    return b"B" if span < 2**8 else b"H" if span < 2**16 else b"I" if span < 2**32 else b"Q"


def _pack_floats(values: Sequence[float]) -> bytes:
    if not math.isfinite(sum(values)):
        for value in values:
            # The sum of large numbers need not be finite.
            if not math.isfinite(value):
                raise ValueError(f"{value} is not finite")
    return array("d", values).tobytes()


def _pack_texts(texts: Sequence[str]) -> bytes:
    return json.dumps(texts, ensure_ascii=False).encode() if texts else b""
