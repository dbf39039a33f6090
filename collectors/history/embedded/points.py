"""Many samples of one or several series as numpy arrays, and what is done with whole columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.contract.points import Quality
from collectors.history.batch import Batch, IntegerColumn, decode
from collectors.history.device_time import CLOCK_AHEAD_NS, CLOCK_BEHIND_NS
from collectors.history.values import UINT64_SPAN, Kind, Raw

Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

# Members of an enumeration are slow to come by.
_BOOL, _INT, _BIG = int(Kind.BOOL), int(Kind.INT), int(Kind.BIG)
_FLOAT, _STR = int(Kind.FLOAT), int(Kind.STR)
_IS_NUMBER = np.isin(np.arange(256), [Kind.BOOL, Kind.INT, Kind.BIG, Kind.FLOAT])


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Samples as columns of equal length.

    Attributes:
        source_ns, received_ns: ns since the Unix epoch.
        kinds, qualities: A :class:`Kind` and a :class:`Quality` each.
        bits: The value: an integer itself, a bool as 0 or 1, a float as its 64 bits, a text as its
            place in ``texts``.
        texts: Those of all samples; some may belong to none.
    """

    source_ns: Int64s
    received_ns: Int64s
    kinds: Bytes
    qualities: Bytes
    codes: Int64s
    bits: Int64s
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.source_ns)

    def at(self, places: Int64s | slice) -> Points:
        """Return the samples at these places."""
        return Points(
            source_ns=self.source_ns[places],
            received_ns=self.received_ns[places],
            kinds=self.kinds[places],
            qualities=self.qualities[places],
            codes=self.codes[places],
            bits=self.bits[places],
            texts=self.texts,
        )

    def numbers(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return each value as a number, and where it is one; a bool is 0 or 1."""
        kinds = self.kinds
        if len(kinds) and (kinds == _FLOAT).all():
            return self.bits.view(np.float64), np.ones(len(kinds), np.bool_)
        is_number = _IS_NUMBER[kinds]
        numbers = self.bits.astype(np.float64)
        numbers[kinds == _BIG] += float(UINT64_SPAN)
        is_float = kinds == _FLOAT
        numbers[is_float] = self.bits[is_float].view(np.float64)
        return numbers, is_number

    def until(self, latest_ns: int) -> Points:
        """Return the samples, which are by time, without those that are later."""
        if self.source_ns[-1] <= latest_ns:
            return self
        return self.at(slice(0, int(np.searchsorted(self.source_ns, latest_ns, "right"))))

    def in_order(self) -> Points:
        """Return the samples of one series by time; of several at one time, only the last."""
        steps = np.diff(self.source_ns)
        if (steps > 0).all():
            return self
        order = np.argsort(self.source_ns, kind="stable")
        ordered = self.source_ns[order]
        is_last = np.append(ordered[1:] != ordered[:-1], True)
        return self.at(order[is_last])


def joined(parts: Sequence[Points]) -> Points:
    """Return all samples, in the order of the parts."""
    if len(parts) == 1:
        return parts[0]
    texts: list[str] = []
    bits = []
    for part in parts:
        if part.texts:
            bits.append(np.where(part.kinds == _STR, part.bits + len(texts), part.bits))
            texts += part.texts
        else:
            bits.append(part.bits)
    return Points(
        source_ns=np.concatenate([part.source_ns for part in parts]),
        received_ns=np.concatenate([part.received_ns for part in parts]),
        kinds=np.concatenate([part.kinds for part in parts]),
        qualities=np.concatenate([part.qualities for part in parts]),
        codes=np.concatenate([part.codes for part in parts]),
        bits=np.concatenate(bits),
        texts=texts,
    )


EMPTY = Points(
    source_ns=np.empty(0, np.int64),
    received_ns=np.empty(0, np.int64),
    kinds=np.empty(0, np.uint8),
    qualities=np.empty(0, np.uint8),
    codes=np.empty(0, np.int64),
    bits=np.empty(0, np.int64),
)


def points_of(batches: Sequence[Batch]) -> Points:
    """Return the samples of at least one batch under times that can be right; see ``device_time``.

    Many batches at once cost little more than one.
    """
    kinds = np.frombuffer(b"".join([batch.kinds for batch in batches]), np.uint8)
    source_ns, received_ns, qualities = trusted_times(batches)
    return Points(
        source_ns=source_ns,
        received_ns=received_ns,
        kinds=kinds,
        qualities=qualities,
        codes=_column([batch.code for batch in batches], batches),
        bits=_bits(batches, kinds),
        texts=[text for batch in batches for text in batch.texts],
    )


def trusted_times(batches: Sequence[Batch]) -> tuple[Int64s, Int64s, Bytes]:
    """Return source time, receive time and quality to store, as ``device_time.trusted_times``."""
    source_ns = _column([batch.source for batch in batches], batches)
    received_ns = _column([batch.received for batch in batches], batches)
    qualities = np.frombuffer(b"".join([batch.qualities for batch in batches]), np.uint8)
    behind_ns = received_ns - source_ns
    if behind_ns.max() <= CLOCK_BEHIND_NS and behind_ns.min() >= -CLOCK_AHEAD_NS:
        return source_ns, received_ns, qualities
    is_wrong = (behind_ns > CLOCK_BEHIND_NS) | (behind_ns < -CLOCK_AHEAD_NS)
    uncertain = np.maximum(qualities, np.uint8(Quality.UNCERTAIN))
    return (
        np.where(is_wrong, received_ns, source_ns),
        received_ns,
        np.where(is_wrong, uncertain, qualities),
    )


def time_bounds(batch: Batch) -> tuple[int, int]:
    """Return the earliest and the latest of the times to store."""
    if batch.source.width == batch.received.width == "0":
        behind_ns = batch.received.low - batch.source.low
        if -CLOCK_AHEAD_NS <= behind_ns <= CLOCK_BEHIND_NS:
            return batch.source.low, batch.source.low
    source_ns, _, _ = trusted_times([batch])
    return int(source_ns.min()), int(source_ns.max())


def _column(stored: Sequence[IntegerColumn], batches: Sequence[Batch]) -> Int64s:
    """Return the integers of one column of each batch."""
    counts = [len(batch) for batch in batches]
    if all(part.width == "0" for part in stored):
        return np.repeat(np.array([part.low for part in stored], np.int64), counts)
    return np.concatenate([column(part, n) for part, n in zip(stored, counts, strict=True)])


def column(stored: IntegerColumn, count: int) -> Int64s:
    """Return the integers of a batch's column."""
    if stored.width == "0":
        return np.full(count, stored.low, np.int64)
    above = np.frombuffer(stored.above, stored.width)
    # Unsigned, as the sum wraps around to the right signed number.
    low = np.int64(stored.low).view(np.uint64)
    return (above.astype(np.uint64) + low).view(np.int64)


def _bits(batches: Sequence[Batch], kinds: Bytes) -> Int64s:
    bits = np.zeros(len(kinds), np.int64)
    floats = b"".join([batch.floats for batch in batches])
    if len(floats) == 8 * len(kinds):
        return np.frombuffer(floats, np.int64)
    if floats:
        bits[kinds == _FLOAT] = np.frombuffer(floats, np.int64)
    if integers := b"".join([batch.integers for batch in batches]):
        bits[(kinds == _INT) | (kinds == _BIG)] = np.frombuffer(integers, np.int64)
    if bools := b"".join([batch.bools for batch in batches]):
        bits[kinds == _BOOL] = np.frombuffer(bools, np.uint8)
    is_text = kinds == _STR
    bits[is_text] = np.arange(np.count_nonzero(is_text))
    return bits


def stored_batch(body: bytes, points: int) -> Batch:
    """Return a batch of ``live.db``, whose table has so many points.

    Raises:
        BatchError: it is damaged.
    """
    return decode(body, ("",) * points)


def raw_of(points: Points, at: int) -> tuple[int, Raw]:
    """Return the kind and the raw value of one sample."""
    kind, bits = int(points.kinds[at]), int(points.bits[at])
    if kind == Kind.NONE:
        return kind, None
    if kind == Kind.FLOAT:
        return kind, float(points.bits[at : at + 1].view(np.float64)[0])
    return kind, points.texts[bits] if kind == Kind.STR else bits


def runs_of(keys: NDArray[np.int64]) -> Iterable[slice]:
    """Yield each stretch of equal keys."""
    borders = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    starts = [0, *borders.tolist()]
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        yield slice(start, end)
