"""MELSEC words become values, and addresses become frame bytes."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.addresses import MC_BIT_DEVICES, MC_WORD_DEVICES, parse_mc_address
from collectors.contract.config_mc import McDevice, McPoint
from collectors.contract.points import Value
from collectors.mitsubishi_mc.codec import (
    DEVICE_CODES,
    decoder,
    encode_address,
    format_address,
)
from collectors.mitsubishi_mc.plan import describe, first_number, plan


def decode(payload: bytes, address: str = "D0", **settings: Any) -> Value | None:
    """Put one word of rubbish in front, so that a wrong position shows."""
    point = McPoint(name="p", address=address, **settings)
    return decoder(point)(b"\xad\xde" + payload, 1)


@pytest.mark.parametrize(
    ("address", "q_series", "iq_r"),
    [
        ("D350", "5e0100a8", "5e010000a800"),
        ("M100", "64000090", "640000009000"),
        ("X20", "2000009c", "200000009c00"),
        ("W1F", "1f0000b4", "1f000000b400"),
        ("R32768", "008000af", "00800000af00"),
        # Decimal, although pymcprotocol takes it for hexadecimal: a live QnUDV shows 0x05FFFF.
        ("ZR393215", "ffff05b0", "ffff0500b000"),
    ],
)
def test_addresses_as_they_stand_in_a_frame(address: str, q_series: str, iq_r: str) -> None:
    parsed = parse_mc_address(address)
    assert encode_address(parsed.device, parsed.number, is_iq_r=False).hex() == q_series
    assert encode_address(parsed.device, parsed.number, is_iq_r=True).hex() == iq_r


def test_every_device_that_a_file_may_name_has_a_code_of_its_own() -> None:
    assert DEVICE_CODES.keys() == {*MC_BIT_DEVICES, *MC_WORD_DEVICES}
    assert len(set(DEVICE_CODES.values())) == len(DEVICE_CODES)


@given(st.sampled_from(sorted(DEVICE_CODES)), st.integers(0, 0xFFFFFF))
def test_a_formatted_address_reads_back(device: str, number: int) -> None:
    parsed = parse_mc_address(format_address(device, number))
    assert (parsed.device, parsed.number) == (device, number)


NUMBERS = {
    "int16": ("h", st.integers(-(2**15), 2**15 - 1)),
    "uint16": ("H", st.integers(0, 2**16 - 1)),
    "int32": ("i", st.integers(-(2**31), 2**31 - 1)),
    "uint32": ("I", st.integers(0, 2**32 - 1)),
    "int64": ("q", st.integers(-(2**63), 2**63 - 1)),
    "uint64": ("Q", st.integers(0, 2**64 - 1)),
    "float32": ("f", st.floats(width=32, allow_nan=False)),
    "float64": ("d", st.floats(allow_nan=False)),
}


@pytest.mark.parametrize("kind", NUMBERS)
@given(st.data())
def test_every_number_comes_back_with_its_type(kind: str, data: st.DataObject) -> None:
    layout, values = NUMBERS[kind]
    value = data.draw(values)
    decoded = decode(struct.pack(f"<{layout}", value), type=kind)
    assert decoded == value
    assert type(decoded) is type(value)


def test_the_low_word_comes_first() -> None:
    assert decode(bytes.fromhex("78563412"), type="uint32") == 0x12345678


def test_the_first_character_is_in_the_low_byte() -> None:
    assert decode(b"RECIPE7\0", type="string", length=4) == "RECIPE7"


@pytest.mark.parametrize("bit", range(16))
def test_each_bit_of_a_word_and_of_sixteen_relays(bit: int) -> None:
    payload = struct.pack("<H", 1 << bit)
    assert decode(payload, f"D0.{bit:X}", type="bool") is True
    assert decode(payload, f"M{32 + bit}", type="bool") is True
    assert decode(payload, f"X{0x20 + bit:X}", type="bool") is True
    assert decode(payload, f"M{32 + (bit + 1) % 16}", type="bool") is False


def test_relays_are_read_as_words_from_a_multiple_of_sixteen() -> None:
    points = tuple(
        McPoint(name=address, address=address, type="bool") for address in ("M100", "M8191", "M131")
    )
    blocks = plan(McDevice(id="plc", host="h", max_gap=4, points=points))["default"]
    assert [describe(block) for block in blocks] == ["M96-M143 (3)", "M8176-M8191 (1)"]
    assert [first_number(block) for block in blocks] == [96, 8176]


def test_words_are_merged_across_small_gaps() -> None:
    points = tuple(
        McPoint(name=address, address=address) for address in ("D100", "D132", "D200", "W10")
    )
    blocks = plan(McDevice(id="plc", host="h", max_gap=31, points=points))["default"]
    assert [describe(block) for block in blocks] == ["D100-D132 (33)", "D200 (1)", "W10 (1)"]
