"""Read the blocks of one poll group, and split a block that the device refuses.

A device answers a request that touches one illegal address with an error for all of them. Halving
finds the culprit in a few requests, so that only its point is bad and its neighbours stay good.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

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

    def add(self, part: "_Part", answer: Answer | Refusal) -> None:
        count = part.points
        if isinstance(answer, Answer):
            values, all_good = part.decode(answer.payload)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A request and what decodes its answer.

    Attributes:
        block: Without its fields where ``merged_at`` says which merged block it is.
        points: How many it reads.
    """

    block: Block
    decode: BlockDecode
    points: int
    merged_at: int | None = None


class BlockReader:
    """The requests of one poll group, as merged as the device allows.

    Args:
        merged: The requests as planned.
        replan: Returns ``merged`` again. With it the fields are let go of: the points of a large
            site cost megabytes and are needed again only if a device refuses a request.
    """

    def __init__(
        self,
        merged: tuple[Block, ...],
        request: Request,
        clock: Callable[[], float] = time.monotonic,
        replan: Callable[[], tuple[Block, ...]] | None = None,
    ) -> None:
        self._request = request
        self._clock = clock
        self._replan = replan or (lambda: merged)
        self._points = tuple(field.point for block in merged for field in block.fields)
        self._split_at_s: float | None = None
        self._merged = [
            _Part(
                block=replace(block, fields=()) if replan else block,
                decode=compile_block(block),
                points=len(block.fields),
                merged_at=at,
            )
            for at, block in enumerate(merged)
        ]
        self._parts = self._merged
        self._hopeless: set[int] = set()
        """Parts (by id) of which the device refused every single point: halving is no use."""

    def merge_again(self) -> None:
        """Forget what the device refused, as after a reconnect or five minutes."""
        self._parts, self._split_at_s = self._merged, None
        self._hopeless.clear()

    async def read(self) -> Columns:
        """Return one reading for each point, in the same order each time.

        Raises:
            ConnectionLost: from the request.
        """
        if self._split_at_s is not None and self._clock() - self._split_at_s > RETRY_MERGED_S:
            self.merge_again()
        reading = _Reading()
        kept: list[_Part] = []
        for part in self._parts:
            answer = await self._request(part.block)
            if _may_split(answer) and part.points > 1 and id(part) not in self._hopeless:
                kept.extend(await self._split(part, reading))
            else:
                kept.append(part)
                reading.add(part, answer)
        self._parts = kept
        return reading.columns(self._points)

    async def _split(self, refused: _Part, reading: _Reading) -> list[_Part]:
        """Add what the parts of a refused block bring; return what to read from now on."""
        found = _Reading()
        parts: list[_Part] = []
        answered = False
        whole = refused.block
        if refused.merged_at is not None:
            whole = self._replan()[refused.merged_at]
        open_blocks = list(reversed(halve(whole)))
        while open_blocks:
            block = open_blocks.pop()
            answer = await self._request(block)
            if _may_split(answer) and len(block.fields) > 1:
                open_blocks.extend(reversed(halve(block)))
            else:
                part = _Part(block=block, decode=compile_block(block), points=len(block.fields))
                parts.append(part)
                found.add(part, answer)
                answered = answered or isinstance(answer, Answer)
        reading.extend(found)
        if self._split_at_s is None:
            self._split_at_s = self._clock()
        if not answered:
            self._hopeless.add(id(refused))
            return [refused]
        _log.info(
            "a refused request is split",
            extra={
                "device": whole.fields[0].point.partition("/")[0],
                "area": whole.area,
                "start": whole.start,
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
