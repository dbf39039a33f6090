"""MC protocol 3E frames in binary code, as the CPU sees them (SH-080008)."""

import enum
import struct
from collections.abc import Sequence, Set

from simulators.addresses import MC_DEVICE_NAMES

_REQUEST = b"\x50\x00"
_RESPONSE = b"\xd0\x00"
_HEADER_BYTES = 9
"""Subheader 2, access route 5 (network, PC, module I/O 2, station), data length 2."""
_MIN_LENGTH, _MAX_LENGTH = 6, 0x1000
"""Monitoring timer, command and subcommand; and more than the longest write needs."""


class EndCode(enum.IntEnum):
    """Why a request was refused (SH-080008, "Error codes"; 4031: QCPU User's Manual)."""

    RANGE = 0x4031
    BIT_POINTS = 0xC051
    WORD_POINTS = 0xC052
    RANDOM_POINTS = 0xC054
    MAX_ADDRESS = 0xC056
    COMMAND = 0xC059
    DEVICE = 0xC05B
    BIT_OR_WORD_UNIT = 0xC05C
    LENGTH = 0xC061


class Refused(Exception):
    """The request is answered with an end code and 9 bytes of error information."""

    def __init__(self, code: EndCode) -> None:
        super().__init__(code.name)
        self.code = code


def require(valid: bool, code: EndCode) -> None:
    """Raise ``Refused(code)`` unless ``valid``."""
    if not valid:
        raise Refused(code)


class Request:
    """One request, read from front to back.

    Attributes:
        command: For example 0401h, batch read.
        subcommand: Bit 0: in units of bits, not words. Bit 1: the wide device numbers of iQ-R.
    """

    def __init__(self, frame: bytes) -> None:
        self.command, self.subcommand = struct.unpack_from("<HH", frame, 11)
        self._frame = frame
        self._position = 15

    @property
    def in_bits(self) -> bool:
        return bool(self.subcommand & 1)

    @property
    def is_wide(self) -> bool:
        return bool(self.subcommand & 2)

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes.

        Raises:
            Refused: the request ends before.
        """
        start, self._position = self._position, self._position + count
        require(self._position <= len(self._frame), EndCode.LENGTH)
        return self._frame[start : self._position]

    def number(self, size_bytes: int) -> int:
        return int.from_bytes(self.take(size_bytes), "little")

    def device(self) -> tuple[str, int]:
        """Return the name of a device and the number of its first point.

        Raises:
            Refused: the CPU does not have this device.
        """
        number = self.number(4 if self.is_wide else 3)
        name = MC_DEVICE_NAMES.get(self.number(2 if self.is_wide else 1))
        if name is None:
            raise Refused(EndCode.DEVICE)
        return name, number

    def expect_end(self) -> None:
        """Refuse a request that is longer than its content."""
        require(self._position == len(self._frame), EndCode.LENGTH)

    def response(self, data: bytes) -> bytes:
        """Return the frame of a normal end."""
        return self._frame_of(0, data)

    def refusal(self, code: int) -> bytes:
        """Return the frame of an abnormal end: who answers, and what was asked."""
        return self._frame_of(code, self._frame[2:7] + self._frame[11:15])

    def _frame_of(self, end_code: int, data: bytes) -> bytes:
        rest = struct.pack("<H", end_code) + data
        return _RESPONSE + self._frame[2:7] + struct.pack("<H", len(rest)) + rest


def spoil(data: bytes, kinds: Set[str]) -> bytes:
    """Return a response of a station that was not asked, or with less than was asked for."""
    response = bytearray(data)
    if "wrong_unit" in kinds:
        response[6] = (response[6] + 1) & 0xFF
    content_bytes = len(response) - _HEADER_BYTES - 2
    if "short" in kinds:
        del response[len(response) - content_bytes // 2 :]
        _set_length(response, len(response) - _HEADER_BYTES)
    elif "bad_length" in kinds:
        # The rest of it stays in the stream, before the next answer.
        _set_length(response, 2 + content_bytes // 2)
    return bytes(response)


def _set_length(response: bytearray, length: int) -> None:
    response[_HEADER_BYTES - 2 : _HEADER_BYTES] = struct.pack("<H", length)


def take_frame(received: bytearray) -> bytes | None:
    """Remove the first complete request; ``None`` if more bytes are needed.

    What is no 3E frame in binary code is dropped, and the client hears nothing: a real CPU is
    silent when the communication data code does not match.
    """
    if not received.startswith(_REQUEST[: len(received)]):
        received.clear()
    if len(received) < _HEADER_BYTES:
        return None
    length = int.from_bytes(received[7:9], "little")
    if not _MIN_LENGTH <= length <= _MAX_LENGTH:
        received.clear()
        return None
    end = _HEADER_BYTES + length
    if len(received) < end:
        return None
    frame = bytes(received[:end])
    del received[:end]
    return frame


def pack_nibbles(bits: Sequence[bool]) -> bytes:
    """Return two bits a byte, the first one in the high half (SH-080008, batch read in bits)."""
    padded = [*bits, False]
    return bytes(padded[n] << 4 | padded[n + 1] for n in range(0, len(bits), 2))


def unpack_nibbles(data: bytes, count: int) -> list[bool]:
    """Return the first ``count`` bits of ``data``.

    Raises:
        Refused: a half byte is neither 0 nor 1.
    """
    halves = [half for byte in data for half in (byte >> 4, byte & 0x0F)][:count]
    require(all(half <= 1 for half in halves), EndCode.BIT_OR_WORD_UNIT)
    return [half == 1 for half in halves]


def words_to_bits(words: Sequence[int]) -> list[bool]:
    """Return 16 bits a word, least significant first, as bit devices are numbered."""
    return [bool(word >> n & 1) for word in words for n in range(16)]


def bits_to_words(bits: Sequence[bool]) -> list[int]:
    """Undo :func:`words_to_bits`; ``bits`` are whole words."""
    return [
        sum(bit << n for n, bit in enumerate(bits[start : start + 16]))
        for start in range(0, len(bits), 16)
    ]
