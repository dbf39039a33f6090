"""Bytes of the embedded store: columns of integers and floats, chunks of one series, clocks.

Every value comes back bit by bit. Integers are stored as differences, zigzag, as narrow as the
largest allows; floats that are decimal fractions, as sensors give them, as the integers that they
are a power of ten of, all others as the bits that differ from the value before; bytes of equal
weight together; and zlib behind that. Points that are read together have the same times, so
times are stored apart, as a clock that many chunks refer to.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.history.embedded.points import Bytes, Floats, Int64s, Points
from collectors.history.values import Kind

_FASTEST = 1
# Members of an enumeration are slow to come by.
_NONE, _FLOAT, _STR = int(Kind.NONE), int(Kind.FLOAT), int(Kind.STR)
_FORMAT = 1
_HEAD = struct.Struct("=BI")
_LENGTH = struct.Struct("=I")
_FIRST = struct.Struct("=cBq")
_EXACT_INTEGER = 2.0**53
_MOST_DECIMALS = 6
_TRIAL = 16
_POWERS: Floats = np.array([10.0**decimals for decimals in range(_MOST_DECIMALS + 1)])


class ChunkError(ValueError):
    """These bytes are not what this program stores."""


def pack_integers(values: Int64s) -> bytes:
    """Return at least one integer as bytes that compress well."""
    first = int(values[0])
    steps = np.diff(values)
    if not steps.any():
        return _FIRST.pack(b"=", 0, first)
    zigzag = ((steps << 1) ^ (steps >> 63)).view(np.uint64)
    highest = int(zigzag.max())
    width = 1 if highest < 2**8 else 2 if highest < 2**16 else 4 if highest < 2**32 else 8
    return _FIRST.pack(b"d", width, first) + _planes(zigzag.astype(f"=u{width}"), width)


def unpack_integers(data: bytes, count: int) -> Int64s:
    """Return what :func:`pack_integers` has packed."""
    _, width, first = _FIRST.unpack_from(data)
    if width == 0:
        return np.full(count, first, np.int64)
    zigzag = _from_planes(data[_FIRST.size :], width, count - 1).astype(np.uint64)
    values = np.empty(count, np.int64)
    values[0] = first
    values[1:] = (zigzag >> np.uint64(1)).view(np.int64) ^ -(zigzag & np.uint64(1)).view(np.int64)
    return np.cumsum(values, out=values)


def pack_floats(values: Floats) -> bytes:
    """Return at least one float as bytes that compress well."""
    decimals = _decimals(values[:_TRIAL])
    if decimals is not None:
        whole = _as_decimals(values, decimals)
        if whole is not None:
            return bytes((decimals,)) + pack_integers(whole)
    bits = values.view(np.uint64)
    changed = bits.copy()
    changed[1:] ^= bits[:-1]
    return b"x" + _planes(changed, 8)


def unpack_floats(data: bytes, count: int) -> Floats:
    """Return what :func:`pack_floats` has packed."""
    if data[:1] == b"x":
        changed = _from_planes(data[1:], 8, count)
        return np.bitwise_xor.accumulate(changed).view(np.float64)
    values: Floats = unpack_integers(data[1:], count) / _POWERS[data[0]]
    return values


def _decimals(values: Floats) -> int | None:
    for decimals in range(_MOST_DECIMALS + 1):
        if _as_decimals(values, decimals) is not None:
            return decimals
    return None


def _as_decimals(values: Floats, decimals: int) -> Int64s | None:
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.rint(values * _POWERS[decimals])
    if not (np.abs(whole) < _EXACT_INTEGER).all():
        return None
    integers = whole.astype(np.int64)
    # Compared as bits, since -0.0 equals 0.0.
    back = (integers / _POWERS[decimals]).view(np.int64)
    return integers if (back == values.view(np.int64)).all() else None


def _planes(values: NDArray[np.unsignedinteger], width: int) -> bytes:
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, width).T.tobytes()


def _from_planes(data: bytes, width: int, count: int) -> NDArray[np.unsignedinteger]:
    planes = np.frombuffer(data, np.uint8, width * count).reshape(width, count)
    return np.ascontiguousarray(planes.T).view(f"=u{width}").reshape(count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The times of readings that many series share; source times ascend, each once."""

    source_ns: Int64s
    received_ns: Int64s

    def packed(self) -> bytes:
        """Return the clock as bytes."""
        source = pack_integers(self.source_ns)
        delay = pack_integers(self.received_ns - self.source_ns)
        return zlib.compress(_LENGTH.pack(len(source)) + source + delay, _FASTEST)


def unpack_clock(data: bytes, count: int) -> Clock:
    """Return what :meth:`Clock.packed` has packed.

    Raises:
        ChunkError: the bytes are damaged.
    """
    try:
        columns = zlib.decompress(data)
        end = _LENGTH.size + _LENGTH.unpack_from(columns)[0]
        source_ns = unpack_integers(columns[_LENGTH.size : end], count)
        delay_ns = unpack_integers(columns[end:], count)
    except (zlib.error, struct.error, ValueError, IndexError) as exc:
        raise ChunkError(f"damaged clock: {exc}") from exc
    return Clock(source_ns=source_ns, received_ns=source_ns + delay_ns)


def pack_chunk(points: Points, places: Int64s | None) -> bytes:
    """Return the samples of one series, without their times, as bytes.

    Args:
        places: Where in its clock each sample has its time; ``None`` if it has all of them.
    """
    kinds, bits = points.kinds, points.bits
    parts = [
        b"" if places is None else pack_integers(places),
        _pack_bytes(kinds),
        _pack_bytes(points.qualities),
        pack_integers(points.codes),
    ]
    is_float, is_text = kinds == _FLOAT, kinds == _STR
    other = bits[~(is_float | is_text | (kinds == _NONE))]
    floats = bits[is_float]
    texts = [points.texts[place] for place in bits[is_text].tolist()]
    parts.append(pack_integers(other) if len(other) else b"")
    parts.append(pack_floats(floats.view(np.float64)) if len(floats) else b"")
    parts.append(json.dumps(texts, ensure_ascii=False).encode() if texts else b"")
    joined = b"".join(_LENGTH.pack(len(part)) + part for part in parts)
    return _HEAD.pack(_FORMAT, len(points)) + zlib.compress(joined, _FASTEST)


def unpack_chunk(data: bytes, clock: Clock) -> Points:
    """Return what :func:`pack_chunk` has packed, with its times from ``clock``.

    Raises:
        ChunkError: the bytes are damaged or of an unknown format.
    """
    try:
        number, count = _HEAD.unpack_from(data)
        if number != _FORMAT:
            raise ChunkError(f"chunk of format {number}, this program knows {_FORMAT}")
        places, *columns = _split(zlib.decompress(data[_HEAD.size :]))
        source_ns, received_ns = clock.source_ns, clock.received_ns
        if places:
            chosen = unpack_integers(places, count)
            source_ns, received_ns = source_ns[chosen], received_ns[chosen]
        return _points(columns, source_ns, received_ns)
    except (zlib.error, struct.error, ValueError, IndexError) as exc:
        raise ChunkError(f"damaged chunk: {exc}") from exc


def _points(columns: list[bytes], source_ns: Int64s, received_ns: Int64s) -> Points:
    count = len(source_ns)
    kinds = _unpack_bytes(columns[0], count)
    is_float, is_text = kinds == _FLOAT, kinds == _STR
    bits = np.zeros(count, np.int64)
    if columns[3]:
        is_other = ~(is_float | is_text | (kinds == _NONE))
        bits[is_other] = unpack_integers(columns[3], int(np.count_nonzero(is_other)))
    if columns[4]:
        floats = unpack_floats(columns[4], int(np.count_nonzero(is_float)))
        bits[is_float] = floats.view(np.int64)
    texts = json.loads(columns[5]) if columns[5] else []
    if texts:
        bits[is_text] = np.arange(len(texts))
    return Points(
        source_ns=source_ns,
        received_ns=received_ns,
        kinds=kinds,
        qualities=_unpack_bytes(columns[1], count),
        codes=unpack_integers(columns[2], count),
        bits=bits,
        texts=texts,
    )


def _split(data: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(data):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(data, at)[0]
        parts.append(data[start:at])
    return parts


def _pack_bytes(values: Bytes) -> bytes:
    return values[:1].tobytes() if (values == values[0]).all() else values.tobytes()


def _unpack_bytes(data: bytes, count: int) -> Bytes:
    values = np.frombuffer(data, np.uint8)
    return np.full(count, values[0], np.uint8) if len(values) == 1 else values
