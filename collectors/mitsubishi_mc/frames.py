"""What stands in MC protocol frames, in binary and in ASCII code. Pure.

Source: MELSEC Communication Protocol Reference Manual (SH-080008), "Message format", "Device codes"
and chapter 8. In binary code numbers are little-endian; in ASCII code they are upper-case
hexadecimal digits with the most significant first, so a 32-bit value has its high word first
there. Inside this package the content of words is always as in binary code: low byte first.
"""

import binascii
from array import array
from dataclasses import dataclass
from typing import Final, Literal

from collectors.contract.addresses_mc import MC_DEVICES, MC_PROFILES, McSeries

Code = Literal["binary", "ascii", "ascii_xy_hex"]

_SHORT_NAMES: Final = {"STS": "SS", "STC": "SC", "STN": "SN"}
"""Where an ASCII frame has two characters for the name of a device."""

WORD_BYTES: Final = 2
DWORD_BYTES: Final = 4


class FrameError(Exception):
    """What came is not the answer to what was sent; the connection is closed."""


class EndCode(Exception):
    """The PLC answered with an end code other than 0: it understood and refused."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"end code {code:04X}")


@dataclass(frozen=True, slots=True)
class Device:
    """A device and its number, as in ``McAddress`` but without a bit."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Coding:
    """How one PLC wants its frames.

    Attributes:
        series: Decides how long a device number is, and the radix of its digits.
        code: ``ascii_xy_hex`` is the second ASCII setting of an FX5: X and Y in hexadecimal.
        zr_digits: Of file register numbers in ASCII code; see ``McDevice``.
    """

    series: McSeries
    code: Code
    zr_digits: Literal["hexadecimal", "decimal"] = "hexadecimal"

    @property
    def is_ascii(self) -> bool:
        return self.code != "binary"

    @property
    def is_wide(self) -> bool:
        return MC_PROFILES[self.series].is_wide

    def device(self, device: Device) -> bytes:
        """Return number and code of a device as a frame carries them.

        Narrow frames have 3 bytes and 1 byte (ASCII: 2 characters, 6 digits), wide ones 4 and 2
        (4 characters, 8 digits).
        """
        if self.is_ascii:
            return self._ascii_device(device)
        number_bytes, code_bytes = (4, 2) if self.is_wide else (3, 1)
        code = MC_DEVICES[device.name].code.to_bytes(code_bytes, "little")
        return device.number.to_bytes(number_bytes, "little") + code

    def _ascii_device(self, device: Device) -> bytes:
        if self.is_wide:
            name = device.name.ljust(4, "*")
        else:
            name = _SHORT_NAMES.get(device.name, device.name).ljust(2, "*")
        digits = MC_PROFILES[self.series].ascii_digits
        layout = {8: "o", 10: "d", 16: "X"}[self._digits_radix(device.name)]
        return f"{name}{device.number:0{digits}{layout}}".encode()

    def _digits_radix(self, name: str) -> int:
        return MC_PROFILES[self.series].ascii_radix_of(
            name, xy_hex=self.code == "ascii_xy_hex", zr_decimal=self.zr_digits == "decimal"
        )

    def encode(self, content: bytes, unit_bytes: int = WORD_BYTES) -> bytes:
        """Return the content of words or double words as a frame carries it."""
        if not self.is_ascii:
            return content
        return binascii.hexlify(_swapped(content, unit_bytes)).upper()

    def decode(self, data: bytes, unit_bytes: int = WORD_BYTES) -> bytes:
        """Undo :meth:`encode`.

        Raises:
            FrameError: no hexadecimal digits, or half a word.
        """
        if not self.is_ascii:
            return data
        try:
            return _swapped(binascii.unhexlify(data), unit_bytes)
        except ValueError as exc:
            raise FrameError(f"not ASCII code: {exc}") from None

    def bit(self, on: bool) -> bytes:
        """Return one bit as a write in bit units carries it (SH-080008, 8.2)."""
        if self.is_ascii:
            return b"1" if on else b"0"
        return b"\x10" if on else b"\x00"


def _swapped(content: bytes, unit_bytes: int) -> bytes:
    units = array("H" if unit_bytes == WORD_BYTES else "I", content)
    units.byteswap()
    return units.tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a CPU.

    Attributes:
        network: 0 is the network of the connected PLC.
        station: PC number; 255 is the connected CPU. 0 is a number like others.
        module_io: Start I/O number of the target module; 03FFh is the CPU.
        module_station: Station behind a multidrop connection.
        timeout_s: For the connection, and for one whole answer however it is cut up.
        timer: How long the PLC may wait for the target, in units of 250 ms; 0 is for ever.
    """

    coding: Coding
    network: int = 0
    station: int = 0xFF
    module_io: int = 0x3FF
    module_station: int = 0
    timeout_s: float = 1.0
    timer: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands before the data length, in bytes of binary code; ASCII code doubles it all."""

    has_serial: bool

    @property
    def route_at(self) -> int:
        return 6 if self.has_serial else 2

    @property
    def length_at(self) -> int:
        """Where the data length begins: behind network, PC, module I/O and module station."""
        return self.route_at + 5

    def check(self, request: bytes, answer: bytes, *, is_ascii: bool) -> None:
        """Compare subheader, serial number and route of an answer with those of the request.

        The two bytes behind a serial number are not compared: the manuals do not agree on whether
        they are fixed.

        Raises:
            FrameError: it answers something else.
        """
        scale = 2 if is_ascii else 1
        expected = b"D" + request[1:4] if is_ascii else bytes((request[0] | 0x80, request[1]))
        if answer[: 2 * scale] != expected:
            raise FrameError(f"subheader {_shown(answer[: 2 * scale], is_ascii)}")
        parts = [("serial number", 2, 4)] if self.has_serial else []
        for name, start, end in [*parts, ("route", self.route_at, self.length_at)]:
            got, sent = (frame[start * scale : end * scale] for frame in (answer, request))
            if got != sent:
                wrong, right = (_shown(part, is_ascii) for part in (got, sent))
                raise FrameError(f"{name} {wrong} instead of {right}")


def _shown(part: bytes, is_ascii: bool) -> str:
    return ascii(part) if is_ascii else part.hex()
