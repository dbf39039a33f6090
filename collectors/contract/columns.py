"""Many readings as parallel columns, for the path from a driver to the spool.

A :class:`Sample` for each value costs a microsecond; a column costs what its bytes cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import overload

from collectors.contract.points import Quality, Sample, Value


class Runs(Sequence[int]):
    """Integers of which long stretches are equal, such as the times of one answer's points."""

    __slots__ = ("_length", "pairs")

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Hold ``(value, count)`` pairs in order."""
        self.pairs = pairs
        self._length = sum(count for _, count in pairs)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(repeat(value, count) for value, count in self.pairs)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return list(self)[index]
        place = index if index >= 0 else index + self._length
        for value, count in self.pairs if place >= 0 else ():
            if place < count:
                return value
            place -= count
        raise IndexError(index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Readings of many points, one entry a reading in each column; see :class:`Sample`.

    Attributes:
        points: ``DEVICE/POINT`` each. Best the same object in each cycle, so that what belongs to
            the names is looked up once.
        values: ``None`` exactly where the quality is bad; never a NaN or an infinity.
        qualities: A :class:`Quality` each.
        codes: The device's own status, 0 if none.
        source_ns, received_ns: ns since the Unix epoch, UTC.
    """

    points: tuple[str, ...]
    values: Sequence[Value | None]
    qualities: bytes
    codes: Sequence[int] = field(default=())
    """Empty if all are 0."""
    source_ns: Sequence[int]
    received_ns: Sequence[int]

    def __len__(self) -> int:
        return len(self.points)

    def samples(self) -> list[Sample]:
        """Return the same readings one by one."""
        return [
            Sample(
                point=point,
                value=value,
                quality=Quality(quality),
                code=code,
                source_ns=source_ns,
                received_ns=received_ns,
            )
            for point, value, quality, code, source_ns, received_ns in zip(
                self.points,
                self.values,
                self.qualities,
                self.codes or repeat(0, len(self.points)),
                self.source_ns,
                self.received_ns,
                strict=True,
            )
        ]


def columns_of(samples: Sequence[Sample]) -> Columns:
    """Return samples as columns, in the same order."""
    return Columns(
        points=tuple([sample.point for sample in samples]),
        values=[sample.value for sample in samples],
        qualities=bytes([sample.quality for sample in samples]),
        codes=[sample.code for sample in samples],
        source_ns=[sample.source_ns for sample in samples],
        received_ns=[sample.received_ns for sample in samples],
    )
