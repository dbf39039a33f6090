"""What is known of a stretch of time without its samples: extremes, sum, counts, first and last."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.contract.points import Quality
from collectors.history.embedded.codec import (
    ChunkError,
    pack_floats,
    pack_integers,
    unpack_floats,
    unpack_integers,
)
from collectors.history.embedded.points import Floats, Int64s, Points

NS_PER_MINUTE = 60 * 10**9
NS_PER_HOUR = 60 * NS_PER_MINUTE

_LENGTH = struct.Struct("=I")
_WHOLE = ("keys", "good", "bad", "numbers")
_REAL = ("minimum", "maximum", "total", "first", "last")
_BAD = np.isin(np.arange(256), [quality for quality in Quality if quality.is_bad])


@dataclass(frozen=True, slots=True, kw_only=True)
class Summaries:
    """One entry a stretch of time, parallel arrays.

    Attributes:
        keys: Which stretch, ascending.
        good: Samples that are good or uncertain; ``bad`` all others.
        numbers: Samples that are numbers, with a bool as 0 or 1; the rest is of these, and means
            nothing where there is none.
        first, last: By time.
    """

    keys: Int64s
    good: Int64s
    bad: Int64s
    numbers: Int64s
    minimum: Floats
    maximum: Floats
    total: Floats
    first: Floats
    last: Floats

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, chosen: NDArray[np.bool_]) -> Summaries:
        """Return those that are chosen."""
        return Summaries(**{name: getattr(self, name)[chosen] for name in _WHOLE + _REAL})

    def packed(self) -> bytes:
        """Return the summaries, at least one, as bytes."""
        parts = [pack_integers(getattr(self, name)) for name in _WHOLE]
        parts += [pack_floats(getattr(self, name)) for name in _REAL]
        joined = b"".join(_LENGTH.pack(len(part)) + part for part in parts)
        return _LENGTH.pack(len(self)) + zlib.compress(joined, 1)

    def under(self, keys: Int64s) -> Summaries:
        """Return the same under other keys, of which neighbours may be equal: joined."""
        starts = _starts(keys)
        if len(starts) == len(keys):
            starts = np.arange(len(keys))
        ends = np.append(starts[1:], len(keys)) - 1
        has_numbers = self.numbers > 0
        places = np.arange(len(keys))
        first = np.minimum.reduceat(np.where(has_numbers, places, len(keys) - 1), starts)
        last = np.maximum.reduceat(np.where(has_numbers, places, 0), starts)
        return Summaries(
            keys=keys[starts],
            good=np.add.reduceat(self.good, starts),
            bad=np.add.reduceat(self.bad, starts),
            numbers=np.add.reduceat(self.numbers, starts),
            minimum=np.minimum.reduceat(np.where(has_numbers, self.minimum, np.inf), starts),
            maximum=np.maximum.reduceat(np.where(has_numbers, self.maximum, -np.inf), starts),
            total=np.add.reduceat(np.where(has_numbers, self.total, 0.0), starts),
            first=self.first[np.minimum(first, ends)],
            last=self.last[np.maximum(last, starts)],
        )


def unpack_summaries(data: bytes) -> Summaries:
    """Return what :meth:`Summaries.packed` has packed.

    Raises:
        ChunkError: the bytes are damaged.
    """
    try:
        (count,) = _LENGTH.unpack_from(data)
        joined = zlib.decompress(data[_LENGTH.size :])
        columns, at = [], 0
        while at < len(joined):
            start = at + _LENGTH.size
            at = start + _LENGTH.unpack_from(joined, at)[0]
            columns.append(joined[start:at])
        whole = [unpack_integers(part, count) for part in columns[: len(_WHOLE)]]
        real = [unpack_floats(part, count) for part in columns[len(_WHOLE) :]]
    except (zlib.error, struct.error, ValueError, IndexError) as exc:
        raise ChunkError(f"damaged rollup: {exc}") from exc
    keys, good, bad, numbers = whole
    minimum, maximum, total, first, last = real
    return Summaries(
        keys=keys,
        good=good,
        bad=bad,
        numbers=numbers,
        minimum=minimum,
        maximum=maximum,
        total=total,
        first=first,
        last=last,
    )


def summarised(points: Points, keys: Int64s) -> Summaries:
    """Return a summary for each stretch of equal keys; samples, at least one, in order of time."""
    numbers, is_number = points.numbers()
    ones = is_number.astype(np.int64)
    is_bad = _BAD[points.qualities].astype(np.int64)
    each = Summaries(
        keys=keys,
        good=1 - is_bad,
        bad=is_bad,
        numbers=ones,
        minimum=numbers,
        maximum=numbers,
        total=numbers,
        first=numbers,
        last=numbers,
    )
    with np.errstate(over="ignore"):
        return each.under(keys)


def joined_summaries(parts: Sequence[Summaries]) -> Summaries:
    """Return summaries in the order of the parts, neighbours of one key as one."""
    if len(parts) == 1:
        return parts[0]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _WHOLE + _REAL
    }
    return Summaries(**columns).under(columns["keys"])


def _starts(keys: Int64s) -> Int64s:
    return np.append(0, np.flatnonzero(keys[1:] != keys[:-1]) + 1)
