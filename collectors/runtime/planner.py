"""Merge addresses into few requests. Pure.

One request of 125 registers costs about as much as a request of one, so addresses that lie close
together are read together, also across unused ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collectors.contract.points import Value

Decode = Callable[[bytes, int], Value | None]
"""Takes an answer's payload and the position of the point in it, in units of the block's area.

Returns ``None`` for a value that does not fit its type, such as text that is not text.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number in an area of 16-bit words, as one letter of a struct format reads it.

    Attributes:
        code: Of the struct module, such as ``h`` or ``d``.
        little_endian: Read it so; big-endian otherwise.
        swapped: The two bytes of each word are exchanged before.
        skip_bytes: Of the first word, before the number: 1 for the lower byte of a register.
    """

    code: str
    little_endian: bool = False
    swapped: bool = False
    skip_bytes: int = 0
    scale: float = 1.0
    offset: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Tell whether the number is the value."""
        return self.scale == 1 and self.offset == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bit:
    """One bit of a word, or of an area of packed bits.

    Attributes:
        number: Place in the word, 0 = least significant; ``None`` in an area of packed bits, the
            first of which is the least significant of the first byte.
        little_endian: The word comes low byte first.
    """

    number: int | None = None
    little_endian: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One point as the planner sees it.

    Attributes:
        point: ``DEVICE/POINT``.
        start: First address, in units of the area (registers, bits, words).
        count: Addresses that the value fills.
        layout: Lets many fields of a block be decoded in one step; without it, ``decode`` is
            called for the field alone.
    """

    point: str
    start: int
    count: int
    decode: Decode
    layout: Number | Bit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One request: ``count`` addresses of ``area`` from ``start`` on, and the points inside."""

    area: str
    start: int
    count: int
    fields: tuple[Field, ...]

    @property
    def unused(self) -> int:
        """Addresses that are read only to save another request."""
        used: set[int] = set()
        for field in self.fields:
            used.update(range(field.start, field.start + field.count))
        return self.count - len(used)


def merge(area: str, fields: Sequence[Field], *, max_gap: int, max_count: int) -> tuple[Block, ...]:
    """Return the blocks that read every field exactly once, in address order.

    Args:
        max_gap: Unused addresses that may lie between two neighbours of one block.
        max_count: Addresses of the longest block; no field is longer.
    """
    blocks: list[Block] = []
    run: list[Field] = []
    end = 0
    for field in sorted(fields, key=lambda field: (field.start, field.count)):
        new_end = max(end, field.start + field.count)
        if run and (field.start - end > max_gap or new_end - run[0].start > max_count):
            blocks.append(_block(area, run))
            run, new_end = [], field.start + field.count
        run.append(field)
        end = new_end
    if run:
        blocks.append(_block(area, run))
    return tuple(blocks)


def halve(block: Block) -> tuple[Block, Block]:
    """Return two blocks that read the lower and the upper half of the points."""
    middle = len(block.fields) // 2
    return _block(block.area, block.fields[:middle]), _block(block.area, block.fields[middle:])


def _block(area: str, fields: Sequence[Field]) -> Block:
    start = fields[0].start
    end = max(field.start + field.count for field in fields)
    return Block(area=area, start=start, count=end - start, fields=tuple(fields))
