"""Binary and ASCII code of MC protocol: how numbers, devices, words and bits are written down.

SH-080008, "Data communications in binary code / ASCII code". In ASCII code every number is
hexadecimal text, the most significant digit first; a word that is low byte first in binary code
is its number as text, and a double word the number of 32 bits.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from simulators.mc_codes import EndCode, Refused, require
from simulators.mc_devices import McArea, Profile


class Coding(Protocol):
    """One of the two codes; ``scale`` is bytes on the wire for each byte of binary code."""

    @property
    def scale(self) -> int: ...

    def number(self, raw: bytes) -> int:
        """Return the number that ``raw`` holds.

        Raises:
            Refused: these are no hexadecimal digits.
        """

    def pack(self, number: int, size_bytes: int) -> bytes:
        """Return ``number`` in the place of ``size_bytes`` of binary code."""

    def device_bytes(self, *, wide: bool) -> int:
        """Return how long the name and number of a device are."""

    def device(self, raw: bytes, profile: Profile) -> tuple[str, int]:
        """Return the name of a device and the number of its first point.

        Raises:
            Refused: the CPU does not have this device.
        """

    def pack_bits(self, bits: Sequence[bool]) -> bytes:
        """Return the bits of a batch read in bits."""

    def bits_bytes(self, count: int) -> int:
        """Return how long ``count`` bits are."""

    def unpack_bits(self, raw: bytes, count: int) -> list[bool]:
        """Undo :meth:`pack_bits`.

        Raises:
            Refused: something else than 0 and 1.
        """


class BinaryCoding:
    """Little-endian bytes."""

    scale = 1

    def number(self, raw: bytes) -> int:
        return int.from_bytes(raw, "little")

    def pack(self, number: int, size_bytes: int) -> bytes:
        return number.to_bytes(size_bytes, "little")

    def device_bytes(self, *, wide: bool) -> int:
        return 6 if wide else 4

    def device(self, raw: bytes, profile: Profile) -> tuple[str, int]:
        digits = 4 if len(raw) == 6 else 3
        code = int.from_bytes(raw[digits:], "little")
        for name, device in profile.devices.items():
            if device.code == code and (digits == 4 or not device.wide_only):
                return name, int.from_bytes(raw[:digits], "little")
        raise Refused(EndCode.DEVICE)

    def pack_bits(self, bits: Sequence[bool]) -> bytes:
        """Two bits a byte, the first one in the high half."""
        padded = [*bits, False]
        return bytes(padded[n] << 4 | padded[n + 1] for n in range(0, len(bits), 2))

    def bits_bytes(self, count: int) -> int:
        return (count + 1) // 2

    def unpack_bits(self, raw: bytes, count: int) -> list[bool]:
        halves = [half for byte in raw for half in (byte >> 4, byte & 0x0F)][:count]
        require(all(half <= 1 for half in halves), EndCode.BIT_OR_WORD_UNIT)
        return [half == 1 for half in halves]


@dataclass(frozen=True, slots=True)
class AsciiCoding:
    """Hexadecimal text.

    Attributes:
        xy_hex: Inputs and outputs of an FX5 in hexadecimal, not octal.
        zr_hex: File registers in hexadecimal, as in SH-080008 and SH-080956, though people write
            their numbers in decimal.
    """

    xy_hex: bool = False
    zr_hex: bool = True
    scale: int = 2

    def number(self, raw: bytes) -> int:
        require(all(byte in b"0123456789ABCDEF" for byte in raw), EndCode.ASCII)
        return int(raw, 16)

    def pack(self, number: int, size_bytes: int) -> bytes:
        return b"%0*X" % (2 * size_bytes, number)

    def device_bytes(self, *, wide: bool) -> int:
        return 12 if wide else 8

    def device(self, raw: bytes, profile: Profile) -> tuple[str, int]:
        letters = 4 if len(raw) == 12 else 2
        # The manual allows a space in the place of an asterisk.
        text = raw[:letters].decode("latin-1").replace(" ", "*")
        digits = raw[letters:].replace(b" ", b"0")
        for name, device in profile.devices.items():
            if letters == 2 and device.wide_only:
                continue
            long_name = name.ljust(4, "*") if letters == 4 else device.ascii
            if text in (device.ascii.ljust(letters, "*"), long_name):
                require(digits.isalnum(), EndCode.ASCII)
                try:
                    return name, int(digits, self._radix(name, device))
                except ValueError:
                    raise Refused(EndCode.ASCII) from None
        raise Refused(EndCode.DEVICE)

    def _radix(self, name: str, device: McArea) -> int:
        if name == "ZR":
            return 16 if self.zr_hex else 10
        return 16 if self.xy_hex and device.radix == 8 else device.radix

    def pack_bits(self, bits: Sequence[bool]) -> bytes:
        """One character a bit."""
        return bytes(0x30 + bit for bit in bits)

    def bits_bytes(self, count: int) -> int:
        return count

    def unpack_bits(self, raw: bytes, count: int) -> list[bool]:
        require(not set(raw) - set(b"01"), EndCode.BIT_OR_WORD_UNIT)
        return [byte == 0x31 for byte in raw[:count]]


def pack_words(coding: Coding, words: Sequence[int]) -> bytes:
    """Return 16-bit words, in their order."""
    if isinstance(coding, BinaryCoding):
        return struct.pack(f"<{len(words)}H", *words)
    return b"".join(coding.pack(word, 2) for word in words)


def words_to_bits(words: Sequence[int]) -> list[bool]:
    """Return 16 bits a word, least significant first, as bit devices are numbered."""
    return [bool(word >> n & 1) for word in words for n in range(16)]


def bits_to_words(bits: Sequence[bool]) -> list[int]:
    """Undo :func:`words_to_bits`; ``bits`` are whole words."""
    return [
        sum(bit << n for n, bit in enumerate(bits[start : start + 16]))
        for start in range(0, len(bits), 16)
    ]
