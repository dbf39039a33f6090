"""Which requests read the points of a PLC. Pure, and free of pymcprotocol."""

from collectors.contract.addresses import MC_BIT_DEVICES, parse_mc_address
from collectors.contract.config_mc import McDevice
from collectors.mitsubishi_mc.codec import BITS_PER_WORD, decoder, format_address
from collectors.runtime.planner import Block, Field, merge


def plan(device: McDevice) -> dict[str, tuple[Block, ...]]:
    """Return the requests of each poll group that has points.

    The unit is the word. Bit devices are read as words that begin at a multiple of 16, because
    device ranges end at one: a word that began at M8191 would reach past the last relay.
    """
    areas: dict[tuple[str, str], list[Field]] = {}
    for point in device.points:
        address = parse_mc_address(point.address)
        start = address.number // BITS_PER_WORD if address.is_bit_device else address.number
        field = Field(
            point=f"{device.id}/{point.name}",
            start=start,
            count=point.words,
            decode=decoder(point),
        )
        areas.setdefault((point.group, address.device), []).append(field)
    requests: dict[str, list[Block]] = {}
    for (group, area), fields in areas.items():
        blocks = merge(area, fields, max_gap=device.max_gap, max_count=device.max_words)
        requests.setdefault(group, []).extend(blocks)
    return {group: tuple(blocks) for group, blocks in requests.items()}


def first_number(block: Block) -> int:
    """Return the number of the first device that a request names."""
    return block.start * (BITS_PER_WORD if block.area in MC_BIT_DEVICES else 1)


def describe(block: Block) -> str:
    """Return the request in words: ``D100-D117 (18)``, ``M96-M127 (2)``; the count is of words."""
    first = first_number(block)
    points = block.count * (BITS_PER_WORD if block.area in MC_BIT_DEVICES else 1)
    last = f"-{format_address(block.area, first + points - 1)}" if points > 1 else ""
    return f"{format_address(block.area, first)}{last} ({block.count})"
