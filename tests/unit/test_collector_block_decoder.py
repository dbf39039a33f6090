"""A block decoded at once gives what its points give one by one."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.contract.config_modbus import ModbusDevice, ModbusPoint
from collectors.contract.points import Value
from collectors.modbus_tcp.plan import plan
from collectors.runtime.block_decoder import compile_block

NUMBERS = (
    "int8h", "int8l", "uint8h", "uint8l", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "bcd16", "bcd32",
)  # fmt: skip
SHORT = ("ABCD", "BADC", "CDAB", "DCBA")
LONG = (
    "ABCDEFGH", "BADCFEHG", "CDABGHEF", "DCBAHGFE", "EFGHABCD", "FEHGBADC", "GHEFCDAB", "HGFEDCBA",
)  # fmt: skip


@st.composite
def points(draw: st.DrawFn) -> list[ModbusPoint]:
    found = []
    for number in range(draw(st.integers(1, 20))):
        kind = draw(st.sampled_from((*NUMBERS, "bool", "string")))
        is_long = kind in ("int64", "uint64", "float64")
        settings_of: dict[str, Any] = {
            "type": kind,
            "order": draw(st.sampled_from(SHORT + LONG if is_long else SHORT)),
            "scale": draw(st.sampled_from([1.0, 0.1, -2.0])),
            "offset": draw(st.sampled_from([0.0, 5.0])),
            "address": f"holding:{draw(st.integers(0, 50))}",
        }
        if kind == "bool":
            settings_of["address"] += f".{draw(st.integers(0, 15))}"
        if kind == "string":
            settings_of["length"] = draw(st.integers(1, 4))
        found.append(ModbusPoint(name=f"p{number}", **settings_of))
    return found


def finite(value: Value | None) -> Value | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(max_examples=150)
@given(points(), st.binary(min_size=120, max_size=120))
def test_all_at_once_is_the_same_as_one_by_one(
    given_points: list[ModbusPoint], memory: bytes
) -> None:
    device = ModbusDevice(id="plc", host="h", max_gap=60, points=tuple(given_points))
    (block,) = plan(device)["default"]
    payload = memory[2 * block.start : 2 * (block.start + block.count)]
    values, all_good = compile_block(block)(payload)
    alone = [finite(f.decode(payload, f.start - block.start)) for f in block.fields]
    assert values == alone
    assert [type(value) for value in values] == [type(value) for value in alone]
    assert all_good is (None not in values)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 2000])
def test_packed_bits_are_decoded_in_their_order(count: int) -> None:
    bits = [bool(n * n % 3) for n in range(count)]
    payload = bytearray((count + 7) // 8)
    for n, bit in enumerate(bits):
        payload[n // 8] |= bit << n % 8
    coils = [ModbusPoint(name=f"c{n}", address=f"coil:{n}", type="bool") for n in range(count)]
    device = ModbusDevice(id="plc", host="h", points=tuple(coils))
    (block,) = plan(device)["default"]
    assert compile_block(block)(bytes(payload)) == (bits, True)
