"""Encode MC protocol device addresses and decode the words of answers. Pure.

Source: Mitsubishi Electric, MELSEC Communication Protocol Reference Manual (SH-080008), "Device
codes" and 8.1 "Batch read in word units". All numbers are little-endian, also the words of a
32-bit value. Bit devices are read as words too: 16 of them, the first in the least significant bit.
"""

import struct
from collections.abc import Callable

from collectors.contract.addresses import MC_BIT_DEVICES, MC_WORD_DEVICES, parse_mc_address
from collectors.contract.config_mc import McPoint
from collectors.runtime.planner import Decode
from collectors.runtime.values import scaled, text_of

BITS_PER_WORD = 16

DEVICE_CODES = {
    "SM": 0x91, "SD": 0xA9, "X": 0x9C, "Y": 0x9D, "M": 0x90, "L": 0x92, "F": 0x93, "V": 0x94,
    "B": 0xA0, "D": 0xA8, "W": 0xB4, "TS": 0xC1, "TC": 0xC0, "TN": 0xC2, "CS": 0xC4, "CC": 0xC3,
    "CN": 0xC5, "SB": 0xA1, "SW": 0xB5, "DX": 0xA2, "DY": 0xA3, "R": 0xAF, "ZR": 0xB0,
}  # fmt: skip

_FORMATS = {
    "int16": "<h", "uint16": "<H", "int32": "<i", "uint32": "<I", "int64": "<q", "uint64": "<Q",
    "float32": "<f", "float64": "<d",
}  # fmt: skip


def encode_address(device: str, number: int, *, is_iq_r: bool) -> bytes:
    """Return device number and code as a binary frame carries them.

    iQ-R has 4 bytes for the number and 2 for the code (subcommands 0002 and 0003), others 3 and 1.
    """
    number_bytes, code_bytes = (4, 2) if is_iq_r else (3, 1)
    return number.to_bytes(number_bytes, "little") + DEVICE_CODES[device].to_bytes(
        code_bytes, "little"
    )


def format_address(device: str, number: int) -> str:
    """Return the address as engineers write it: ``D100``, ``X1F``."""
    radix = MC_BIT_DEVICES.get(device) or MC_WORD_DEVICES[device]
    return f"{device}{number:X}" if radix == 16 else f"{device}{number}"


def decoder(point: McPoint) -> Decode:
    """Return what turns the words of an answer and a point's position in it into its value."""
    address = parse_mc_address(point.address)
    if address.is_bit_device:
        return _word_bit(address.number % BITS_PER_WORD)
    if address.bit is not None:
        return _word_bit(address.bit)
    if point.type == "string":
        size_bytes = 2 * point.length
        return lambda payload, index: text_of(payload[2 * index : 2 * index + size_bytes])
    return scaled(_number(_FORMATS[point.type]), point.scale, point.offset)


def _word_bit(bit: int) -> Decode:
    byte, shift = divmod(bit, 8)
    return lambda payload, index: bool(payload[2 * index + byte] >> shift & 1)


def _number(layout: str) -> Callable[[bytes, int], int | float]:
    unpack = struct.Struct(layout).unpack_from

    def number(payload: bytes, index: int) -> int | float:
        value: int | float = unpack(payload, 2 * index)[0]
        return value

    return number
