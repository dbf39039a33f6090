"""Decode all points of a block in one step. Pure.

A call for each point costs 0.3 µs, one struct for the whole block 0.02 µs a point. What no struct
can say (text, BCD, a number that overlaps another) still goes point by point.
"""

import math
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from collectors.contract.points import Value
from collectors.runtime.planner import Block, Number

Decoded = tuple[list[Value | None], bool]
"""The values of a block in the order of its fields, and whether none of them is ``None``."""
BlockDecode = Callable[[bytes], Decoded]

_WORD_BYTES = 2
_FLOATS = "efd"


@dataclass(slots=True, kw_only=True)
class _Lane:
    """Numbers of one byte order that do not overlap: one struct reads them all."""

    swapped: bool
    little_endian: bool
    codes: list[str] = field(default_factory=list)
    end_bytes: int = 0
    fields: list[int] = field(default_factory=list)
    unpack: Callable[[bytes], tuple[Any, ...]] = tuple

    def take(self, index: int, start_bytes: int, code: str) -> bool:
        """Append a number, unless it begins before the one before has ended."""
        gap = start_bytes - self.end_bytes
        if gap < 0:
            return False
        self.codes += [f"{gap}x", code] if gap else [code]
        self.end_bytes = start_bytes + struct.calcsize(f">{code}")
        self.fields.append(index)
        return True

    def compile(self) -> None:
        runs = [(code, len(list(same))) for code, same in groupby(self.codes)]
        layout = "".join(code * count if "x" in code else f"{count}{code}" for code, count in runs)
        self.unpack = struct.Struct(("<" if self.little_endian else ">") + layout).unpack_from


class _BlockDecoder:
    """What :func:`compile_block` returns."""

    def __init__(self, block: Block) -> None:
        lanes: dict[tuple[bool, bool], _Lane] = {}
        self._bits: list[tuple[int, int]] = []
        self._others: list[tuple[Callable[[bytes, int], Value | None], int]] = []
        bit_fields: list[int] = []
        other_fields: list[int] = []
        for index, place in sorted(enumerate(block.fields), key=_byte_of):
            start, layout = place.start - block.start, place.layout
            if isinstance(layout, Number):
                key = (layout.swapped, layout.little_endian)
                lane = lanes.setdefault(key, _Lane(swapped=key[0], little_endian=key[1]))
                start_bytes = _WORD_BYTES * start + layout.skip_bytes
                if lane.take(index, start_bytes, layout.code):
                    continue
            elif layout is not None:
                self._bits.append(_bit_place(start, layout.number, layout.little_endian))
                bit_fields.append(index)
                continue
            self._others.append((place.decode, start))
            other_fields.append(index)
        self._lanes = list(lanes.values())
        for lane in self._lanes:
            lane.compile()
        number_fields = [index for lane in self._lanes for index in lane.fields]
        self._set_scaling(block, number_fields)
        self._set_order([*number_fields, *bit_fields, *other_fields])

    def __call__(self, payload: bytes) -> Decoded:
        numbers: list[Any] = []
        for lane in self._lanes:
            numbers.extend(lane.unpack(_exchanged(payload) if lane.swapped else payload))
        if self._factors:
            scaling = zip(numbers, self._factors, self._offsets, strict=True)
            numbers = [number * factor + offset for number, factor, offset in scaling]
        all_good = True
        # The sum of finite numbers may overflow too; only then is each one looked at.
        if self._may_be_infinite and not math.isfinite(sum(numbers)):
            numbers = [number if math.isfinite(number) else None for number in numbers]
            all_good = None not in numbers
        if self._bits:
            numbers.extend([payload[byte] & mask != 0 for byte, mask in self._bits])
        if self._others:
            others = [_finite(decode(payload, start)) for decode, start in self._others]
            all_good = all_good and None not in others
            numbers.extend(others)
        return (numbers if self._in_order is None else list(self._in_order(numbers))), all_good

    def _set_scaling(self, block: Block, number_fields: Sequence[int]) -> None:
        layouts = [block.fields[index].layout for index in number_fields]
        numbers = [layout for layout in layouts if isinstance(layout, Number)]
        # Whole numbers stay whole where nothing is scaled: 1 and 0 are integers here.
        scaling = [
            (1, 0) if (n.scale, n.offset) == (1, 0) else (n.scale, n.offset) for n in numbers
        ]
        if all(pair == (1, 0) for pair in scaling):
            scaling = []
        self._factors = [factor for factor, _ in scaling]
        self._offsets = [offset for _, offset in scaling]
        self._may_be_infinite = bool(scaling) or any(n.code in _FLOATS for n in numbers)

    def _set_order(self, decoded_fields: Sequence[int]) -> None:
        """Remember how to bring what is decoded into the order of the block's fields."""
        self._in_order: Callable[[list[Any]], tuple[Any, ...]] | None = None
        count = len(decoded_fields)
        if list(decoded_fields) != list(range(count)):
            at = {index: place for place, index in enumerate(decoded_fields)}
            self._in_order = itemgetter(*(at[index] for index in range(count)))


def compile_block(block: Block) -> BlockDecode:
    """Return what turns the payload of an answer to ``block`` into its points' values."""
    return _BlockDecoder(block)


def _byte_of(indexed: tuple[int, Any]) -> tuple[int, int]:
    place = indexed[1]
    skip = place.layout.skip_bytes if isinstance(place.layout, Number) else 0
    return place.start, skip


def _bit_place(start: int, number: int | None, little_endian: bool) -> tuple[int, int]:
    """Return the byte of the payload and the mask of a bit."""
    if number is None:
        return start >> 3, 1 << (start & 7)
    is_first_byte = little_endian is (number < 8)
    return _WORD_BYTES * start + (0 if is_first_byte else 1), 1 << (number & 7)


def _exchanged(payload: bytes) -> bytes:
    words = array("H", payload)
    words.byteswap()
    return words.tobytes()


def _finite(value: Value | None) -> Value | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
