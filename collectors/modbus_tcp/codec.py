"""Values to and from the bytes of Modbus requests and answers. Pure.

Registers come high byte first, bits come packed with the first in the least significant place
(Modbus Application Protocol V1.1b3, 4.2 and 6.1). How values of more than 16 bits are laid out is
up to the vendor, hence ``order``: the letters name the value's bytes from most to least
significant, and the word says in which order they come. With four letters 64-bit values follow the
same rule over four registers; of 16-bit values and of text only the two bytes of a register can be
swapped.
"""

import math
import struct
from collections.abc import Callable
from operator import itemgetter

from collectors.contract.config_base import ByteOrder
from collectors.contract.config_modbus import ModbusPoint
from collectors.contract.points import Value
from collectors.runtime.planner import Bit, Decode, Number
from collectors.runtime.values import scaled, text_of

_FORMATS = {
    "int8h": "b", "int8l": "b", "uint8h": "B", "uint8l": "B",
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d", "bcd16": "H", "bcd32": "I",
}  # fmt: skip
_FLOATS = ("float16", "float32", "float64")

# With the bytes of each register swapped, BADC is plain big-endian and CDAB plain little-endian.
_LAYOUTS: dict[str, tuple[bool, bool]] = {
    "ABCD": (False, False), "ABCDEFGH": (False, False),
    "DCBA": (False, True), "HGFEDCBA": (False, True),
    "BADC": (True, False), "BADCFEHG": (True, False),
    "CDAB": (True, True), "GHEFCDAB": (True, True),
}  # fmt: skip
_IN_FOUR_REGISTERS: dict[ByteOrder, str] = {
    "ABCD": "ABCDEFGH", "BADC": "BADCFEHG", "CDAB": "GHEFCDAB", "DCBA": "HGFEDCBA",
}  # fmt: skip
_SWAPPED_BYTES = ("BADC", "DCBA")


class DoesNotFit(ValueError):
    """A value cannot be written to a point; ``command.CODE`` is the sentence for it."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def layout(point: ModbusPoint) -> Number | Bit | None:
    """Return how a whole block is decoded at once; ``None`` if the point goes alone."""
    if point.type == "bool":
        return Bit(number=point.place.bit)
    if point.type not in _FORMATS or point.type.startswith("bcd") or point.order not in _LAYOUTS:
        return None
    swapped, little_endian = _LAYOUTS[point.order]
    if "int8" in point.type:
        swapped = little_endian = False
    return Number(
        code=_FORMATS[point.type],
        little_endian=little_endian,
        swapped=swapped,
        skip_bytes=_skipped_bytes(point),
        scale=point.scale,
        offset=point.offset,
    )


def decoder(point: ModbusPoint) -> Decode:
    """Return what turns an answer and the point's position in it into the point's value.

    Positions are registers, or bits for coils and discrete inputs.
    """
    address = point.place
    if address.is_bit_table:
        return _packed_bit
    if address.bit is not None:
        return _register_bit(address.bit)
    take = _taker(point)
    if point.type == "string":
        return lambda payload, index: text_of(take(payload, index))
    if point.type.startswith("bcd"):
        return _bcd(take, point)
    unpack = struct.Struct(f">{_FORMATS[point.type]}").unpack

    def number(payload: bytes, index: int) -> int | float:
        found: int | float = unpack(take(payload, index))[0]
        return found

    return scaled(number, point.scale, point.offset)


def encode(point: ModbusPoint, value: Value) -> bool | bytes:
    """Return what to write: a bit, or the bytes of the point's registers as they go on the wire.

    Of a point that is half a register it is the one byte.

    Raises:
        DoesNotFit: ``wrong_type``, or ``does_not_fit`` in the point's type after scaling back.
    """
    if point.type == "bool":
        if not isinstance(value, bool):
            raise DoesNotFit("wrong_type")
        return value
    if point.type == "string":
        return _put(point, _encoded_text(point, value))
    if isinstance(value, bool | str):
        raise DoesNotFit("wrong_type")
    encoded = _encoded_number(point, value)
    return encoded if is_half(point) else _put(point, encoded)


def is_half(point: ModbusPoint) -> bool:
    """Tell whether a point is one byte of a register."""
    return "int8" in point.type


def half_of(point: ModbusPoint, payload: bytes) -> bytes:
    """Return the byte of such a point in the two of its register."""
    return payload[_skipped_bytes(point) :][:1]


def half_mask(point: ModbusPoint, encoded: bytes) -> tuple[int, int]:
    """Return which bits of the register a write of such a point keeps, and which it sets."""
    is_low = bool(_skipped_bytes(point))
    return (0xFF00, encoded[0]) if is_low else (0x00FF, encoded[0] << 8)


def _encoded_number(point: ModbusPoint, value: float) -> bytes:
    raw = value
    if (point.scale, point.offset) != (1, 0):
        if point.scale == 0:
            raise DoesNotFit("does_not_fit")
        raw = (value - point.offset) / point.scale
    if point.type not in _FLOATS:
        whole = round(raw) if math.isfinite(raw) else 0
        # What is scaled may have been rounded on its way; a fraction was never meant.
        if not math.isfinite(raw) or not math.isclose(raw, whole, rel_tol=1e-9, abs_tol=1e-6):
            raise DoesNotFit("does_not_fit")
        raw = int(f"{whole}", 16) if point.type.startswith("bcd") and whole >= 0 else whole
    try:
        encoded = struct.pack(f">{_FORMATS[point.type]}", raw)
    except (struct.error, OverflowError):
        raise DoesNotFit("does_not_fit") from None
    if point.type in _FLOATS and not math.isfinite(
        struct.unpack(f">{_FORMATS[point.type]}", encoded)[0]
    ):
        raise DoesNotFit("does_not_fit")
    return encoded


def _encoded_text(point: ModbusPoint, value: Value) -> bytes:
    if not isinstance(value, str):
        raise DoesNotFit("wrong_type")
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise DoesNotFit("does_not_fit") from None
    if len(raw) > 2 * point.words or b"\0" in raw:
        raise DoesNotFit("does_not_fit")
    return raw.ljust(2 * point.words, b"\0")


def _wire_letters(point: ModbusPoint) -> str:
    """Return the point's bytes, A the most significant, in the order in which they come."""
    if point.type == "string":
        pairs = ("BA" if point.order in _SWAPPED_BYTES else "AB") * point.words
        return "".join(chr(ord(c) + i // 2 * 2) for i, c in enumerate(pairs))
    if point.words == 1:
        return "BA" if point.order in _SWAPPED_BYTES and "int8" not in point.type else "AB"
    if point.words == 4 and point.order in _IN_FOUR_REGISTERS:
        return _IN_FOUR_REGISTERS[point.order]
    return point.order


def _taker(point: ModbusPoint) -> Callable[[bytes, int], bytes]:
    """Return what takes a point's bytes out of an answer, most significant byte first."""
    skip = _skipped_bytes(point)
    if "int8" in point.type:
        return lambda payload, index: payload[2 * index + skip : 2 * index + skip + 1]
    size_bytes, letters = 2 * point.words, _wire_letters(point)
    places = [letters.index(chr(ord("A") + i)) for i in range(size_bytes)]
    if places == list(range(size_bytes)):
        return lambda payload, index: payload[2 * index : 2 * index + size_bytes]
    pick = itemgetter(*places)
    return lambda payload, index: bytes(pick(payload[2 * index : 2 * index + size_bytes]))


def _put(point: ModbusPoint, encoded: bytes) -> bytes:
    """Return bytes, most significant first, in the order in which they go on the wire."""
    return bytes(encoded[ord(letter) - ord("A")] for letter in _wire_letters(point))


def _skipped_bytes(point: ModbusPoint) -> int:
    return 1 if point.type in ("int8l", "uint8l") else 0


def _packed_bit(payload: bytes, index: int) -> bool:
    return bool(payload[index >> 3] >> (index & 7) & 1)


def _register_bit(bit: int) -> Decode:
    byte, shift = (1, bit) if bit < 8 else (0, bit - 8)
    return lambda payload, index: bool(payload[2 * index + byte] >> shift & 1)


def _bcd(take: Callable[[bytes, int], bytes], point: ModbusPoint) -> Decode:
    plain = (point.scale, point.offset) == (1, 0)

    def decode(payload: bytes, index: int) -> Value | None:
        digits = take(payload, index).hex()
        if not digits.isdecimal():
            return None  # a digit of A to F: it is no BCD
        return int(digits) if plain else int(digits) * point.scale + point.offset

    return decode
