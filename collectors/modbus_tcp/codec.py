"""Decode the bytes of Modbus answers. Pure.

Registers come high byte first, bits come packed with the first in the least significant place
(Modbus Application Protocol V1.1b3, 4.2 and 6.1). How values of more than 16 bits are laid out is
up to the vendor, hence ``order``: the letters name the value's bytes from most to least
significant, and the word says in which order they come. 64-bit values follow the same rule over
four registers; of 16-bit values and of text only the two bytes of a register can be swapped.
"""

import struct
from collections.abc import Callable
from operator import itemgetter

from collectors.contract.addresses import parse_modbus_address
from collectors.contract.config_base import ByteOrder
from collectors.contract.config_modbus import ModbusPoint
from collectors.runtime.planner import Decode
from collectors.runtime.values import scaled, text_of

_FORMATS = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float32": "f", "float64": "d",
}  # fmt: skip

# With the bytes of each register swapped, BADC is plain big-endian and CDAB plain little-endian.
_LAYOUTS: dict[ByteOrder, tuple[bool, str]] = {
    "ABCD": (False, ">"), "DCBA": (False, "<"), "BADC": (True, ">"), "CDAB": (True, "<"),
}  # fmt: skip


def decoder(point: ModbusPoint) -> Decode:
    """Return what turns an answer and the point's position in it into the point's value.

    Positions are registers, or bits for coils and discrete inputs.
    """
    address = parse_modbus_address(point.address)
    swapped, endian = _LAYOUTS[point.order]
    if address.is_bit_table:
        return _packed_bit
    if address.bit is not None:
        return _register_bit(address.bit)
    if point.type == "string":
        return _text(point.length, swapped=point.order in ("BADC", "DCBA"))
    number = _number(endian + _FORMATS[point.type], swapped=swapped)
    return scaled(number, point.scale, point.offset)


def _packed_bit(payload: bytes, index: int) -> bool:
    return bool(payload[index >> 3] >> (index & 7) & 1)


def _register_bit(bit: int) -> Decode:
    byte, shift = (1, bit) if bit < 8 else (0, bit - 8)
    return lambda payload, index: bool(payload[2 * index + byte] >> shift & 1)


def _number(layout: str, *, swapped: bool) -> Callable[[bytes, int], int | float]:
    unpack = struct.Struct(layout).unpack_from

    def plain(payload: bytes, index: int) -> int | float:
        number: int | float = unpack(payload, 2 * index)[0]
        return number

    if not swapped:
        return plain
    swap = _byte_swapper(struct.calcsize(layout))

    def exchanged(payload: bytes, index: int) -> int | float:
        number: int | float = unpack(swap(payload, 2 * index))[0]
        return number

    return exchanged


def _text(registers: int, *, swapped: bool) -> Decode:
    size_bytes = 2 * registers
    if swapped:
        swap = _byte_swapper(size_bytes)
        return lambda payload, index: text_of(swap(payload, 2 * index))
    return lambda payload, index: text_of(payload[2 * index : 2 * index + size_bytes])


def _byte_swapper(size_bytes: int) -> Callable[[bytes, int], bytes]:
    """Return a function that exchanges the two bytes of each register of a slice."""
    pick = itemgetter(*(position ^ 1 for position in range(size_bytes)))
    return lambda payload, start: bytes(pick(payload[start : start + size_bytes]))
