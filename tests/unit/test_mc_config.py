"""What a collector file may say about Mitsubishi PLCs, and what it is told otherwise."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.addresses import AddressError
from collectors.contract.addresses_mc import (
    MC_PROFILES,
    McSeries,
    format_mc_address,
    parse_mc_address,
)
from collectors.contract.config import parse_collector
from collectors.contract.config_mc import McDevice, McPoint
from collectors.contract.config_problems import ConfigError, ConfigProblem
from collectors.contract.messages import LANGUAGES
from collectors.mitsubishi_mc.connection import access_of

SERIES = sorted(MC_PROFILES)


def problems(points: list[dict[str, Any]], **device: Any) -> list[ConfigProblem]:
    document = {
        "name": "line1",
        "protocol": "mitsubishi_mc",
        "devices": [{"id": "plc", "host": "10.0.0.1", "points": points, **device}],
    }
    try:
        parse_collector(document, file="line1.toml")
    except ConfigError as exc:
        return list(exc.problems)
    return []


def point(address: str, **settings: Any) -> dict[str, Any]:
    return {"name": address, "address": address, **settings}


@pytest.mark.parametrize(
    ("series", "text", "device", "number"),
    [
        ("Q", "D100", "D", 100),
        ("Q", "x1f", "X", 0x1F),
        ("Q", "XFF", "X", 0xFF),
        ("Q", "DX1F", "DX", 0x1F),
        ("Q", "BF", "B", 0xF),
        ("Q", "SB10", "SB", 0x10),
        ("Q", "WABC", "W", 0xABC),
        ("Q", "ZR393215", "ZR", 393215),
        ("Q", "Z15", "Z", 15),
        ("Q", "STN3", "STN", 3),
        ("Q", "S3", "S", 3),
        ("iQ-R", "X1F", "X", 0x1F),
        ("iQ-R", "LTN1023", "LTN", 1023),
        ("iQ-R", "D16777216", "D", 16777216),
        ("FX5", "X17", "X", 0o17),
        ("FX5", "Y1777", "Y", 0o1777),
        ("FX5", "B1F", "B", 0x1F),
    ],
)
def test_each_series_numbers_its_devices_in_its_own_way(
    series: McSeries, text: str, device: str, number: int
) -> None:
    address = parse_mc_address(text, series)
    assert (address.device, address.number) == (device, number)


@given(st.sampled_from(SERIES), st.data(), st.integers(0, 0xFFFFFF))
def test_a_formatted_address_reads_back(series: McSeries, data: st.DataObject, number: int) -> None:
    device = data.draw(st.sampled_from(sorted(MC_PROFILES[series].devices)))
    parsed = parse_mc_address(format_mc_address(device, number, series), series)
    assert (parsed.device, parsed.number, parsed.bit) == (device, number, None)


@given(st.text(max_size=12) | st.from_regex(r"[A-Z]{1,4}[0-9A-F]{1,12}(\.[0-9A-F])?"))
def test_no_text_breaks_the_parser(text: str) -> None:
    hints = set()
    for series in SERIES:
        try:
            parse_mc_address(text, series)
        except AddressError as exc:
            hints.add(exc.hint)
    assert hints <= {"mc_form", "mc_device", "mc_radix", "mc_number", "mc_bit"}


@pytest.mark.parametrize(
    ("series", "address", "says"),
    [
        ("FX5", "X18", "number X in base 8, which 18 is not"),
        ("FX5", "ZR0", "use a known device: B CC CN CS D F L M R"),
        ("Q", "LTN0", "use a known device: B CC"),
        ("iQ-R", "LTS0", "use a known device: B CC CN CS D DX DY F L LCC LCN"),
        ("Q", "DA0", "number D in base 10, which A0 is not"),
        ("Q", "D", "write device and number"),
        ("Q", "100", "write device and number"),
        ("Q", "Q7", "use a known device"),
        ("Q", "D16777216", "use a device number that fits in 24 bits"),
        ("iQ-R", "D4294967296", "use a device number that fits in 32 bits"),
        ("Q", "M5.3", "leave the bit away, M is not a word device"),
    ],
)
def test_a_bad_address_is_refused_with_its_key_and_a_remedy(
    series: str, address: str, says: str
) -> None:
    kind = {"X": "bool", "M": "bool", "L": "int32"}.get(address[0], "int16")
    [problem] = problems([point("D0"), point(address, type=kind)], series=series)
    assert problem.key == "devices[0].points[1].address"
    assert says in problem.text("en")
    for language in LANGUAGES:
        assert "{" not in problem.text(language)


def test_every_bad_address_is_told_at_once() -> None:
    found = problems([point("X8", type="bool"), point("D0"), point("ZR5")], series="FX5")
    assert [p.key for p in found] == [
        "devices[0].points[0].address",
        "devices[0].points[2].address",
    ]


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "too many words in ASCII code": (
        {"series": "FX5", "code": "ascii", "max_words": 481},
        {},
        "devices[0].max_words",
        "too_big",
    ),
    "too many random points": (
        {"series": "iQ-R", "max_random_points": 97},
        {},
        "devices[0].max_random_points",
        "too_big",
    ),
    "a code that only FX5 has": ({"code": "ascii_xy_hex"}, {}, "devices[0]", "code_needs_fx5"),
    "a register whose number two manuals write differently": (
        {"code": "ascii"},
        point("ZR16"),
        "devices[0].points[0].address",
        "zr_in_ascii",
    ),
    "an unknown series": ({"series": "FX3"}, {}, "devices[0].series", "not_one_of"),
    "a network past 255": ({"network": 256}, {}, "devices[0].network", "too_big"),
    "past the last word": (
        {},
        point("D16777215", type="int32"),
        "devices[0].points[0].address",
        "past_end",
    ),
    "more digits than an ASCII frame has": (
        {"code": "ascii"},
        point("D999999", type="int32"),
        "devices[0].points[0].address",
        "past_end",
    ),
    "more digits than an ASCII frame of an iQ has": (
        {"code": "ascii", "series": "iQ-R"},
        point("RD100000000"),
        "devices[0].points[0].address",
        "past_end",
    ),
    "more octal digits than an ASCII frame has": (
        {"code": "ascii", "series": "FX5"},
        point("X1000000", type="bool"),
        "devices[0].points[0].address",
        "past_end",
    ),
    "half of a long timer": (
        {"series": "iQ-R"},
        point("LTN0", type="int16"),
        "devices[0].points[0]",
        "double_word",
    ),
    "a number in a relay": ({}, point("M0", type="int16"), "devices[0].points[0]", "type_mismatch"),
    "a writable bit of a word": (
        {},
        point("D0.3", type="bool", writable=True),
        "devices[0].points[0]",
        "bit_not_writable",
    ),
    "a text longer than a request": (
        {"max_words": 4},
        point("D0", type="string", length=5),
        "devices[0].points[0]",
        "point_too_long",
    ),
}


@pytest.mark.parametrize(("device", "bad", "key", "code"), WRONG.values(), ids=WRONG)
def test_what_cannot_work_is_refused(
    device: dict[str, Any], bad: dict[str, Any], key: str, code: str
) -> None:
    [problem] = problems([bad or point("D0")], **device)
    assert (problem.key, problem.code) == (key, code)
    for language in LANGUAGES:
        assert "{" not in problem.text(language)


def test_writable_points_may_not_share_a_word() -> None:
    first = point("D0", type="int32", writable=True)
    [problem] = problems([first, point("D1", writable=True)])
    assert problem.code == "overlap"
    assert problems([first, point("D1"), point("D2", writable=True)]) == []
    assert problems([point(n, type="bool", writable=True) for n in ("M0", "M1")]) == []
    longs = [point(n, type="int32", writable=True) for n in ("LZ0", "LZ1")]
    assert problems(longs, series="iQ-R") == []


def test_limits_follow_series_and_code() -> None:
    def device(**settings: Any) -> McDevice:
        points = (McPoint(name="p", address="D0"),)
        return McDevice(id="plc", host="h", points=points, **settings)

    assert (device().word_limit, device().random_limit) == (960, 192)
    assert device(series="iQ-R").random_limit == 96
    fx5 = device(series="FX5", code="ascii")
    assert (fx5.word_limit, fx5.random_limit) == (480, 96)
    assert fx5.settle_s > 0
    assert device(series="FX5", connect_settle_s=0.0).settle_s == 0
    assert device(max_random_points=0).random_limit == 0


@pytest.mark.parametrize(
    ("settings", "timer"),
    [
        ({"timeout_s": 1.0}, 3),
        ({"timeout_s": 0.1}, 1),
        ({"timeout_s": 10.0}, 39),
        ({"monitoring_timer_s": 0.0}, 0),
        ({"monitoring_timer_s": 0.3}, 1),
        ({"monitoring_timer_s": 2.5}, 10),
        ({"monitoring_timer_s": 16383.75}, 65535),
    ],
)
def test_the_plc_gives_up_before_we_do_unless_told_otherwise(
    settings: dict[str, Any], timer: int
) -> None:
    device = McDevice(id="plc", host="h", points=(McPoint(name="p", address="D0"),), **settings)
    assert access_of(device).timer == timer
