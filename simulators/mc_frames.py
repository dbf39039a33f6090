"""MC protocol frames, 3E and 4E, in binary and in ASCII code, as the CPU sees them (SH-080008)."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from simulators.mc_codes import EndCode, Refused, require
from simulators.mc_coding import AsciiCoding, BinaryCoding, Coding
from simulators.mc_devices import Profile

CodeSetting = Literal["binary", "ascii", "ascii_xy_hex", "any"]
FrameSetting = Literal["3e", "4e", "any"]

_ROUTE_BYTES = 5
"""Network, PC, module I/O (2), station."""
_SERIAL_BYTES = 4
"""Of a 4E frame: serial number and two bytes that are zero."""
_MIN_LENGTH, _MAX_LENGTH = 6, 0x1000
"""Monitoring timer, command and subcommand; and more than the longest write needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A kind of frame in one code; positions count in bytes of the wire.

    Attributes:
        request, response: How frames begin.
        serial_bytes: 0 in a 3E frame.
    """

    request: bytes
    response: bytes
    coding: Coding
    serial_bytes: int

    @property
    def header_bytes(self) -> int:
        return self.coding.scale * (4 + self.serial_bytes + _ROUTE_BYTES)

    @property
    def length_at(self) -> slice:
        return slice(self.header_bytes - 2 * self.coding.scale, self.header_bytes)


def forms_of(code: CodeSetting, frame: FrameSetting, *, zr_hex: bool = True) -> list[Form]:
    """Return the kinds of frames that a port with these settings understands.

    Args:
        zr_hex: See :class:`simulators.mc_coding.AsciiCoding`.
    """
    forms = []
    for kind, serial_bytes in (("3e", 0), ("4e", _SERIAL_BYTES)):
        if frame not in (kind, "any"):
            continue
        request, response = (b"\x50", b"\xd0") if kind == "3e" else (b"\x54", b"\xd4")
        if code in ("binary", "any"):
            forms.append(
                Form(
                    request=request + b"\0",
                    response=response + b"\0",
                    coding=BinaryCoding(),
                    serial_bytes=serial_bytes,
                )
            )
        if code != "binary":
            forms.append(
                Form(
                    request=request.hex().upper().encode() + b"00",
                    response=response.hex().upper().encode() + b"00",
                    coding=AsciiCoding(xy_hex=code == "ascii_xy_hex", zr_hex=zr_hex),
                    serial_bytes=serial_bytes,
                )
            )
    return forms


def form_of(frame: bytes, forms: list[Form]) -> Form:
    """Return the form of a whole ``frame``."""
    return next(form for form in forms if frame.startswith(form.request))


def take_frame(received: bytearray, forms: list[Form]) -> bytes | None:
    """Remove the first complete request; ``None`` if more bytes are needed.

    What is no frame of ``forms`` is dropped, and the client hears nothing: a real CPU is silent
    when the communication data code does not match.
    """
    form = next((f for f in forms if received.startswith(f.request[: len(received)])), None)
    if form is None:
        received.clear()
        return None
    if len(received) < form.header_bytes:
        return None
    try:
        length = form.coding.number(bytes(received[form.length_at]))
    except Refused:
        length = 0
    scale = form.coding.scale
    if not _MIN_LENGTH * scale <= length <= _MAX_LENGTH * scale:
        received.clear()
        return None
    end = form.header_bytes + length
    if len(received) < end:
        return None
    frame = bytes(received[:end])
    del received[:end]
    return frame


class Request:
    """One request, read from front to back.

    Attributes:
        coding: Binary or ASCII.
        command: For example 0401h, batch read.
        subcommand: Bit 0: in units of bits, not words. Bit 1: the wide device numbers of iQ-R.
    """

    def __init__(self, frame: bytes, form: Form) -> None:
        self._frame = frame
        self._form = form
        self.coding = form.coding
        self._position = form.header_bytes + 2 * form.coding.scale
        self._command_at = slice(self._position, self._position + 4 * form.coding.scale)
        self.command = self.subcommand = 0

    def read_command(self) -> None:
        """Read command and subcommand.

        Raises:
            Refused: they are no hexadecimal digits.
        """
        self.command, self.subcommand = self.number(2), self.number(2)

    @property
    def in_bits(self) -> bool:
        return bool(self.subcommand & 1)

    @property
    def is_wide(self) -> bool:
        return bool(self.subcommand & 2)

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes of the wire.

        Raises:
            Refused: the request ends before.
        """
        start, self._position = self._position, self._position + count
        require(self._position <= len(self._frame), EndCode.LENGTH)
        return self._frame[start : self._position]

    def number(self, size_bytes: int) -> int:
        """Return the next number, of ``size_bytes`` in binary code."""
        return self.coding.number(self.take(size_bytes * self.coding.scale))

    def device(self, profile: Profile) -> tuple[str, int]:
        """Return the name of a device and the number of its first point.

        Raises:
            Refused: the CPU does not have this device.
        """
        return self.coding.device(self.take(self.coding.device_bytes(wide=self.is_wide)), profile)

    def expect_end(self) -> None:
        """Refuse a request that is longer than its content."""
        require(self._position == len(self._frame), EndCode.LENGTH)

    def response(self, data: bytes) -> bytes:
        """Return the frame of a normal end."""
        return self._frame_of(0, data)

    def refusal(self, code: int) -> bytes:
        """Return the frame of an abnormal end: who answers, and what was asked."""
        return self._frame_of(code, self._route() + self._frame[self._command_at])

    def _route(self) -> bytes:
        end = self._form.length_at.start
        return self._frame[end - _ROUTE_BYTES * self.coding.scale : end]

    def _frame_of(self, end_code: int, data: bytes) -> bytes:
        rest = self.coding.pack(end_code, 2) + data
        middle = self._frame[2 * self.coding.scale : self._form.length_at.start]
        return self._form.response + middle + self.coding.pack(len(rest), 2) + rest


def spoil(data: bytes, form: Form, kinds: Set[str]) -> bytes:
    """Return a response of a station that was not asked, or with less than was asked for."""
    response = bytearray(data)
    coding, scale = form.coding, form.coding.scale
    if "wrong_unit" in kinds:
        station = slice(form.length_at.start - scale, form.length_at.start)
        response[station] = coding.pack(coding.number(bytes(response[station])) + 1 & 0xFF, 1)
    if "wrong_id" in kinds and form.serial_bytes:
        serial = slice(2 * scale, 4 * scale)
        response[serial] = coding.pack(coding.number(bytes(response[serial])) + 1 & 0xFFFF, 2)
    content_bytes = len(response) - form.header_bytes - 2 * scale
    if "short" in kinds:
        del response[len(response) - content_bytes // 2 :]
        response[form.length_at] = coding.pack(len(response) - form.header_bytes, 2)
    elif "bad_length" in kinds:
        # The rest of it stays in the stream, before the next answer.
        response[form.length_at] = coding.pack(2 * scale + content_bytes // 2, 2)
    return bytes(response)
