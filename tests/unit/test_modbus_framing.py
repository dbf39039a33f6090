"""Frames as they come, judged before anybody decodes them."""

import struct

from collectors.modbus_tcp.framing import Expected, check_mbap


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, 1 + len(pdu), unit) + pdu


def test_a_number_that_was_given_up_long_ago_is_checked_when_it_is_used_again() -> None:
    """Transaction numbers come again after 65,536 requests, and silent units give up many."""
    expected = Expected(transaction=5, unit_id=1, function=3, abandoned=(4, 5))
    right, foreign = frame(5, 1, b"\x03\x02\0\x07"), frame(5, 2, b"\x03\x02\0\x07")
    assert check_mbap(right, expected) is None
    assert check_mbap(foreign, expected) == "answer from unit 2"
    assert check_mbap(frame(4, 2, b"\x03\x02\0\x07") + right, expected) is None
