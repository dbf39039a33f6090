"""Many samples as one block of bytes, column by column, and back.

Layout, in the byte order of this machine (a spool never moves to another one)::

    u8 format, u32 samples, u32 length of the names | names | columns

The names are a zlib-compressed JSON list of text. The columns are zlib-compressed and follow each
other without padding: kinds and qualities (a byte a sample), then source time, receive time, code
and the integer values as integer columns, the floats as doubles, the texts as a JSON list. A block
names its own points, so that it can be read without the blocks before it.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat

from collectors.contract.points import Quality, Sample, Value
from collectors.history.values import INT64_MAX, UINT64_SPAN, Kind, Raw, typed

_FORMAT = 1
_HEAD = struct.Struct("=BII")
_INT_COLUMN = struct.Struct("=cq")
_DOUBLE_BYTES = 8
_FASTEST = 1
"""zlib level: a poll cycle must cost microseconds, and the spool is short-lived."""
_KINDS: dict[type, int] = {
    type(None): Kind.NONE,
    bool: Kind.BOOL,
    int: Kind.INT,
    float: Kind.FLOAT,
    str: Kind.STR,
}
_WORST_QUALITY = max(Quality)
_UNKNOWN = 255
_DAMAGE = (
    zlib.error,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    StopIteration,
    RecursionError,
)
"""What decoding of arbitrary bytes may raise."""


UNSTORABLE = (KeyError, OverflowError, UnicodeEncodeError)
"""What :func:`encode` raises for a sample that has no place in a batch."""


class BatchError(ValueError):
    """These bytes are not a batch of samples that this program knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples as parallel columns, one entry a sample.

    Attributes:
        kinds: A :class:`Kind` each; with it ``typed(kind, raw)`` is the sample's value.
        qualities: A :class:`Quality` each.
        source_ns: ns since the Unix epoch, as ``received_ns``.
    """

    points: tuple[str, ...]
    kinds: bytes
    raws: Sequence[Raw]
    qualities: bytes
    codes: Sequence[int]
    source_ns: Sequence[int]
    received_ns: Sequence[int]

    def __len__(self) -> int:
        return len(self.points)

    def samples(self) -> list[Sample]:
        """Return the samples as they were encoded."""
        return [
            Sample(
                point=point,
                value=typed(kind, raw),
                quality=Quality(quality),
                code=code,
                source_ns=source_ns,
                received_ns=received_ns,
            )
            for point, kind, raw, quality, code, source_ns, received_ns in zip(
                self.points,
                self.kinds,
                self.raws,
                self.qualities,
                self.codes,
                self.source_ns,
                self.received_ns,
                strict=True,
            )
        ]


def encode(samples: Sequence[Sample]) -> bytes:
    """Return ``samples`` (at least one) as a block of bytes.

    Raises:
        KeyError: a value is neither bool, int, float, str nor None.
        OverflowError: an integer, code or time does not fit 64 bits.
        UnicodeEncodeError: a text or a point name cannot be written as UTF-8.
    """
    values = [sample.value for sample in samples]
    kinds = bytes([_KINDS[type(value)] for value in values])
    integers = [value for value in values if isinstance(value, int)]
    if max(integers, default=0) > INT64_MAX:
        kinds, integers = _mark_big(kinds, values), [_signed(number) for number in integers]
    columns = b"".join(
        (
            kinds,
            bytes([sample.quality for sample in samples]),
            _pack_integers([sample.source_ns for sample in samples]),
            _pack_integers([sample.received_ns for sample in samples]),
            _pack_integers([sample.code for sample in samples]),
            _pack_integers(integers),
            array("d", [value for value in values if isinstance(value, float)]).tobytes(),
            _pack_texts([value for value in values if isinstance(value, str)]),
        )
    )
    names = _pack_names(tuple([sample.point for sample in samples]))
    head = _HEAD.pack(_FORMAT, len(samples), len(names))
    return head + names + zlib.compress(columns, _FASTEST)


def count_samples(body: bytes) -> int:
    """Return the number of samples in a block of which only the first bytes need be given.

    Raises:
        BatchError: fewer than :data:`COUNT_BYTES` bytes, or of an unknown format.
    """
    if len(body) < COUNT_BYTES or body[0] != _FORMAT:
        raise BatchError(f"not a batch of format {_FORMAT}")
    count: int = _HEAD.unpack_from(body)[1]
    return count


COUNT_BYTES = _HEAD.size
"""As many bytes of a block are enough for :func:`count_samples`."""


def decode(body: bytes) -> Batch:
    """Return the samples of a block made by :func:`encode`.

    Raises:
        BatchError: the block is damaged or of an unknown format.
    """
    count = count_samples(body)
    names_end = COUNT_BYTES + _HEAD.unpack_from(body)[2]
    try:
        points = _unpack_names(body[COUNT_BYTES:names_end])
        batch = _unpack_columns(points, zlib.decompress(body[names_end:]))
    except _DAMAGE as exc:
        raise BatchError(f"damaged batch: {exc!r}") from exc
    if len(points) != count or max(batch.qualities, default=_UNKNOWN) > _WORST_QUALITY:
        raise BatchError("damaged batch: columns of different length or an unknown quality")
    return batch


def _unpack_columns(points: tuple[str, ...], data: bytes) -> Batch:
    count = len(points)
    kinds = data[:count]
    at = 2 * count
    source_ns, at = _unpack_integers(data, at, count)
    received_ns, at = _unpack_integers(data, at, count)
    codes, at = _unpack_integers(data, at, count)
    integer_count = sum(map(kinds.count, (Kind.BOOL, Kind.INT, Kind.BIG)))
    integers, at = _unpack_integers(data, at, integer_count)
    floats_end = at + kinds.count(Kind.FLOAT) * _DOUBLE_BYTES
    integer = iter(integers)
    by_kind: dict[int, Iterator[Raw]] = {
        Kind.NONE: repeat(None),
        Kind.BOOL: integer,
        Kind.INT: integer,
        Kind.BIG: integer,
        Kind.FLOAT: iter(array("d", data[at:floats_end])),
        Kind.STR: iter(json.loads(data[floats_end:] or b"[]")),
    }
    return Batch(
        points=points,
        kinds=kinds,
        raws=[next(by_kind[kind]) for kind in kinds],
        qualities=data[count : 2 * count],
        codes=codes,
        source_ns=source_ns,
        received_ns=received_ns,
    )


def _mark_big(kinds: bytes, values: list[Value | None]) -> bytes:
    return bytes(
        [
            Kind.BIG if isinstance(value, int) and value > INT64_MAX else kind
            for value, kind in zip(values, kinds, strict=True)
        ]
    )


def _signed(number: int) -> int:
    if number >= UINT64_SPAN:
        raise OverflowError(f"{number} does not fit 64 bits")
    return number - UINT64_SPAN if number > INT64_MAX else number


def _pack_integers(values: list[int]) -> bytes:
    """Store the smallest value, then what each is above it, as narrow as the largest allows."""
    if not values:
        return b""
    low, high = min(values), max(values)
    if high > INT64_MAX:
        raise OverflowError(f"{high} does not fit 64 bits")
    span = high - low
    try:
        head = _INT_COLUMN.pack(_width_for(span), low)
    except struct.error as exc:
        raise OverflowError(f"{low} does not fit 64 bits") from exc
    if span == 0:
        return head
    return head + array(_width_for(span).decode(), [value - low for value in values]).tobytes()


def _width_for(span: int) -> bytes:
    """Return the array type code of the narrowest unsigned integer; ``0`` if all are equal."""
    if span == 0:
        return b"0"
    return b"B" if span < 2**8 else b"H" if span < 2**16 else b"I" if span < 2**32 else b"Q"


def _unpack_integers(data: bytes, at: int, count: int) -> tuple[Sequence[int], int]:
    """Return ``count`` integers and where the next column starts."""
    if count == 0:
        return (), at
    width, low = _INT_COLUMN.unpack_from(data, at)
    at += _INT_COLUMN.size
    if width == b"0":
        return [low] * count, at
    above = array(width.decode())
    end = at + count * above.itemsize
    above.frombytes(data[at:end])
    return [low + value for value in above], end


def _pack_texts(texts: list[str]) -> bytes:
    return json.dumps(texts, ensure_ascii=False).encode() if texts else b""


# A poll group reads the same points each time, so both sides meet few different lists.
@lru_cache(maxsize=64)
def _pack_names(points: tuple[str, ...]) -> bytes:
    return zlib.compress(json.dumps(points, ensure_ascii=False).encode(), _FASTEST)


@lru_cache(maxsize=256)
def _unpack_names(packed: bytes) -> tuple[str, ...]:
    return tuple(json.loads(zlib.decompress(packed)))
