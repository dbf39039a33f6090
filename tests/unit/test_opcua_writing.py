"""What is sent when a value is written: the server's type, scaled back, or nothing."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.addresses import OpcUaAddress
from collectors.opcua.nodes import Variable
from collectors.opcua.writing import encode
from collectors.runtime.driver import WriteRefused

BOOLEAN, BYTE, INT16, UINT64, FLOAT, DOUBLE, STRING, DATE_TIME = 1, 3, 4, 9, 10, 11, 12, 13


def variable(factor: float = 1.0, offset: float = 0.0) -> Variable:
    address = OpcUaAddress(None, "i=5")
    return Variable(point="plc/p", address=address, factor=factor, offset=offset, raw_deadband=0.0)


@pytest.mark.parametrize(
    ("value", "kind", "factor", "offset", "raw"),
    [
        (True, BOOLEAN, 1.0, 0.0, True),
        (7, INT16, 1.0, 0.0, 7),
        (7.0, INT16, 1.0, 0.0, 7),
        (2**64 - 1, UINT64, 1.0, 0.0, 2**64 - 1),
        (21.3, INT16, 0.1, 0.0, 213),
        (-5.0, INT16, 0.5, 5.0, -20),
        (7, DOUBLE, 1.0, 0.0, 7.0),
        (0.1, FLOAT, 1.0, 0.0, struct.unpack("<f", struct.pack("<f", 0.1))[0]),
        ("压力", STRING, 1.0, 0.0, "压力"),
    ],
)
def test_a_value_goes_out_in_the_type_of_the_server(
    value: Any, kind: int, factor: float, offset: float, raw: Any
) -> None:
    sent = encode(value, variable(factor, offset), kind)
    assert (type(sent), sent) == (type(raw), raw)


@pytest.mark.parametrize(
    ("value", "kind", "factor", "code"),
    [
        (1, BOOLEAN, 1.0, "wrong_type"),
        (True, INT16, 1.0, "wrong_type"),
        ("1", INT16, 1.0, "wrong_type"),
        (1, STRING, 1.0, "wrong_type"),
        (256, BYTE, 1.0, "does_not_fit"),
        (-1, UINT64, 1.0, "does_not_fit"),
        (1.5, INT16, 1.0, "does_not_fit"),
        (21.35, INT16, 0.1, "does_not_fit"),
        (1e39, FLOAT, 1.0, "does_not_fit"),
        (1e300, DOUBLE, 1e-300, "does_not_fit"),
        (1.0, INT16, 0.0, "does_not_fit"),
        ("\ud800", STRING, 1.0, "does_not_fit"),
        (1, DATE_TIME, 1.0, "not_supported"),
    ],
)
def test_a_value_that_does_not_fit_is_not_sent(
    value: Any, kind: int, factor: float, code: str
) -> None:
    with pytest.raises(WriteRefused) as caught:
        encode(value, variable(factor), kind)
    assert caught.value.code == code


@given(st.integers(-(2**15), 2**15 - 1), st.sampled_from([0.1, 0.01, 2.5, -0.5]))
def test_what_is_read_can_be_written_back(raw: int, factor: float) -> None:
    scaled = raw * factor + 3.0
    assert encode(scaled, variable(factor, 3.0), INT16) == raw
