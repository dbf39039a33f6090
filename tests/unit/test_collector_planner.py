"""Addresses are merged into few requests, and nothing is read twice or left out."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.points import Quality, Value
from collectors.runtime.block_reader import RETRY_MERGED_S, Answer, BlockReader, Refusal
from collectors.runtime.planner import Block, Field, halve, merge


def number_at(payload: bytes, index: int) -> Value:
    return payload[index]


def field(start: int, count: int = 1, name: str = "") -> Field:
    return Field(point=f"plc/{name or f'p{start}'}", start=start, count=count, decode=number_at)


@st.composite
def fields(draw: st.DrawFn) -> list[Field]:
    places = draw(
        st.lists(st.tuples(st.integers(0, 400), st.integers(1, 8)), min_size=1, max_size=60)
    )
    return [field(start, count, f"p{i}") for i, (start, count) in enumerate(places)]


@given(fields(), st.integers(0, 40), st.integers(8, 125))
def test_every_point_is_in_exactly_one_block_within_both_limits(
    points: list[Field], max_gap: int, max_count: int
) -> None:
    blocks = merge("holding", points, max_gap=max_gap, max_count=max_count)
    assert sorted(f.point for b in blocks for f in b.fields) == sorted(f.point for f in points)
    for block in blocks:
        assert block.count <= max_count
        assert 0 <= block.unused < block.count
        used = set()
        for f in block.fields:
            assert block.start <= f.start
            assert f.start + f.count <= block.start + block.count
            used |= set(range(f.start, f.start + f.count))
        gaps = "".join(
            "x" if i in used else "." for i in range(block.start, block.start + block.count)
        )
        assert max((len(gap) for gap in gaps.split("x")), default=0) <= max_gap


@given(fields(), st.integers(0, 40), st.integers(8, 125))
def test_two_neighbouring_blocks_could_not_have_been_one(
    points: list[Field], max_gap: int, max_count: int
) -> None:
    blocks = merge("holding", points, max_gap=max_gap, max_count=max_count)
    for left, right in pairwise(blocks):
        first = right.fields[0]
        end = max(left.start + left.count, first.start + first.count)
        too_far = first.start - (left.start + left.count) > max_gap
        assert too_far or end - left.start > max_count


@given(fields())
def test_halving_keeps_every_point(points: list[Field]) -> None:
    (block,) = merge("holding", points, max_gap=500, max_count=500)
    if len(points) > 1:
        left, right = halve(block)
        assert left.fields + right.fields == block.fields
        assert left.fields
        assert right.fields


class IllegalAddresses:
    """A device that refuses every request which touches one of its illegal addresses."""

    def __init__(self, *illegal: int) -> None:
        self.illegal = set(illegal)
        self.requests = 0
        self.now_s = 0.0

    async def request(self, block: Block) -> Answer | Refusal:
        self.requests += 1
        addresses = range(block.start, block.start + block.count)
        if self.illegal.intersection(addresses):
            return Refusal(
                quality=Quality.BAD_CONFIG,
                code=2,
                address_at_fault=True,
                source_ns=1,
                received_ns=2,
            )
        return Answer(payload=bytes(addresses), source_ns=1, received_ns=2)

    def reader(self, *addresses: int) -> BlockReader:
        blocks = merge("holding", [field(a) for a in addresses], max_gap=50, max_count=125)
        return BlockReader(blocks, self.request, clock=lambda: self.now_s)


def read(reader: BlockReader) -> dict[str, Value | None]:
    samples = asyncio.run(reader.read()).samples()
    for sample in samples:
        assert sample.quality is (Quality.BAD_CONFIG if sample.value is None else Quality.GOOD)
    return {sample.point: sample.value for sample in samples}


def cost(device: IllegalAddresses, action: Callable[[], object]) -> int:
    before = device.requests
    action()
    return device.requests - before


def test_one_illegal_address_makes_one_bad_point_and_the_others_stay_good() -> None:
    device = IllegalAddresses(17)
    reader = device.reader(*range(32))
    expected = {f"plc/p{a}": None if a == 17 else a for a in range(32)}
    assert read(reader) == expected
    assert cost(device, lambda: read(reader)) <= 7
    assert read(reader) == expected


def test_an_illegal_gap_costs_a_request_but_no_point() -> None:
    device = IllegalAddresses(5)
    reader = device.reader(1, 2, 8, 9)
    assert read(reader) == {f"plc/p{a}": a for a in (1, 2, 8, 9)}
    assert cost(device, lambda: read(reader)) == 2


def test_the_merged_request_is_tried_again_after_five_minutes() -> None:
    device = IllegalAddresses(17)
    reader = device.reader(*range(32))
    read(reader)
    device.illegal.clear()
    assert cost(device, lambda: read(reader)) > 1
    device.now_s += RETRY_MERGED_S + 1
    assert cost(device, lambda: read(reader)) == 1


def test_a_device_that_refuses_everything_is_not_asked_point_by_point_each_time() -> None:
    device = IllegalAddresses(*range(64))
    reader = device.reader(*range(64))
    assert set(read(reader).values()) == {None}
    assert cost(device, lambda: read(reader)) == 1
    device.illegal.clear()
    assert read(reader)["plc/p3"] == 3


def test_a_reconnect_forgets_what_was_refused() -> None:
    device = IllegalAddresses(3)
    reader = device.reader(*range(8))
    read(reader)
    device.illegal.clear()
    reader.merge_again()
    assert cost(device, lambda: read(reader)) == 1
