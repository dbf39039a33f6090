"""MELSEC device addresses as engineers write them, by CPU series.

Sources: MELSEC Communication Protocol Reference Manual (SH-080008), "Accessible devices" and
"Device codes"; MELSEC iQ-F FX5 User's Manual, SLMP (JY997D56001), 4.2. The number of a file
register (ZR) is written in decimal, as GX Works shows it: a live QnUDV answers at 05FFFFh for
ZR393215.
"""

import re
from dataclasses import dataclass
from typing import Literal

from collectors.contract.addresses import AddressError

McSeries = Literal["Q", "L", "QnA", "iQ-L", "iQ-R", "FX5"]


@dataclass(frozen=True, slots=True)
class McKind:
    """One kind of device memory.

    Attributes:
        code: Its number in binary frames.
        radix: Of the numbers behind its name.
        unit: What one number addresses: a bit, a word, or a double word.
        random: It may be named in a random read (0403); contacts and coils may not.
    """

    code: int
    radix: int
    unit: Literal["bit", "word", "dword"]
    random: bool = True


_HEXADECIMAL = {
    "X": (0x9C, "bit"), "Y": (0x9D, "bit"), "B": (0xA0, "bit"), "SB": (0xA1, "bit"),
    "DX": (0xA2, "bit"), "DY": (0xA3, "bit"), "W": (0xB4, "word"), "SW": (0xB5, "word"),
}  # fmt: skip
_DECIMAL = {
    "SM": (0x91, "bit"), "M": (0x90, "bit"), "L": (0x92, "bit"), "F": (0x93, "bit"),
    "V": (0x94, "bit"), "S": (0x98, "bit"), "SD": (0xA9, "word"), "D": (0xA8, "word"),
    "TN": (0xC2, "word"), "STN": (0xC8, "word"), "CN": (0xC5, "word"), "Z": (0xCC, "word"),
    "R": (0xAF, "word"), "ZR": (0xB0, "word"), "RD": (0x2C, "word"),
    "LTN": (0x52, "dword"), "LSTN": (0x5A, "dword"), "LCN": (0x56, "dword"), "LZ": (0x62, "dword"),
}  # fmt: skip
_CONTACTS_AND_COILS = {
    "TS": 0xC1, "TC": 0xC0, "STS": 0xC7, "STC": 0xC6, "CS": 0xC4, "CC": 0xC3,
    "LCS": 0x55, "LCC": 0x54,
}  # fmt: skip

MC_DEVICES: dict[str, McKind] = {
    **{name: McKind(code, 16, unit) for name, (code, unit) in _HEXADECIMAL.items()},  # type: ignore[arg-type] # a literal
    **{name: McKind(code, 10, unit) for name, (code, unit) in _DECIMAL.items()},  # type: ignore[arg-type] # a literal
    **{name: McKind(code, 10, "bit", random=False) for name, code in _CONTACTS_AND_COILS.items()},
}
"""Every kind that some series has. The long timers' contacts and coils (LTS, LTC, LSTS, LSTC) are
missing: no command reads them by themselves."""

_IQ_ONLY = frozenset({"RD", "LTN", "LSTN", "LCN", "LZ", "LCS", "LCC"})
_NOT_FX5 = frozenset({"V", "ZR", "DX", "DY"})


@dataclass(frozen=True, slots=True, kw_only=True)
class McProfile:
    """What the CPUs of one series know and allow.

    Attributes:
        devices: Names of the kinds of memory that exist.
        is_wide: Frames carry 4 bytes of device number and 2 of device code (subcommand 0002).
        octal_xy: Inputs and outputs are numbered in octal.
        max_words: Words of one batch read in binary code; ``max_words_ascii`` in ASCII code.
        max_random_points: Words and double words of one random read, and the same in ASCII code.
        settle_s: After a close, the CPU needs this long until it accepts the next connection.
    """

    devices: frozenset[str]
    is_wide: bool = False
    octal_xy: bool = False
    max_words: int = 960
    max_words_ascii: int = 960
    max_random_points: int = 192
    max_random_points_ascii: int = 192
    settle_s: float = 0.0

    def radix_of(self, device: str) -> int:
        if self.octal_xy and device in ("X", "Y"):
            return 8
        return MC_DEVICES[device].radix

    def ascii_radix_of(self, device: str, *, xy_hex: bool, zr_decimal: bool) -> int:
        """Return the radix of a device's numbers in ASCII frames, by two settings of the PLC."""
        if device == "ZR":
            return 10 if zr_decimal else 16
        return 16 if xy_hex and device in ("X", "Y") else self.radix_of(device)

    @property
    def last_number(self) -> int:
        """Highest device number that fits in a frame."""
        return 0xFFFFFFFF if self.is_wide else 0xFFFFFF

    @property
    def ascii_digits(self) -> int:
        """Digits of a device number in ASCII frames."""
        return 8 if self.is_wide else 6

    def last_in_digits(self, radix: int) -> int:
        """Return the highest device number that fits in the digits of an ASCII frame."""
        last: int = radix**self.ascii_digits - 1
        return min(self.last_number, last)


_CLASSIC = McProfile(devices=frozenset(MC_DEVICES) - _IQ_ONLY)
# Subcommand 0002 carries half as many random points (SH-080008, "Random read in word units").
_IQ = McProfile(
    devices=frozenset(MC_DEVICES), is_wide=True, max_random_points=96, max_random_points_ascii=96
)
_FX5 = McProfile(
    devices=_CLASSIC.devices - _NOT_FX5,
    octal_xy=True,
    max_words_ascii=480,
    max_random_points_ascii=96,
    # An FX5U that has just seen the end of a connection refuses the next one for about 2 ms.
    settle_s=0.005,
)

MC_PROFILES: dict[McSeries, McProfile] = {
    "Q": _CLASSIC, "L": _CLASSIC, "QnA": _CLASSIC, "iQ-L": _IQ, "iQ-R": _IQ, "FX5": _FX5,
}  # fmt: skip
_ANY = McProfile(devices=frozenset(MC_DEVICES), is_wide=True)

_FORM = re.compile(r"([A-Z]{1,5})([0-9A-F]{1,10})(?:\.([0-9A-F]))?")


@dataclass(frozen=True, slots=True)
class McAddress:
    """A device and its number, already converted from the device's own radix."""

    device: str
    number: int
    bit: int | None = None
    """Bit of a word device, 0 = least significant."""

    @property
    def kind(self) -> McKind:
        return MC_DEVICES[self.device]

    @property
    def is_bit_device(self) -> bool:
        return self.kind.unit == "bit"

    @property
    def is_single_bit(self) -> bool:
        return self.is_bit_device or self.bit is not None


def parse_mc_address(text: str, series: McSeries | None = None) -> McAddress:
    """Read ``D100``, ``M20``, ``X1F``, ``ZR393215`` or ``D100.A`` (a bit of a word).

    Without ``series``, whatever some series accepts is accepted, with X and Y in hexadecimal.

    Raises:
        AddressError: a device that the series does not have, wrong digits for its radix, or a
            number that does not fit in a frame.
    """
    profile = _ANY if series is None else MC_PROFILES[series]
    match = _FORM.fullmatch(text.upper())
    if match is None:
        raise AddressError("mc_form")
    device, digits = _divide(match[1], match[2])
    if device not in profile.devices:
        known = " ".join(sorted(profile.devices))
        raise AddressError("mc_device", known=known)
    radix = profile.radix_of(device)
    try:
        number = int(digits, radix)
    except ValueError:
        raise AddressError("mc_radix", device=device, radix=radix, digits=digits) from None
    if number > profile.last_number:
        raise AddressError("mc_number", bits=profile.last_number.bit_length())
    if match[3] is None:
        return McAddress(device, number)
    if MC_DEVICES[device].unit != "word":
        raise AddressError("mc_bit", device=device)
    return McAddress(device, number, int(match[3], 16))


def format_mc_address(device: str, number: int, series: McSeries) -> str:
    """Return the address as engineers of this series write it: ``D100``, ``X1F``."""
    layout = {8: "o", 10: "d", 16: "X"}[MC_PROFILES[series].radix_of(device)]
    return f"{device}{number:{layout}}"


def _divide(letters: str, digits: str) -> tuple[str, str]:
    """Return the longest device name that the letters begin with, and the number behind it.

    ``DX1F`` is the device DX, ``BF`` number F of the device B.
    """
    for end in range(len(letters), 0, -1):
        if letters[:end] in MC_DEVICES and set(letters[end:]) <= set("ABCDEF"):
            return letters[:end], letters[end:] + digits
    return letters, digits
