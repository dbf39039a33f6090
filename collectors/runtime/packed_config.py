"""A configuration as few bytes: what is kept of thousands of points until they are needed."""

import pickle
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any, overload

from collectors.contract.config_types import AnyCollector, AnyDevice

_IN_ONE_PIECE = 100


class PackedPoints(Sequence[Any]):
    """The points of a device as few bytes, 6 to 10 each; unpacked as they are needed.

    Each iteration costs 1 µs a point and gives other objects.
    """

    __slots__ = ("_length", "_pieces")

    def __init__(self, points: Sequence[Any]) -> None:
        rows = [values_of(point) for point in points]
        pieces = [rows[at : at + _IN_ONE_PIECE] for at in range(0, len(rows), _IN_ONE_PIECE)]
        self._pieces = [
            zlib.compress(pickle.dumps((type(points[0]), piece)), 1) for piece in pieces
        ]
        self._length = len(points)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        for piece in self._pieces:
            kind, rows = pickle.loads(zlib.decompress(piece))
            # As pickle would, but four times as fast; the points have been checked before.
            setters = [getattr(kind, name).__set__ for name in _names(kind)]
            for row in rows:
                point = object.__new__(kind)
                for set_field, value in zip(setters, row, strict=True):
                    set_field(point, value)
                yield point

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return tuple(self)[index]


def values_of(record: Any) -> tuple[Any, ...]:
    """Return the fields of a dataclass in their order."""
    kind: Any = type(record)
    values: tuple[Any, ...] = attrgetter(*_names(kind))(record)
    return values


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedDevice:
    """A device's configuration, and what is needed of it without unpacking.

    Attributes:
        device: Its points are :class:`PackedPoints`.
        digest: Equal for equal configurations.
        intervals_s: Of the poll groups that have points.
        samples_per_s: What the configuration asks for.
    """

    id: str
    digest: bytes
    points: int
    intervals_s: tuple[float, ...]
    samples_per_s: float
    device: AnyDevice


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedConfig:
    """A configuration file; ``config`` has every device without its points."""

    config: AnyCollector
    revision: str
    devices: tuple[PackedDevice, ...]


def expected_samples_per_s(device: AnyDevice) -> float:
    """Return how many readings a second the configuration asks for."""
    interval_s = {group.id: group.interval_s for group in device.groups}
    return sum(1 / interval_s[point.group] for point in device.points)
