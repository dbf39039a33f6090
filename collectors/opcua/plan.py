"""Which requests read the points of an OPC UA server. Pure, and free of asyncua."""

from itertools import islice

from collectors.contract.config_opcua import Mode, OpcUaDevice, OpcUaPoint
from collectors.contract.points import Value
from collectors.runtime.planner import Block, Field

DEFAULT_NODES = 500
"""Nodes in one Read where the server names no limit."""
MAX_NODES = 1000
"""Decoding this many takes a millisecond or two, in which the other devices wait."""


def plan(device: OpcUaDevice) -> dict[str, tuple[Block, ...]]:
    """Return the requests as they are for a server without a limit of its own."""
    mode_of = {group.id: device.mode_of(group) for group in device.groups}
    groups: dict[str, list[OpcUaPoint]] = {}
    for point in device.points:
        groups.setdefault(point.group, []).append(point)
    return {
        group: tuple(_blocks(device.id, points, mode_of[group])) for group, points in groups.items()
    }


def describe(block: Block) -> str:
    """Return the request in words: ``Read 120 nodes`` or ``Subscribe to 120 nodes``."""
    verb = "Read" if block.area == "poll" else "Subscribe to"
    return f"{verb} {block.count} node{'s' if block.count > 1 else ''}"


def _blocks(device_id: str, points: list[OpcUaPoint], mode: Mode) -> list[Block]:
    fields = iter(
        Field(point=f"{device_id}/{point.name}", start=i, count=1, decode=_undecodable)
        for i, point in enumerate(points)
    )
    blocks: list[Block] = []
    while part := tuple(islice(fields, DEFAULT_NODES)):
        blocks.append(Block(area=mode, start=part[0].start, count=len(part), fields=part))
    return blocks


def _undecodable(_payload: bytes, _index: int) -> Value | None:
    """OPC UA values come typed."""
    return None
