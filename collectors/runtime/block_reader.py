"""Read the blocks of one poll group, and split a block that the device refuses.

A device answers a request that touches one illegal address with an error for all of them. Halving
finds the culprit in a few requests, so that only its point is bad and its neighbours stay good.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from collectors.contract.points import Quality, Sample
from collectors.runtime.planner import Block, halve
from collectors.runtime.values import fault, reading

RETRY_MERGED_S = 600.0
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


class BlockReader:
    """The requests of one poll group, as merged as the device allows."""

    def __init__(
        self,
        merged: tuple[Block, ...],
        request: Request,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._merged = merged
        self._request = request
        self._clock = clock
        self._split_at_s: float | None = None
        self._blocks = merged
        self._hopeless: set[Block] = set()
        """Blocks of which the device refused every single point: halving again is no use."""

    def merge_again(self) -> None:
        """Forget what the device refused, as after a reconnect or ten minutes."""
        self._blocks, self._split_at_s = self._merged, None
        self._hopeless.clear()

    async def read(self) -> list[Sample]:
        """Return one sample for each point.

        Raises:
            ConnectionLost: from the request.
        """
        if self._split_at_s is not None and self._clock() - self._split_at_s > RETRY_MERGED_S:
            self.merge_again()
        samples: list[Sample] = []
        kept: list[Block] = []
        for block in self._blocks:
            answer = await self._request(block)
            if _may_split(answer) and len(block.fields) > 1 and block not in self._hopeless:
                kept.extend(await self._split(block, samples))
            else:
                kept.append(block)
                samples.extend(_samples(block, answer))
        self._blocks = tuple(kept)
        return samples

    async def _split(self, refused: Block, samples: list[Sample]) -> list[Block]:
        """Append the samples of a refused block and return the blocks to read from now on."""
        found: list[Sample] = []
        parts: list[Block] = []
        answered = False
        open_blocks = list(reversed(halve(refused)))
        while open_blocks:
            block = open_blocks.pop()
            answer = await self._request(block)
            if _may_split(answer) and len(block.fields) > 1:
                open_blocks.extend(reversed(halve(block)))
            else:
                parts.append(block)
                found.extend(_samples(block, answer))
                answered = answered or isinstance(answer, Answer)
        samples.extend(found)
        if self._split_at_s is None:
            self._split_at_s = self._clock()
        if not answered:
            self._hopeless.add(refused)
            return [refused]
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


def _samples(block: Block, answer: Answer | Refusal) -> list[Sample]:
    at = (answer.source_ns, answer.received_ns)
    if isinstance(answer, Refusal):
        return [fault(f.point, answer.quality, answer.code, *at) for f in block.fields]
    payload = answer.payload
    return [reading(f.point, f.decode(payload, f.start - block.start), *at) for f in block.fields]
