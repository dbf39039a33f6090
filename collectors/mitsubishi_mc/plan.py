"""Which requests read the points of a PLC. Pure, and free of pymcprotocol.

Neighbours are read together (0401). What lies alone is collected into random reads (0403), which
name up to 192 places anywhere in the PLC, where that saves requests.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from collectors.contract.addresses_mc import MC_DEVICES, McSeries, format_mc_address
from collectors.contract.config_mc import McDevice, McPoint
from collectors.mitsubishi_mc.codec import BITS_PER_WORD, decoder, layout_of
from collectors.mitsubishi_mc.frames import Device
from collectors.runtime.planner import Block, Field, merge

RANDOM: Final = "random"
"""The area of a block that is a random read; the others are named after their device."""

_SHOWN_DEVICES: Final = 4
_SPARSE_POINTS: Final = 24
"""A batch read of more places than this stays one: a random read looks up each of them."""
_WORDS_PER_DWORD: Final = 2
_RANDOM_SIZES: Final = (1, 2, 4)
"""Words of a value that single and double words can make up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Field):
    """A point with the device that its value begins at.

    In a random read ``start`` counts the words of the answer, otherwise the words of the area.
    """

    device: Device
    series: McSeries
    in_dwords: bool = False
    """Each number of the device is a double word of its own."""

    @property
    def random_points(self) -> int:
        """Single or double words that name it in a random read."""
        return 1 if self.count == 1 else self.count // _WORDS_PER_DWORD


def plan(device: McDevice, *, with_random: bool = True) -> dict[str, tuple[Block, ...]]:
    """Return the requests of each poll group that has points.

    Args:
        with_random: False for a PLC that turned out not to know random reads. Devices of double
            words need them all the same.
    """
    groups: dict[str, dict[str, list[Place]]] = {}
    for point in device.points:
        place = _place(device, point)
        groups.setdefault(point.group, {}).setdefault(place.device.name, []).append(place)
    limit = device.random_limit if with_random else 0
    return {group: tuple(_requests(device, areas, limit)) for group, areas in groups.items()}


def first_device(block: Block) -> Device:
    """Return the device that a batch read names.

    Bit devices are read as words that begin at a multiple of 16, because device ranges end at one:
    a word that began at M8191 would reach past the last relay.
    """
    return Device(block.area, block.start * _points_per_word(block.area))


def random_devices(block: Block) -> tuple[list[Device], list[Device]]:
    """Return the single words and the double words that a random read names, in answer order."""
    words: list[Device] = []
    dwords: list[Device] = []
    for place in _distinct(block):
        if place.count == 1:
            words.append(place.device)
            continue
        for offset in range(0, place.count, _WORDS_PER_DWORD):
            step = 0 if place.in_dwords else offset
            dwords.append(Device(place.device.name, place.device.number + step))
    return words, dwords


def describe(block: Block) -> str:
    """Return the request in words: ``D100-D117 (18)``, ``M96-M127 (2)``; the count is of words."""
    series = _places(block)[0].series
    if block.area == RANDOM:
        names = [_shown(device, series) for part in random_devices(block) for device in part]
        more = ", …" if len(names) > _SHOWN_DEVICES else ""
        return f"0403 {', '.join(names[:_SHOWN_DEVICES])}{more} ({block.count})"
    first = first_device(block)
    last = Device(first.name, first.number + block.count * _points_per_word(block.area) - 1)
    until = f"-{_shown(last, series)}" if last != first else ""
    return f"{_shown(first, series)}{until} ({block.count})"


def _place(device: McDevice, point: McPoint) -> Place:
    address = device.address_of(point)
    number = address.number
    if address.is_bit_device:
        number -= number % BITS_PER_WORD
    return Place(
        point=f"{device.id}/{point.name}",
        start=address.number // _points_per_word(address.device),
        count=point.words,
        decode=decoder(point, address),
        layout=layout_of(point, address),
        device=Device(address.device, number),
        series=device.series,
        in_dwords=address.kind.unit == "dword",
    )


def _requests(device: McDevice, areas: dict[str, list[Place]], limit: int) -> list[Block]:
    batches: list[Block] = []
    alone: list[Block] = []
    forced: list[Block] = []
    for area, places in areas.items():
        if MC_DEVICES[area].unit == "dword":
            forced.extend(_scattered([place]) for place in places)
            continue
        for block in merge(area, places, max_gap=device.max_gap, max_count=device.word_limit):
            (alone if limit and _suits_random(block) else batches).append(block)
    alone.sort(key=_random_points)
    for group in _packed([*forced, *alone], limit or device.profile.max_random_points_ascii):
        if len(group) > 1 or group[0].area == RANDOM:
            batches.append(_scattered([place for block in group for place in _places(block)]))
        else:
            batches += group
    return batches


def _suits_random(block: Block) -> bool:
    sizes_fit = all(place.count in _RANDOM_SIZES for place in _places(block))
    return MC_DEVICES[block.area].random and sizes_fit and _random_points(block) <= _SPARSE_POINTS


def _packed(blocks: Iterable[Block], limit: int) -> list[list[Block]]:
    """Fill one random read after the other, each with at most ``limit`` points."""
    groups: list[list[Block]] = []
    room = 0
    for block in blocks:
        points = _random_points(block)
        if points > room:
            groups.append([])
            room = limit
        groups[-1].append(block)
        room -= points
    return groups


def _scattered(places: Sequence[Place]) -> Block:
    """Return one random read: the single words first, as the answer has them."""
    starts: dict[tuple[Device, int], int] = {}
    end = 0
    moved: list[Place] = []
    for place in sorted(places, key=lambda place: place.count > 1):
        key = (place.device, place.count)
        if key not in starts:
            starts[key] = end
            end += place.count
        moved.append(replace(place, start=starts[key]))
    moved.sort(key=lambda place: place.start)
    return Block(area=RANDOM, start=0, count=end, fields=tuple(moved))


def _distinct(block: Block) -> list[Place]:
    """Return one place for each part of a random read's answer."""
    return list({(place.device, place.count): place for place in _places(block)}.values())


def _random_points(block: Block) -> int:
    return sum(place.random_points for place in _distinct(block))


def _places(block: Block) -> list[Place]:
    return [field for field in block.fields if isinstance(field, Place)]


def _points_per_word(area: str) -> int:
    return BITS_PER_WORD if MC_DEVICES[area].unit == "bit" else 1


def _shown(device: Device, series: McSeries) -> str:
    return format_mc_address(device.name, device.number, series)
