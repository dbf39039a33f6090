"""What is wrong with the bytes that came for a request, before pymodbus sees them. Pure.

pymodbus 3.16.1 skips in silence what it does not expect and takes a short answer, or one of another
function, for a good one.
"""

import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from pymodbus.framer import FramerRTU

HEADER: Final = struct.Struct(">HHHB")
"""Transaction, protocol (0), length of what follows, unit: Modbus Messaging on TCP/IP, 3.1.3."""
MAX_LENGTH: Final = 254
EXCEPTION: Final = 0x80
_UNIT_AT: Final = 6
_PREFIX_BYTES: Final = 6
_RTU_EXCEPTION_BYTES: Final = 5
_RTU_WRITE_BYTES: Final = {5: 8, 6: 8, 15: 8, 16: 8, 22: 10}
"""Unit, function, the echoed request, check sum: Modbus over Serial Line V1.02, 2.5.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The one answer that may come.

    Attributes:
        unit_id: 0 accepts any.
        abandoned: Transactions whose answer is still on its way and to be skipped.
    """

    transaction: int
    unit_id: int
    function: int
    abandoned: Collection[int] = ()


Check = Callable[[bytes, Expected | None], str | None]
"""Takes all that has come since the last answer; returns what is wrong with it, if anything."""


def check_mbap(data: bytes, expected: Expected | None) -> str | None:
    """Check frames with an MBAP header, as Modbus TCP and Modbus/TCP Security have."""
    at, abandoned = 0, expected.abandoned if expected else ()
    while len(data) - at > HEADER.size:
        transaction, protocol, length, unit = HEADER.unpack_from(data, at)
        if protocol != 0:
            return f"answer of protocol {protocol}"
        if not 3 <= length <= MAX_LENGTH:
            return f"answer with length {length}"
        end = at + _PREFIX_BYTES + length
        # After 65,536 requests a number comes again, and then it is the one that is waited for.
        if transaction in abandoned and not (expected and transaction == expected.transaction):
            at = end  # pymodbus skips it as well
            continue
        code = data[at + HEADER.size]
        return _wrong_mbap(expected, transaction, unit, code, length, len(data) > end)
    return None


def _wrong_mbap(
    expected: Expected | None, transaction: int, unit: int, code: int, length: int, has_more: bool
) -> str | None:
    if expected is None:
        return "answer without a request"
    checks = (
        (transaction != expected.transaction, "answer to another request"),
        (unit != expected.unit_id != 0, f"answer from unit {unit}"),
        (code & ~EXCEPTION != expected.function, f"answer to function {code}"),
        (code & EXCEPTION and length != 3, "exception of wrong length"),
        (has_more, "more than one answer"),
    )
    return next((fault for is_wrong, fault in checks if is_wrong), None)


def check_rtu(data: bytes, expected: Expected | None) -> str | None:
    """Check a frame with a check sum, as on a serial line."""
    if expected is None:
        return "answer without a request"
    if len(data) < 3:
        return None
    unit, code = data[0], data[1]
    size = _RTU_EXCEPTION_BYTES if code & EXCEPTION else _RTU_WRITE_BYTES.get(code, 5 + data[2])
    checks = (
        (unit != expected.unit_id != 0, f"answer from unit {unit}"),
        (code & ~EXCEPTION != expected.function, f"answer to function {code}"),
        (len(data) > size, "more than one answer"),
        (len(data) == size and not _is_sound(data), "answer with a wrong check sum"),
    )
    return next((fault for is_wrong, fault in checks if is_wrong), None)


def _is_sound(frame: bytes) -> bool:
    return bool(FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big")))


def with_unit(data: bytes, unit_id: int) -> bytes:
    """Return MBAP data as if it came from ``unit_id``."""
    if len(data) <= _UNIT_AT:
        return data
    return data[:_UNIT_AT] + bytes((unit_id,)) + data[_UNIT_AT + 1 :]
