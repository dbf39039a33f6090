"""The device memory of MELSEC CPUs: names, codes, radix, sizes and limits, series by series.

SH-080008, "Device codes" and "Number of device points processed per communication"; SLMP Reference
Manual (SH-080956), 5.2, for the long devices of iQ-R; FX5 User's Manual, SLMP (JY997D56001). Sizes
are those of the default parameters of a QnUDV, R and FX5U CPU, but long retentive timers, of which
there are none by default.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from simulators.addresses import AddressError, Place

Series = Literal["Q", "L", "iQ-L", "iQ-R", "FX5"]


@dataclass(frozen=True, slots=True)
class McArea:
    """A kind of memory in a MELSEC CPU.

    Attributes:
        code: Its number in binary frames.
        ascii: Its name in ASCII frames, two characters with ``*`` for a missing one; four in the
            frames with wide device numbers, where the long names are also used.
        radix: Of the numbers that engineers write behind its name, and of those in ASCII frames.
        points: How many exist.
        is_bit: Each point is a bit, else one or two 16-bit words.
        words: Words of a point; one of two words is read as a double word at random (0403).
        batch_words: Words that a batch read (0401) gives for such a point, 0 if it refuses: of a
            long timer the last two hold its contact and coil.
        wide_only: Frames with narrow device numbers do not know it.
    """

    code: int
    ascii: str
    radix: int
    points: int
    is_bit: bool
    words: int = 1
    batch_words: int = 1
    wide_only: bool = False

    @property
    def size(self) -> int:
        """Bits or words of all points."""
        return self.points * self.words


def _bit(code: int, name: str, points: int, radix: int = 10) -> McArea:
    return McArea(code, name.ljust(2, "*"), radix, points, True)


def _word(code: int, name: str, points: int, radix: int = 10) -> McArea:
    return McArea(code, name.ljust(2, "*"), radix, points, False)


def _long(code: int, name: str, points: int, batch_words: int) -> McArea:
    return McArea(code, name, 10, points, False, 2, batch_words, wide_only=True)


_Q = {
    "SM": _bit(0x91, "SM", 2048),
    "SD": _word(0xA9, "SD", 2048),
    "X": _bit(0x9C, "X", 8192, 16),
    "Y": _bit(0x9D, "Y", 8192, 16),
    "M": _bit(0x90, "M", 8192),
    "L": _bit(0x92, "L", 8192),
    "F": _bit(0x93, "F", 2048),
    "V": _bit(0x94, "V", 2048),
    "B": _bit(0xA0, "B", 8192, 16),
    "S": _bit(0x98, "S", 8192),
    "D": _word(0xA8, "D", 12288),
    "W": _word(0xB4, "W", 8192, 16),
    "TS": _bit(0xC1, "TS", 2048),
    "TC": _bit(0xC0, "TC", 2048),
    "TN": _word(0xC2, "TN", 2048),
    "STS": _bit(0xC7, "SS", 2048),
    "STC": _bit(0xC6, "SC", 2048),
    "STN": _word(0xC8, "SN", 2048),
    "CS": _bit(0xC4, "CS", 1024),
    "CC": _bit(0xC3, "CC", 1024),
    "CN": _word(0xC5, "CN", 1024),
    "SB": _bit(0xA1, "SB", 2048, 16),
    "SW": _word(0xB5, "SW", 2048, 16),
    "DX": _bit(0xA2, "DX", 8192, 16),
    "DY": _bit(0xA3, "DY", 8192, 16),
    "Z": _word(0xCC, "Z", 20),
    "R": _word(0xAF, "R", 32768),
    "ZR": _word(0xB0, "ZR", 393216),
}
_R_SIZES = {
    "SM": 4096, "SD": 4096, "X": 12288, "Y": 12288, "M": 12288, "D": 18432, "DX": 12288,
    "DY": 12288, "TS": 1024, "TC": 1024, "TN": 1024, "STS": 1024, "STC": 1024, "STN": 1024,
    "CS": 512, "CC": 512, "CN": 512,
}  # fmt: skip
_FX5_SIZES = {
    "SM": 10000, "SD": 12000, "X": 1024, "Y": 1024, "M": 7680, "L": 7680, "F": 128, "B": 256,
    "S": 4096, "D": 8000, "W": 512, "TS": 512, "TC": 512, "TN": 512, "STS": 16, "STC": 16,
    "STN": 16, "CS": 256, "CC": 256, "CN": 256, "SB": 512, "SW": 512, "Z": 20, "R": 32768,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Points of one request: batch words and bits; random reads; random writes of words."""

    words: int
    bits: int
    random: int
    random_bits: int
    random_write_weight: int
    """Of 12 for each word and 14 for each double word (SH-080008, command 1402)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A series of CPUs.

    Attributes:
        devices: Every kind of memory, by name.
        has_wide: Knows subcommands 0002 and 0003, with wide device numbers.
        binary, ascii: Limits in these codes; with wide device numbers ``random`` and
            ``random_write_weight`` are half of it.
    """

    devices: Mapping[str, McArea]
    has_wide: bool
    binary: Limits
    ascii: Limits


_LIMITS = Limits(words=960, bits=7168, random=192, random_bits=188, random_write_weight=1920)
_ASCII = replace(_LIMITS, bits=3584)
_R = {n: replace(d, points=_R_SIZES.get(n, d.points)) for n, d in _Q.items()} | {
    "RD": replace(_word(0x2C, "RD", 524288), wide_only=True),
    "LTN": _long(0x52, "LTN", 1024, 4),
    "LSTN": _long(0x5A, "LSTN", 1024, 4),
    "LCN": _long(0x56, "LCN", 512, 2),
    "LCS": replace(_bit(0x55, "LCS", 512), wide_only=True),
    "LCC": replace(_bit(0x54, "LCC", 512), wide_only=True),
    "LZ": _long(0x62, "LZ", 2, 0),
}
_FX5 = {
    name: replace(_Q[name], points=points, radix=8 if name in ("X", "Y") else _Q[name].radix)
    for name, points in _FX5_SIZES.items()
}
PROFILES: Mapping[Series, Profile] = {
    "Q": Profile(devices=_Q, has_wide=False, binary=_LIMITS, ascii=_ASCII),
    "L": Profile(devices=_Q, has_wide=False, binary=_LIMITS, ascii=_ASCII),
    "iQ-L": Profile(devices=_R, has_wide=True, binary=_LIMITS, ascii=_ASCII),
    "iQ-R": Profile(devices=_R, has_wide=True, binary=_LIMITS, ascii=_ASCII),
    "FX5": Profile(
        devices=_FX5,
        has_wide=True,
        binary=replace(_LIMITS, bits=3584),
        ascii=Limits(words=480, bits=1792, random=96, random_bits=94, random_write_weight=960),
    ),
}

CPU_MODELS: Mapping[Series, tuple[str, int]] = {
    "Q": ("Q03UDVCPU", 0x0366),
    "L": ("L26CPU-BT", 0x0542),
    "iQ-L": ("R04CPU", 0x4800),
    "iQ-R": ("R04CPU", 0x4800),
    "FX5": ("FX5U-32MT/DS", 0x4A49),
}
"""Name and code of a common CPU of each series (SH-080956, command 0101)."""


def parse_mc_address(text: str, series: Series = "Q") -> Place:
    """Read ``D100``, ``M20``, ``X1F`` (octal on FX5), ``ZR393215`` or ``D100.A`` (a bit).

    Raises:
        AddressError: unknown device, wrong digits, or beyond the last point of the device.
    """
    devices = PROFILES[series].devices
    for name in _longest_first(series):
        if text.startswith(name):
            break
    else:
        raise AddressError("mc_device", known=" ".join(sorted(devices)))
    device = devices[name]
    digits, dot, bit = text[len(name) :].partition(".")
    allowed = {8: "[0-7]", 10: "[0-9]", 16: "[0-9A-F]"}[device.radix]
    if not re.fullmatch(allowed + "{1,8}", digits):
        raise AddressError("mc_digits", device=name, radix=device.radix)
    if dot and (device.is_bit or device.words > 1 or not re.fullmatch(r"[0-9A-F]", bit)):
        raise AddressError("mc_bit")
    start = int(digits, device.radix)
    if start >= device.points:
        raise AddressError("mc_range", device=name, points=device.points)
    return Place(area=name, start=start * device.words, bit=int(bit, 16) if dot else None)


def series_with(text: str) -> Series:
    """Return the first series that has the address ``text``.

    Raises:
        AddressError: none has it; says why a Q series CPU does not.
    """
    problems = []
    for series in PROFILES:
        try:
            parse_mc_address(text, series)
        except AddressError as exc:
            problems.append(exc)
        else:
            return series
    raise problems[0]


@cache
def _longest_first(series: Series) -> list[str]:
    return sorted(PROFILES[series].devices, key=len, reverse=True)
