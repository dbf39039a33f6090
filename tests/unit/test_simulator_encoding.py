"""Values become words exactly as the order of bytes says, and come back unchanged."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.encoding import FLOAT32_MAX, Encoding, fit, problem_with

ORDERS = ("ABCD", "BADC", "CDAB", "DCBA")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("ABCD", (0x0A0B, 0x0C0D)),
        ("BADC", (0x0B0A, 0x0D0C)),
        ("CDAB", (0x0C0D, 0x0A0B)),
        ("DCBA", (0x0D0C, 0x0B0A)),
    ],
)
def test_the_order_names_the_bytes_of_a_32_bit_value_as_sent(order, words):
    assert Encoding(type="uint32", order=order).encode(0x0A0B0C0D) == words


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("ABCD", (0x0102, 0x0304, 0x0506, 0x0708)),
        ("BADC", (0x0201, 0x0403, 0x0605, 0x0807)),
        ("CDAB", (0x0708, 0x0506, 0x0304, 0x0102)),
        ("DCBA", (0x0807, 0x0605, 0x0403, 0x0201)),
    ],
)
def test_64_bit_values_follow_the_same_rule_over_four_words(order, words):
    assert Encoding(type="uint64", order=order).encode(0x0102030405060708) == words


@pytest.mark.parametrize(
    ("order", "word"), [("ABCD", 0x1234), ("CDAB", 0x1234), ("BADC", 0x3412), ("DCBA", 0x3412)]
)
def test_of_a_16_bit_value_only_the_bytes_can_be_swapped(order, word):
    assert Encoding(type="uint16", order=order).encode(0x1234) == (word,)


def test_the_words_of_a_text_keep_their_order():
    assert Encoding(type="string", length=3).encode("ABCD") == (0x4142, 0x4344, 0)
    swapped = Encoding(type="string", length=3, order="DCBA")
    assert swapped.encode("ABCD") == (0x4241, 0x4443, 0)
    assert swapped.decode((0x4241, 0x4443, 0)) == "ABCD"


def test_a_float32_is_the_ieee_754_bit_pattern():
    # 0x42F6E979 is 123.456 (IEEE 754 binary32).
    assert Encoding(type="float32").encode(123.456) == (0x42F6, 0xE979)
    assert Encoding(type="float32").decode((0x42F6, 0xE979)) == pytest.approx(123.456, abs=1e-5)


numbers = st.one_of(
    st.integers(min_value=-(2**70), max_value=2**70), st.floats(allow_nan=False), st.booleans()
)


@given(value=numbers, order=st.sampled_from(ORDERS), data=st.data())
def test_what_is_decoded_is_what_fits_the_type(value, order, data):
    kind = data.draw(
        st.sampled_from(
            ["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
        )
    )
    encoding = Encoding(type=kind, order=order)
    words = encoding.encode(value)
    assert len(words) == encoding.words
    assert all(0 <= word <= 0xFFFF for word in words)
    assert encoding.decode(words) == fit(value, kind)


@given(text=st.text(max_size=20).filter(lambda text: "\0" not in text))
def test_text_that_fits_comes_back(text):
    encoding = Encoding(type="string", length=max(1, (len(text.encode()) + 1) // 2))
    assert encoding.decode(encoding.encode(text)) == text


@pytest.mark.parametrize(
    ("kind", "value", "fitted"),
    [
        ("int16", 40000, 32767),
        ("int16", -40000, -32768),
        ("uint16", -1, 0),
        ("uint32", 2**40, 2**32 - 1),
        ("int64", math.inf, 2**63 - 1),
        ("uint16", 2.5, 2),
        ("uint16", 3.5, 4),
        ("float32", 1e39, FLOAT32_MAX),
        ("float32", 0.1, struct.unpack(">f", struct.pack(">f", 0.1))[0]),
        ("float32", math.inf, math.inf),
        ("bool", 0.49, False),
        ("bool", 0.5, True),
    ],
)
def test_values_are_clamped_and_rounded_to_their_type(kind, value, fitted):
    assert fit(value, kind) == fitted
    assert type(fit(value, kind)) is type(fitted)


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        (1, "bool", None),
        (2, "bool", "kind"),
        (True, "int16", "kind"),
        ("x", "int16", "kind"),
        (1, "string", "kind"),
        (70000, "int16", "range"),
        (1.5, "int16", "range"),
        (math.nan, "int16", "range"),
        (math.nan, "float32", None),
        (1e39, "float32", "range"),
        ("abcd", "string", None),
        ("abcde", "string", "text_too_long"),
        ("中文", "string", "text_too_long"),
    ],
)
def test_a_fixed_value_must_fit_its_type(value, kind, problem):
    assert problem_with(value, kind, 2) == problem
