"""How Modbus requests are framed on TCP: with the MBAP header, or as RTU frames with a CRC.

Messaging on TCP/IP V1.0b, 3.1; Modbus over serial line V1.02, 2.5.1 and 6.2.2. TLS carries MBAP
frames (Modbus/TCP Security, 2.1).
"""

import struct
from dataclasses import dataclass
from typing import Protocol

from simulators.tcp import BadFrame

_MBAP = struct.Struct(">HHH")
"""Transaction id, protocol id, length of the rest, which starts with the unit id."""
_MAX_LENGTH = 254
"""Unit id and a PDU of at most 253 bytes (Application Protocol, 4.1)."""


@dataclass(frozen=True, slots=True)
class Adu:
    """A request or an answer without its frame; ``transaction`` is 0 where there is none."""

    transaction: int
    unit_id: int
    pdu: bytes


class Framing(Protocol):
    """One way to frame."""

    has_transaction: bool
    is_serial: bool
    """Units that do not exist are silent, because no gateway speaks for them."""

    def take_frame(self, received: bytearray) -> bytes | None:
        """Remove one frame, see :class:`simulators.tcp.FrameProtocol`."""

    def unpack(self, frame: bytes) -> Adu:
        """Return what a whole frame holds."""

    def pack(self, adu: Adu) -> bytes:
        """Return the frame of an answer."""


class MbapFraming:
    """The header of Modbus TCP."""

    has_transaction = True
    is_serial = False

    def take_frame(self, received: bytearray) -> bytes | None:
        if len(received) < _MBAP.size:
            return None
        _, protocol, length = _MBAP.unpack_from(received)
        if protocol != 0:
            raise BadFrame(f"protocol id {protocol}, not 0")
        if not 2 <= length <= _MAX_LENGTH:
            raise BadFrame(f"length {length}, not 2 to {_MAX_LENGTH}")
        return _cut(received, _MBAP.size + length)

    def unpack(self, frame: bytes) -> Adu:
        return Adu(_MBAP.unpack_from(frame)[0], frame[6], frame[7:])

    def pack(self, adu: Adu) -> bytes:
        header = _MBAP.pack(adu.transaction, 0, 1 + len(adu.pdu))
        return header + bytes([adu.unit_id]) + adu.pdu


class RtuFraming:
    """Address, PDU and CRC, as on a serial line; without silence between frames on TCP."""

    has_transaction = False
    is_serial = True

    def take_frame(self, received: bytearray) -> bytes | None:
        while received:
            length = _rtu_length(received)
            if length is None:
                return None
            frame = _cut(received, length)
            if frame is None or crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little"):
                return frame
            # A damaged frame: nobody on a serial line answers it.
        return None

    def unpack(self, frame: bytes) -> Adu:
        return Adu(0, frame[0], frame[1:-2])

    def pack(self, adu: Adu) -> bytes:
        content = bytes([adu.unit_id]) + adu.pdu
        return content + crc16(content).to_bytes(2, "little")


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]


def crc16(data: bytes) -> int:
    """Return the check sum of an RTU frame (Modbus over serial line V1.02, 6.2.2)."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def _rtu_length(received: bytearray) -> int | None:
    """Return the length of the request that ``received`` starts with; None: not known yet.

    Raises:
        BadFrame: a function whose length only its device knows.
    """
    if len(received) < 2:
        return None
    function = received[1]
    if function in (1, 2, 3, 4, 5, 6):
        return 8
    if function == 22:
        return 10
    count_at = {15: 6, 16: 6, 23: 10}.get(function)
    if count_at is None:
        raise BadFrame(f"function {function} has no known length")
    return count_at + 3 + received[count_at] if len(received) > count_at else None


def _cut(received: bytearray, end: int) -> bytes | None:
    if len(received) < end:
        return None
    frame = bytes(received[:end])
    del received[:end]
    return frame
