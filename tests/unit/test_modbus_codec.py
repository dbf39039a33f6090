"""Modbus registers and bits become values."""

import math
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.addresses import AddressError, parse_modbus_address
from collectors.contract.config_modbus import ModbusDevice, ModbusPoint
from collectors.contract.points import Quality, Value
from collectors.modbus_tcp.codec import DoesNotFit, decoder, encode, half_mask, half_of
from collectors.modbus_tcp.plan import describe, plan
from collectors.runtime.values import reading

ORDERS = ("ABCD", "BADC", "CDAB", "DCBA")


def point(address: str, **settings: Any) -> ModbusPoint:
    return ModbusPoint(name="p", address=address, **settings)


def decode(registers: list[int], address: str = "holding:0", **settings: Any) -> Value | None:
    """Put two registers of rubbish in front, so that a wrong position shows."""
    payload = struct.pack(f">{len(registers) + 2}H", 0xDEAD, 0xBEEF, *registers)
    return decoder(point(address, **settings))(payload, 2)


def registers_of(big_endian: bytes, order: str) -> list[int]:
    """Lay out a value as its order says, step by step, unlike the codec."""
    words = [big_endian[i : i + 2] for i in range(0, len(big_endian), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


@pytest.mark.parametrize(
    ("order", "registers"),
    [
        ("ABCD", [0x41C8, 0x0000]),
        ("BADC", [0xC841, 0x0000]),
        ("CDAB", [0x0000, 0x41C8]),
        ("DCBA", [0x0000, 0xC841]),
    ],
)
def test_25_degrees_in_each_order(order: str, registers: list[int]) -> None:
    assert decode(registers, type="float32", order=order) == 25.0


@pytest.mark.parametrize(
    ("order", "registers"),
    [
        ("ABCD", [0x0102, 0x0304, 0x0506, 0x0708]),
        ("BADC", [0x0201, 0x0403, 0x0605, 0x0807]),
        ("CDAB", [0x0708, 0x0506, 0x0304, 0x0102]),
        ("DCBA", [0x0807, 0x0605, 0x0403, 0x0201]),
    ],
)
def test_64_bit_values_follow_the_rule_over_four_registers(
    order: str, registers: list[int]
) -> None:
    assert decode(registers, type="uint64", order=order) == 0x0102030405060708


@pytest.mark.parametrize(
    ("order", "value"), [("ABCD", 0x0102), ("CDAB", 0x0102), ("BADC", 0x0201), ("DCBA", 0x0201)]
)
def test_of_a_16_bit_value_only_the_bytes_can_be_swapped(order: str, value: int) -> None:
    assert decode([0x0102], type="uint16", order=order) == value


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
@pytest.mark.parametrize("order", ORDERS)
@given(st.data())
def test_every_number_comes_back_with_its_type(kind: str, order: str, data: st.DataObject) -> None:
    layout, values = NUMBERS[kind]
    value = data.draw(values)
    decoded = decode(registers_of(struct.pack(f">{layout}", value), order), type=kind, order=order)
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize("order", ORDERS)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10))
def test_every_text_comes_back(order: str, text: str) -> None:
    raw = text.encode()[:20]
    raw = raw.decode(errors="ignore").encode().ljust(20, b"\0")
    words = [raw[i : i + 2] for i in range(0, 20, 2)]
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    registers = [int.from_bytes(word, "big") for word in words]
    decoded = decode(registers, type="string", length=10, order=order)
    assert decoded == raw.rstrip(b"\0").decode().rstrip(" ")


def test_text_that_is_not_utf8_is_out_of_range() -> None:
    sample = reading("d/p", decode([0xFFFE], type="string", length=1), 1, 2)
    assert (sample.value, sample.quality) == (None, Quality.BAD_RANGE)


@pytest.mark.parametrize("word", [0x7FC0, 0x7F80, 0xFF80])
def test_not_a_number_and_infinity_are_out_of_range(word: int) -> None:
    decoded = decode([word, 0], type="float32")
    assert isinstance(decoded, float)
    assert not math.isfinite(decoded)
    assert reading("d/p", decoded, 1, 2).quality is Quality.BAD_RANGE


def test_a_scaled_number_that_overflows_is_out_of_range() -> None:
    decoded = decode([0x7F7F, 0xFFFF, 0, 0], type="float64", scale=1e308)
    assert reading("d/p", decoded, 1, 2).quality is Quality.BAD_RANGE


@pytest.mark.parametrize("bit", range(16))
def test_each_bit_of_a_register(bit: int) -> None:
    assert decode([1 << bit], f"holding:2.{bit}", type="bool") is True
    assert decode([0xFFFF ^ (1 << bit)], f"holding:2.{bit}", type="bool") is False


@given(st.lists(st.booleans(), min_size=1, max_size=64))
def test_packed_bits_have_the_first_in_the_least_significant_place(bits: list[bool]) -> None:
    payload = bytearray((len(bits) + 7) // 8)
    for i, bit in enumerate(bits):
        payload[i // 8] |= bit << (i % 8)
    read = decoder(point("coil:0", type="bool"))
    assert [read(bytes(payload), i) for i in range(len(bits))] == bits


def test_scale_and_offset_apply_to_numbers_only() -> None:
    assert decode([215], type="int16", scale=0.1, offset=-20) == pytest.approx(1.5)
    assert decode([1], "holding:0.0", type="bool", scale=5) is True
    assert decode([0x4142], type="string", scale=5) == "AB"


def test_a_whole_number_without_scale_stays_whole() -> None:
    assert type(decode([7], type="uint16")) is int
    assert type(decode([7], type="uint16", scale=2.0)) is float


def test_tables_are_read_apart_and_their_limits_kept() -> None:
    points = [
        replace(point("holding:0"), name="a"),
        replace(point("holding:17"), name="b"),
        replace(point("holding:34"), name="c"),
        replace(point("coil:0", type="bool"), name="d"),
        replace(point("coil:250", type="bool"), name="e"),
        replace(point("coil:600", type="bool"), name="f"),
    ]
    device = ModbusDevice(id="plc", host="h", max_gap=16, max_registers=30, points=tuple(points))
    described = [describe(block) for block in plan(device)["default"]]
    assert described == ["holding 0-17 (18)", "holding 34 (1)", "coil 0-250 (251)", "coil 600 (1)"]


WRITABLE_TYPES = (*NUMBERS, "float16", "bcd16", "bcd32")
LONG = (
    "ABCDEFGH", "BADCFEHG", "CDABGHEF", "DCBAHGFE", "EFGHABCD", "FEHGBADC", "GHEFCDAB", "HGFEDCBA",
)  # fmt: skip
VALUES = {kind: values for kind, (_, values) in NUMBERS.items()} | {
    "float16": st.floats(width=16, allow_nan=False),
    "bcd16": st.integers(0, 9999),
    "bcd32": st.integers(0, 99_999_999),
}


@pytest.mark.parametrize("kind", WRITABLE_TYPES)
@given(st.data())
def test_what_is_written_is_what_is_read(kind: str, data: st.DataObject) -> None:
    orders = (*ORDERS, *LONG) if kind in ("int64", "uint64", "float64") else ORDERS
    value = data.draw(VALUES[kind].filter(math.isfinite))
    given_point = point("holding:0", type=kind, order=data.draw(st.sampled_from(orders)))
    encoded = encode(given_point, value)
    assert isinstance(encoded, bytes)
    assert len(encoded) == 2 * given_point.words
    assert decoder(given_point)(b"\xde\xad" + encoded, 1) == value


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.sampled_from(["uint8h", "uint8l"]))
def test_half_a_register_is_written_without_the_other_half(
    held: int, value: int, kind: str
) -> None:
    """Function 22: (held AND keep) OR (set AND NOT keep), V1.1b3, 6.16."""
    half = point("holding:0", type=kind)
    encoded = encode(half, value)
    assert isinstance(encoded, bytes)
    keep, set_bits = half_mask(half, encoded)
    after = (held & keep) | (set_bits & ~keep)
    assert (after & 0xFF, after >> 8) == (
        (value, held >> 8) if kind == "uint8l" else (held & 0xFF, value)
    )
    assert half_of(half, after.to_bytes(2, "big")) == encoded
    assert decoder(half)(after.to_bytes(2, "big"), 0) == value


@given(st.integers(-300, 300), st.sampled_from([0.1, 0.01, -0.5, 3.0]))
def test_a_scaled_value_is_written_as_the_raw_number_that_gives_it(raw: int, scale: float) -> None:
    scaled_point = point("holding:0", type="int16", scale=scale, offset=-40.0)
    assert encode(scaled_point, raw * scale - 40.0) == struct.pack(">h", raw)


@pytest.mark.parametrize("order", ORDERS)
def test_text_is_written_as_it_is_read(order: str) -> None:
    text = point("holding:0", type="string", length=5, order=order)
    encoded = encode(text, "配方 1")
    assert isinstance(encoded, bytes)
    assert decoder(text)(encoded, 0) == "配方 1"


@pytest.mark.parametrize(
    ("settings", "value", "code"),
    [
        ({"type": "uint16"}, 65536, "does_not_fit"),
        ({"type": "uint16"}, -1, "does_not_fit"),
        ({"type": "uint16"}, 1.5, "does_not_fit"),
        ({"type": "int16", "scale": 0.5}, 0.2, "does_not_fit"),
        ({"type": "int16", "scale": 0.0}, 1, "does_not_fit"),
        ({"type": "float32"}, 1e39, "does_not_fit"),
        ({"type": "float16"}, 70000.0, "does_not_fit"),
        ({"type": "float64"}, math.inf, "does_not_fit"),
        ({"type": "bcd16"}, 10000, "does_not_fit"),
        ({"type": "bcd16"}, -1, "does_not_fit"),
        ({"type": "string", "length": 1}, "abc", "does_not_fit"),
        ({"type": "string", "length": 2}, "a\0b", "does_not_fit"),
        ({"type": "string", "length": 2}, "\ud800", "does_not_fit"),
        ({"type": "string", "length": 2}, 1, "wrong_type"),
        ({"type": "uint16"}, True, "wrong_type"),
        ({"type": "uint16"}, "1", "wrong_type"),
        ({"type": "uint8l"}, 256, "does_not_fit"),
        ({"type": "int8h"}, -129, "does_not_fit"),
    ],
)
def test_a_value_that_does_not_fit_its_point_is_refused(
    settings: dict[str, Any], value: Value, code: str
) -> None:
    with pytest.raises(DoesNotFit) as caught:
        encode(point("holding:0", **settings), value)
    assert caught.value.code == code


def test_a_bit_takes_only_true_and_false() -> None:
    coil = point("coil:0", type="bool")
    assert encode(coil, True) is True
    with pytest.raises(DoesNotFit, match="wrong_type"):
        encode(coil, 1)


@pytest.mark.parametrize(
    ("alias", "address"),
    [
        ("40101", "holding:100"),
        ("400101", "holding:100"),
        ("465536", "holding:65535"),
        ("30001", "input:0"),
        ("10005", "discrete:4"),
        ("00001", "coil:0"),
        ("40101.3", "holding:100.3"),
    ],
)
def test_the_numbers_of_manuals_are_addresses(alias: str, address: str) -> None:
    assert parse_modbus_address(alias) == parse_modbus_address(address)


@pytest.mark.parametrize("text", ["40000", "400000", "465537", "20001", "4010", "40101.16", "0"])
def test_a_number_that_is_in_no_manual_is_no_address(text: str) -> None:
    with pytest.raises(AddressError):
        parse_modbus_address(text)
