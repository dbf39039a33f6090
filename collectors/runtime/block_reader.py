"""Read the blocks of one poll group, and split a block that the device refuses.

A device answers a request that touches one illegal address with an error for all of them. Halving
finds the culprit in a few requests, so that only its point is bad and its neighbours stay good.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from collectors.contract.columns import Columns, Runs
from collectors.contract.points import Quality, Value
from collectors.runtime.block_decoder import BlockDecode, compile_block
from collectors.runtime.planner import Block, halve

RETRY_MERGED_S = 300.0
"""Somebody may have loaded a new program into the device meanwhile."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the device sent for a block; times as in :class:`Sample`."""

    payload: bytes
    source_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The device's error for a block.

    Attributes:
        address_at_fault: The request may succeed for a part of the block.
    """

    quality: Quality
    code: int
    address_at_fault: bool
    source_ns: int
    received_ns: int


Request = Callable[[Block], Awaitable[Answer | Refusal]]


@dataclass(slots=True, kw_only=True)
class _Reading:
    """What one cycle has brought so far, in the order of the points."""

    values: list[Value | None] = field(default_factory=list)
    qualities: bytearray = field(default_factory=bytearray)
    codes: list[tuple[int, int]] = field(default_factory=list)
    source_ns: list[tuple[int, int]] = field(default_factory=list)
    received_ns: list[tuple[int, int]] = field(default_factory=list)

    def add(self, block: Block, answer: Answer | Refusal, decode: BlockDecode) -> None:
        count = len(block.fields)
        if isinstance(answer, Answer):
            values, all_good = decode(answer.payload)
            self.values += values
            self.qualities += _qualities_of(values, all_good=all_good)
            self.codes.append((0, count))
        else:
            self.values += [None] * count
            self.qualities += bytes((answer.quality,)) * count
            self.codes.append((answer.code, count))
        self.source_ns.append((answer.source_ns, count))
        self.received_ns.append((answer.received_ns, count))

    def extend(self, other: "_Reading") -> None:
        self.values += other.values
        self.qualities += other.qualities
        self.codes += other.codes
        self.source_ns += other.source_ns
        self.received_ns += other.received_ns

    def columns(self, points: tuple[str, ...]) -> Columns:
        return Columns(
            points=points,
            values=self.values,
            qualities=bytes(self.qualities),
            codes=Runs(self.codes) if any(code for code, _ in self.codes) else (),
            source_ns=Runs(self.source_ns),
            received_ns=Runs(self.received_ns),
        )


class BlockReader:
    """The requests of one poll group, as merged as the device allows."""

    def __init__(
        self,
        merged: tuple[Block, ...],
        request: Request,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request = request
        self._clock = clock
        self._points = tuple(field.point for block in merged for field in block.fields)
        self._split_at_s: float | None = None
        self._blocks = self._compiled = [(block, compile_block(block)) for block in merged]
        self._hopeless: set[int] = set()
        """Merged blocks (by id) of which the device refused every single point."""

    def merge_again(self) -> None:
        """Forget what the device refused, as after a reconnect or five minutes."""
        self._blocks, self._split_at_s = self._compiled, None
        self._hopeless.clear()

    async def read(self) -> Columns:
        """Return one reading for each point, in the same order each time.

        Raises:
            ConnectionLost: from the request.
        """
        if self._split_at_s is not None and self._clock() - self._split_at_s > RETRY_MERGED_S:
            self.merge_again()
        reading = _Reading()
        kept: list[tuple[Block, BlockDecode]] = []
        for block, decode in self._blocks:
            answer = await self._request(block)
            if _may_split(answer) and len(block.fields) > 1 and id(block) not in self._hopeless:
                kept.extend(await self._split(block, decode, reading))
            else:
                kept.append((block, decode))
                reading.add(block, answer, decode)
        self._blocks = kept
        return reading.columns(self._points)

    async def _split(
        self, refused: Block, decode: BlockDecode, reading: _Reading
    ) -> list[tuple[Block, BlockDecode]]:
        """Add what the parts of a refused block bring; return what to read from now on."""
        found = _Reading()
        parts: list[tuple[Block, BlockDecode]] = []
        answered = False
        open_blocks = list(reversed(halve(refused)))
        while open_blocks:
            block = open_blocks.pop()
            answer = await self._request(block)
            if _may_split(answer) and len(block.fields) > 1:
                open_blocks.extend(reversed(halve(block)))
            else:
                part = (block, compile_block(block))
                parts.append(part)
                found.add(block, answer, part[1])
                answered = answered or isinstance(answer, Answer)
        reading.extend(found)
        if self._split_at_s is None:
            self._split_at_s = self._clock()
        if not answered:
            self._hopeless.add(id(refused))
            return [(refused, decode)]
        _log.info(
            "a refused request is split",
            extra={
                "device": refused.fields[0].point.partition("/")[0],
                "area": refused.area,
                "start": refused.start,
                "requests": len(parts),
            },
        )
        return parts


def _may_split(answer: Answer | Refusal) -> bool:
    return isinstance(answer, Refusal) and answer.address_at_fault


def _qualities_of(values: list[Value | None], *, all_good: bool) -> bytes:
    if all_good:
        return bytes(len(values))  # GOOD is 0
    return bytes([Quality.BAD_RANGE if value is None else Quality.GOOD for value in values])
