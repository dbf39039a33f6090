"""MELSEC words become values, and values become words."""

import math
import struct
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from collectors.contract.addresses_mc import parse_mc_address
from collectors.contract.config_base import ByteOrder
from collectors.contract.config_mc import McPoint
from collectors.contract.points import Value
from collectors.mitsubishi_mc.codec import DoesNotFit, decoder, encode, layout_of
from collectors.runtime.block_decoder import compile_block
from collectors.runtime.planner import Block, Field


def decode(payload: bytes, address: str = "D0", **settings: Any) -> Value | None:
    """Decode alone and in a block; one word of rubbish in front makes a wrong position show."""
    point = McPoint(name="p", address=address, **settings)
    parsed = parse_mc_address(address)
    alone = decoder(point, parsed)
    value = alone(b"\xad\xde" + payload, 1)
    field = Field(
        point="d/p", start=8, count=point.words, decode=alone, layout=layout_of(point, parsed)
    )
    block = Block(area="D", start=7, count=1 + point.words, fields=(field,))
    [in_block], _ = compile_block(block)(b"\xad\xde" + payload)
    is_usable = not isinstance(value, float) or math.isfinite(value)
    assert in_block == (value if is_usable else None)
    return value


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


ORDERED: dict[ByteOrder, str] = {
    "CDAB": "78563412",
    "ABCD": "34127856",
    "BADC": "12345678",
    "DCBA": "56781234",
}


@pytest.mark.parametrize("order", ORDERED)
def test_the_letters_of_an_order_mean_what_they_mean_for_modbus(order: ByteOrder) -> None:
    """The words in the PLC, each with its high byte first, show the letters in this order."""
    payload = bytes.fromhex(ORDERED[order])
    words = b"".join(bytes((payload[n + 1], payload[n])) for n in (0, 2))
    letters = {"A": 0x12, "B": 0x34, "C": 0x56, "D": 0x78}
    assert words == bytes(letters[letter] for letter in order)
    assert decode(payload, type="uint32", order=order) == 0x12345678


def test_a_text_can_have_its_first_character_in_the_high_byte() -> None:
    assert decode(b"ERICEP\x007", type="string", length=4, order="ABCD") == "RECIPE7"


@pytest.mark.parametrize(
    ("payload", "kind", "value"),
    [
        ("3412", "bcd16", 1234),
        ("78563412", "bcd32", 12345678),
        ("9999", "bcd16", 9999),
        ("3a12", "bcd16", None),
        ("785634f2", "bcd32", None),
    ],
)
def test_digits_of_four_bits(payload: str, kind: str, value: int | None) -> None:
    assert decode(bytes.fromhex(payload), type=kind) == value


def test_scaled_digits() -> None:
    assert decode(bytes.fromhex("3412"), type="bcd16", scale=0.1, offset=5) == pytest.approx(128.4)
    assert decode(bytes.fromhex("fa12"), type="bcd16", scale=0.1) is None


KINDS = [*NUMBERS, "bcd16", "bcd32"]


@given(st.data(), st.sampled_from(KINDS), st.sampled_from([*ORDERED, None]))
def test_a_written_number_reads_back(data: st.DataObject, kind: str, order: str | None) -> None:
    digits = {"bcd16": 4, "bcd32": 8}.get(kind)
    values = st.integers(0, 10**digits - 1) if digits else NUMBERS[kind][1]
    value = data.draw(values)
    assume(math.isfinite(value))
    point = McPoint(name="p", address="D0", type=kind, order=order)  # type: ignore[arg-type] # drawn
    assert decode(encode(point, value), type=kind, order=order) == value


@given(st.integers(-32768, 32767))
def test_a_written_step_of_a_scale_reads_back(raw: int) -> None:
    settings: dict[str, Any] = {"type": "int16", "scale": 0.1, "offset": -5.0}
    point = McPoint(name="p", address="D0", **settings)
    value = raw * 0.1 - 5.0
    assert decode(encode(point, value), **settings) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("order", [*ORDERED, None])
def test_a_written_text_reads_back(order: str | None) -> None:
    settings: dict[str, Any] = {"type": "string", "length": 6, "order": order}
    point = McPoint(name="p", address="D0", **settings)
    assert decode(encode(point, "配方 2"), **settings) == "配方 2"


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"type": "int16"}, 32768),
        ({"type": "uint16"}, -1),
        ({"type": "int16"}, 1.5),
        ({"type": "int32"}, 100_000_000.4),
        ({"type": "int16", "scale": 0.1}, 1.23),
        ({"type": "int16"}, "7"),
        ({"type": "int16"}, True),
        ({"type": "float32"}, 1e300),
        ({"type": "bcd16"}, 10_000),
        ({"type": "bcd16"}, -1),
        ({"type": "string", "length": 2}, "12345"),
        ({"type": "string", "length": 2}, 7),
        ({"type": "string", "length": 2}, "a "),
        ({"type": "string", "length": 2}, "a\0b"),
        ({"type": "string", "length": 4}, "\ud800"),
        ({"type": "int16", "scale": 0.0}, 0),
        ({"type": "int16", "scale": 1e-10}, 1e308),
        ({"type": "float32", "scale": 1e-10}, 1e308),
        ({"type": "int64"}, 10**400),
        ({"type": "float64"}, 10**400),
        ({"type": "float64", "scale": 0.5}, 10**400),
        ({"type": "bcd32"}, 10**400),
        ({"type": "float64"}, float("nan")),
        ({"type": "int16"}, float("inf")),
    ],
)
def test_what_could_not_be_read_back_is_not_written(settings: dict[str, Any], value: Value) -> None:
    with pytest.raises(DoesNotFit):
        encode(McPoint(name="p", address="D0", **settings), value)


def test_a_bit_is_on_or_off() -> None:
    point = McPoint(name="p", address="M7", type="bool")
    assert [encode(point, value) for value in (True, False, 1, 0)] == [b"\1", b"\0", b"\1", b"\0"]
    with pytest.raises(DoesNotFit):
        encode(point, 2)
