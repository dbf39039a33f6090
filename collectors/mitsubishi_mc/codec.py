"""Turn the words of answers into values, and values into words. Pure.

Source: MELSEC Communication Protocol Reference Manual (SH-080008), 8.1 "Batch read in word units".
Words come low byte first, also those of text. Bit devices are read as words too: 16 of them, the
first in the least significant bit.

A point's ``order`` names the bytes of its value from most to least significant, each word with its
high byte first, as everywhere in this product: MELSEC's own order is ``CDAB`` for numbers and
``BADC`` for text.
"""

import math
import struct
from collections.abc import Callable
from operator import itemgetter

from collectors.contract.addresses_mc import McAddress
from collectors.contract.config_base import ByteOrder
from collectors.contract.config_mc import McPoint
from collectors.contract.points import Value
from collectors.runtime.planner import Bit, Decode, Number
from collectors.runtime.values import scaler, text_of

BITS_PER_WORD = 16

_FORMATS = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float32": "f", "float64": "d", "bcd16": "H", "bcd32": "I",
}  # fmt: skip

# On the wire each word has its low byte first, so MELSEC's own order is plain little-endian.
_LAYOUTS: dict[ByteOrder, tuple[bool, bool]] = {
    "CDAB": (False, True), "BADC": (False, False), "ABCD": (True, False), "DCBA": (True, True),
}  # fmt: skip


class DoesNotFit(ValueError):
    """Reading this value back from the point could not give it again: too big, or not exact."""


class WrongType(DoesNotFit):
    """The point holds another type of values."""


def layout_of(point: McPoint, address: McAddress) -> Number | Bit | None:
    """Return how a whole block of such points is read at once; ``None`` for text and BCD."""
    if address.is_single_bit:
        return Bit(number=_bit_of(address), little_endian=True)
    if point.type == "string" or point.type.startswith("bcd"):
        return None
    swapped, little_endian = _LAYOUTS[point.order or "CDAB"]
    return Number(
        code=_FORMATS[point.type],
        little_endian=little_endian,
        swapped=swapped,
        scale=point.scale,
        offset=point.offset,
    )


def decoder(point: McPoint, address: McAddress) -> Decode:
    """Return what turns the words of an answer and a point's position in it into its value."""
    if address.is_single_bit:
        byte, shift = divmod(_bit_of(address), 8)
        return lambda payload, index: bool(payload[2 * index + byte] >> shift & 1)
    size_bytes = 2 * point.words
    if point.type == "string":
        arranged = _arranger(_is_swapped_text(point), size_bytes)
        return lambda payload, index: text_of(arranged(payload, 2 * index))
    swapped, little_endian = _LAYOUTS[point.order or "CDAB"]
    arranged = _arranger(swapped, size_bytes)
    unpack = struct.Struct(f"{'<' if little_endian else '>'}{_FORMATS[point.type]}").unpack
    if point.type.startswith("bcd"):
        return _scaled(lambda payload, index: _of_bcd(*unpack(arranged(payload, 2 * index))), point)
    return _scaled(lambda payload, index: unpack(arranged(payload, 2 * index))[0], point)


def encode(point: McPoint, value: Value) -> bytes:
    """Return the words that hold ``value``, scaled as it is read; for a bit, one byte 0 or 1.

    Raises:
        DoesNotFit: see there, and its subclass.
    """
    if point.type == "bool":
        if value not in (0, 1):
            raise WrongType(f"{value!r} is neither on nor off")
        return bytes((int(value),))
    if point.type == "string":
        return _text_words(point, value)
    if isinstance(value, str | bool):
        raise WrongType(f"{value!r} is not a number")
    swapped, little_endian = _LAYOUTS[point.order or "CDAB"]
    raw = _unscaled(point, value)
    if point.type.startswith("bcd"):
        raw = _to_bcd(int(raw), 4 * point.words)
    try:
        packed = struct.pack(f"{'<' if little_endian else '>'}{_FORMATS[point.type]}", raw)
    except (struct.error, OverflowError):
        raise DoesNotFit(f"{value} is outside of {point.type}") from None
    return _arranger(swapped, len(packed))(packed, 0)


def _unscaled(point: McPoint, value: int | float) -> int | float:
    """Return what stands in the device; a whole number where the type holds whole numbers."""
    raw: int | float = value
    try:
        if scaler(point.scale, point.offset) is not None:
            raw = (value - point.offset) / point.scale
        if point.type in ("float32", "float64"):
            raw = float(raw)
        is_finite = math.isfinite(raw)
    except (OverflowError, ZeroDivisionError):
        is_finite = False
    if not is_finite:
        raise DoesNotFit(f"no number in the device gives {value}")
    if isinstance(raw, float) and point.type in ("float32", "float64"):
        return raw
    whole = round(raw)
    # What is no step of the scale is refused, not rounded to what nobody asked for.
    if abs(raw - whole) > 1e-6 + 1e-12 * abs(raw):
        raise DoesNotFit(f"{value} is not a multiple of the point's step")
    return whole


def _text_words(point: McPoint, value: Value) -> bytes:
    if not isinstance(value, str):
        raise WrongType(f"{value!r} is not text")
    size_bytes = 2 * point.length
    raw = value.encode(errors="replace")
    if len(raw) > size_bytes or text_of(raw) != value:
        raise DoesNotFit(f"the text does not fit in {size_bytes} bytes, or ends in spaces")
    return _arranger(_is_swapped_text(point), size_bytes)(raw.ljust(size_bytes, b"\0"), 0)


def _bit_of(address: McAddress) -> int:
    return address.number % BITS_PER_WORD if address.bit is None else address.bit


def _is_swapped_text(point: McPoint) -> bool:
    return point.order in ("ABCD", "CDAB")


def _scaled(decode: Decode, point: McPoint) -> Decode:
    apply = scaler(point.scale, point.offset)
    if apply is None:
        return decode

    def scaled(payload: bytes, index: int) -> Value | None:
        raw = decode(payload, index)
        return apply(raw) if isinstance(raw, int | float) else None

    return scaled


def _of_bcd(raw: int) -> int | None:
    """Return the number whose decimal digits are the hexadecimal ones, ``None`` past 9."""
    try:
        return int(f"{raw:x}")
    except ValueError:
        return None


def _to_bcd(number: int, digits: int) -> int:
    if not 0 <= number < 10**digits:
        raise DoesNotFit(f"{number} has no {digits} decimal digits")
    return int(str(number), 16)


def _arranger(swapped: bool, size_bytes: int) -> Callable[[bytes, int], bytes]:
    """Return what takes a slice, with the two bytes of each word exchanged if ``swapped``."""
    if not swapped:
        return lambda payload, start: payload[start : start + size_bytes]
    pick = itemgetter(*(position ^ 1 for position in range(size_bytes)))
    return lambda payload, start: bytes(pick(payload[start : start + size_bytes]))
