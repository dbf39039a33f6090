"""Where a signal lives in a device: Modbus tables and MELSEC devices."""

import re
from dataclasses import dataclass

_MODBUS = re.compile(r"(coil|discrete|input|holding):([0-9]{1,5})(?:\.([0-9]{1,2}))?")
_NODE_ID = re.compile(
    r"ns=2;(?:i=[0-9]{1,9}|s=[^\x00-\x1f]+|g=[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
)


class AddressError(ValueError):
    """The address cannot be used; ``reason`` is the code of the sentence that says why."""

    def __init__(self, reason: str, **params: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.params = params


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A first word or bit: ``area`` is a Modbus table or a MELSEC device, ``start`` counts in it.

    ``bit`` is set for one bit of a word, 0 = least significant.
    """

    area: str
    start: int
    bit: int | None = None


@dataclass(frozen=True, slots=True)
class McDevice:
    """A kind of memory in a MELSEC CPU.

    Attributes:
        code: Its number in binary frames (SH-080008, "Device codes").
        radix: Of the numbers that engineers write behind its name, Q and iQ-R series.
        points: How many exist: the default parameters of a QnUDV CPU.
        is_bit: Each point is a bit, else a 16-bit word.
    """

    code: int
    radix: int
    points: int
    is_bit: bool


MC_DEVICES = {
    "SM": McDevice(0x91, 10, 2048, True),
    "SD": McDevice(0xA9, 10, 2048, False),
    "X": McDevice(0x9C, 16, 8192, True),
    "Y": McDevice(0x9D, 16, 8192, True),
    "M": McDevice(0x90, 10, 8192, True),
    "L": McDevice(0x92, 10, 8192, True),
    "F": McDevice(0x93, 10, 2048, True),
    "V": McDevice(0x94, 10, 2048, True),
    "B": McDevice(0xA0, 16, 8192, True),
    "D": McDevice(0xA8, 10, 12288, False),
    "W": McDevice(0xB4, 16, 8192, False),
    "TS": McDevice(0xC1, 10, 2048, True),
    "TC": McDevice(0xC0, 10, 2048, True),
    "TN": McDevice(0xC2, 10, 2048, False),
    "CS": McDevice(0xC4, 10, 1024, True),
    "CC": McDevice(0xC3, 10, 1024, True),
    "CN": McDevice(0xC5, 10, 1024, False),
    "SB": McDevice(0xA1, 16, 2048, True),
    "SW": McDevice(0xB5, 16, 2048, False),
    "DX": McDevice(0xA2, 16, 8192, True),
    "DY": McDevice(0xA3, 16, 8192, True),
    "R": McDevice(0xAF, 10, 32768, False),
    "ZR": McDevice(0xB0, 10, 393216, False),
}
MC_DEVICE_NAMES = {device.code: name for name, device in MC_DEVICES.items()}


def parse_modbus_address(text: str) -> Place:
    """Read ``holding:100``, ``input:7``, ``holding:100.3`` (a bit), ``coil:0``, ``discrete:12``.

    Raises:
        AddressError: none of these forms, or over 65535.
    """
    match = _MODBUS.fullmatch(text)
    if match is None:
        raise AddressError("modbus_form")
    table, start, bit = match[1], int(match[2]), None if match[3] is None else int(match[3])
    if start > 0xFFFF:
        raise AddressError("modbus_offset")
    if bit is not None and (bit > 15 or table in ("coil", "discrete")):
        raise AddressError("modbus_bit")
    return Place(area=table, start=start, bit=bit)


def parse_mc_address(text: str) -> Place:
    """Read ``D100``, ``M20``, ``X1F`` (hexadecimal), ``ZR393215`` or ``D100.A`` (a bit).

    Raises:
        AddressError: unknown device, wrong digits, or beyond the last point of the device.
    """
    for name in sorted(MC_DEVICES, key=len, reverse=True):
        if text.startswith(name):
            break
    else:
        raise AddressError("mc_device", known=" ".join(sorted(MC_DEVICES)))
    device = MC_DEVICES[name]
    digits, dot, bit = text[len(name) :].partition(".")
    if not re.fullmatch(r"[0-9A-F]{1,8}" if device.radix == 16 else r"[0-9]{1,8}", digits):
        raise AddressError("mc_digits", device=name, radix=device.radix)
    if dot and (device.is_bit or not re.fullmatch(r"[0-9A-F]", bit)):
        raise AddressError("mc_bit")
    start = int(digits, device.radix)
    if start >= device.points:
        raise AddressError("mc_range", device=name, points=device.points)
    return Place(area=name, start=start, bit=int(bit, 16) if dot else None)


def check_node_id(text: str) -> None:
    """Accept ``ns=2;s=Line1.Temperature``, ``ns=2;i=1001`` or ``ns=2;g=…``.

    Raises:
        AddressError: not a node id of namespace 2, where the simulator's nodes live.
    """
    if _NODE_ID.fullmatch(text) is None:
        raise AddressError("node_id")
