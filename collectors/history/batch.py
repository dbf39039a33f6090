"""Many samples as one block of bytes, column by column, and back; see ``columns`` for the bytes.

Reading needs no numpy and expands nothing that is not asked for: a store that works on whole
columns takes them as they are.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import repeat
from typing import NamedTuple

from collectors.contract.columns import columns_of
from collectors.contract.points import Quality, Sample
from collectors.history.columns import (
    FORMAT,
    HEAD,
    INLINE,
    INTEGERS,
    PointTable,
    batch_body,
    encode_columns,
)
from collectors.history.values import Kind, Raw, typed

_DOUBLE_BYTES = 8
# Members of an enumeration are slow to come by.
_BOOL, _INT, _BIG = int(Kind.BOOL), int(Kind.INT), int(Kind.BIG)
_FLOAT, _STR = int(Kind.FLOAT), int(Kind.STR)
_WORST_QUALITY = int(max(Quality))
_WORST_KIND = int(max(Kind))
_WIDTHS = {"B": 1, "H": 2, "I": 4, "Q": 8}
_DAMAGE = (zlib.error, struct.error, ValueError, TypeError, LookupError, RecursionError)
"""What reading arbitrary bytes may raise."""


class BatchError(ValueError):
    """These bytes are not a batch of samples that this program knows."""


class IntegerColumn(NamedTuple):
    """``low`` plus the numbers in ``above``, unsigned of this array type; all ``low`` if ``0``."""

    low: int
    width: str
    above: bytes

    def values(self, count: int) -> Sequence[int]:
        """Return the numbers of the column."""
        if self.width == "0":
            return [self.low] * count
        low = self.low
        return [low + number for number in array(self.width, self.above)]


class Batch:
    """Samples as parallel columns, one entry a sample.

    Attributes:
        table: Names of points, of which the samples are some or all; the same object again and
            again for one poll group.
        places: In ``table``, of each sample; ``None`` if they are all, in order.
        kinds: A :class:`Kind` each; with it ``typed(kind, raw)`` is the sample's value.
        qualities: A :class:`Quality` each.
        integers: 64-bit signed numbers of kinds ``INT`` and ``BIG``, in order of the samples.
        bools, floats, texts: Those values, a bool a byte, a float a double.
    """

    def __init__(self, body: bytes, table: tuple[str, ...], at: int) -> None:
        self.body = body
        self.table = table
        self.columns_at = at
        self._count = count_samples(body)
        self.places, at = _places(body, at, self._count, len(table))
        self.kinds, at = _bytes(body, at, self._count, _WORST_KIND)
        self.qualities, at = _bytes(body, at, self._count, _WORST_QUALITY)
        self.source, at = _integers(body, at, self._count)
        self.received, at = _integers(body, at, self._count)
        self.code, at = _integers(body, at, self._count)
        number = self.kinds.count
        self.integers, at = _take(body, at, 8 * (number(_INT) + number(_BIG)))
        self.bools, at = _take(body, at, number(_BOOL))
        self.floats, at = _take(body, at, _DOUBLE_BYTES * number(_FLOAT))
        self.texts = _texts(body[at:], number(_STR)) if at < len(body) or _STR in self.kinds else ()

    def __len__(self) -> int:
        return self._count

    @cached_property
    def points(self) -> tuple[str, ...]:
        """``DEVICE/POINT`` of each sample."""
        if self.places is None:
            return self.table
        return tuple([self.table[place] for place in self.places])

    @cached_property
    def raws(self) -> Sequence[Raw]:
        """The values as they are stored."""
        by_kind: dict[int, Iterator[Raw]] = {
            Kind.NONE: repeat(None),
            Kind.BOOL: iter(self.bools),
            Kind.INT: (integers := iter(array("q", self.integers))),
            Kind.BIG: integers,
            Kind.FLOAT: iter(array("d", self.floats)),
            Kind.STR: iter(self.texts),
        }
        return [next(by_kind[kind]) for kind in self.kinds]

    @cached_property
    def codes(self) -> Sequence[int]:
        """The device's own status, 0 if none."""
        return self.code.values(self._count)

    @cached_property
    def source_ns(self) -> Sequence[int]:
        """When the value was true at the device, ns since the Unix epoch."""
        return self.source.values(self._count)

    @cached_property
    def received_ns(self) -> Sequence[int]:
        """When the value arrived, ns since the Unix epoch."""
        return self.received.values(self._count)

    def samples(self) -> list[Sample]:
        """Return the samples as they were encoded."""
        columns = zip(
            self.points,
            self.kinds,
            self.raws,
            self.qualities,
            self.codes,
            self.source_ns,
            self.received_ns,
            strict=True,
        )
        return [
            Sample(
                point=point,
                value=typed(kind, raw),
                quality=Quality(quality),
                code=code,
                source_ns=source_ns,
                received_ns=received_ns,
            )
            for point, kind, raw, quality, code, source_ns, received_ns in columns
        ]


def encode(samples: Sequence[Sample]) -> bytes:
    """Return ``samples`` (at least one) as a block of bytes that can be read alone.

    Raises:
        KeyError, OverflowError, ValueError: as ``encode_columns``.
    """
    columns = columns_of(samples)
    table = PointTable(columns.points)
    return batch_body(encode_columns(columns, table), len(samples), table, INLINE)


COUNT_BYTES = HEAD.size
"""As many bytes of a block are enough for :func:`count_samples`."""


def count_samples(body: bytes) -> int:
    """Return the number of samples in a block of which only the first bytes need be given.

    Raises:
        BatchError: fewer than :data:`COUNT_BYTES` bytes, or of an unknown format.
    """
    if len(body) < COUNT_BYTES or body[0] != FORMAT:
        raise BatchError(f"not a batch of format {FORMAT}")
    count: int = HEAD.unpack_from(body)[1]
    return count


@dataclass(frozen=True, slots=True)
class TableReference:
    """Where the names of a block are: ``place`` in its segment, ``None`` if in the block itself."""

    place: int | None
    checksum: int


def table_reference(body: bytes) -> TableReference:
    """Return where the names are.

    Raises:
        BatchError: of an unknown format.
    """
    count_samples(body)
    _, _, place, checksum, _ = HEAD.unpack_from(body)
    return TableReference(None if place == INLINE else place, checksum)


def table_in(body: bytes) -> tuple[str, ...]:
    """Return the names that a block has itself.

    Raises:
        BatchError: it has none, or they are damaged.
    """
    reference = table_reference(body)
    packed = body[COUNT_BYTES : COUNT_BYTES + HEAD.unpack_from(body)[4]]
    if reference.place is not None or zlib.crc32(packed) != reference.checksum:
        raise BatchError("the names of the points are missing or damaged")
    try:
        return _unpacked(packed)
    except _DAMAGE as exc:
        raise BatchError(f"damaged names: {exc!r}") from exc


def decode(body: bytes, table: tuple[str, ...] | None = None) -> Batch:
    """Return the samples of a block; ``table`` if it does not name its points itself.

    Raises:
        BatchError: the block is damaged or of an unknown format.
    """
    names = table_in(body) if table is None else table
    try:
        return Batch(body, names, COUNT_BYTES + HEAD.unpack_from(body)[4])
    except _DAMAGE as exc:
        raise BatchError(f"damaged batch: {exc!r}") from exc


# A poll group reads the same points each time, so few different lists are met.
@lru_cache(maxsize=256)
def _unpacked(packed: bytes) -> tuple[str, ...]:
    names = json.loads(zlib.decompress(packed))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("not a list of names")
    return tuple(names)


def _take(body: bytes, at: int, size_bytes: int) -> tuple[bytes, int]:
    end = at + size_bytes
    if end > len(body):
        raise ValueError("the block ends within a column")
    return body[at:end], end


def _texts(data: bytes, count: int) -> Sequence[str]:
    texts = json.loads(data) if data else []
    if len(texts) != count or not all(isinstance(text, str) for text in texts):
        raise ValueError("not as many texts as samples with text")
    return list(texts)


def _bytes(body: bytes, at: int, count: int, highest: int) -> tuple[bytes, int]:
    column, end = _take(body, at + 1, 1 if body[at : at + 1] == b"0" else count)
    if max(column) > highest:
        raise ValueError("an unknown kind or quality")
    return (column * count if body[at : at + 1] == b"0" else column), end


def _places(body: bytes, at: int, count: int, points: int) -> tuple[Sequence[int] | None, int]:
    width = chr(body[at])
    if width == "0":
        if count != points:
            raise ValueError(f"{count} samples of all {points} points")
        return None, at + 1
    column, end = _take(body, at + 1, count * _WIDTHS[width])
    places = array(width, column)
    if max(places) >= points:
        raise ValueError("a sample of no point")
    return places, end


def _integers(body: bytes, at: int, count: int) -> tuple[IntegerColumn, int]:
    code, low = INTEGERS.unpack_from(body, at)
    at += INTEGERS.size
    if code == b"0":
        return IntegerColumn(low, "0", b""), at
    width = code.decode()
    above, at = _take(body, at, count * _WIDTHS[width])
    return IntegerColumn(low, width, above), at
