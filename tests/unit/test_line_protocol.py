"""Line protocol keeps every type, escapes every name, never sends what would be misread."""

import pytest

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import Batch, decode, encode
from collectors.history.line_protocol import INFLUX, VICTORIA, encode_lines

_AT_NS = 1_795_435_200_123_456_789


def sample(value: Value | None, point: str = "press/temp", **changes: object) -> Sample:
    facts = {
        "point": point,
        "value": value,
        "quality": Quality.GOOD if value is not None else Quality.BAD_TIMEOUT,
        "source_ns": _AT_NS,
        "received_ns": _AT_NS + 1500,
    }
    return Sample(**facts | changes)  # type: ignore[arg-type] # facts of a sample


def batch(*samples: Sample) -> Batch:
    return decode(encode(samples))


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (20.5, "float=20.5"),
        (1e300, "float=1e+300"),
        (0.1 + 0.2, "float=0.30000000000000004"),
        (7, "int=7i"),
        (-(2**63), "int=-9223372036854775808i"),
        (2**63 - 1, "int=9223372036854775807i"),
        (2**63, "uint=9223372036854775808u"),
        (2**64 - 1, "uint=18446744073709551615u"),
        (True, "bool=true"),
        (False, "bool=false"),
        ("run", 'text="run"'),
        ('say "a\\b"', r'text="say \"a\\b\""'),
        ("", 'text=""'),
    ],
)
def test_every_type_of_value_has_a_field_of_its_own(value: Value, field: str) -> None:
    encoded = encode_lines("line1", batch(sample(value)), INFLUX)
    expected = f"daq,collector=line1,device=press,point=temp {field},delay_ns=1500i {_AT_NS}"
    assert encoded.lines == [expected]
    assert not encoded.refusals


def test_quality_and_code_are_there_when_they_say_something() -> None:
    encoded = encode_lines(
        "line1",
        batch(
            sample(1.5, quality=Quality.UNCERTAIN),
            sample(None, code=11),
            sample(2.5, code=3),
        ),
        VICTORIA,
    )
    fields = [line.split(" ")[1] for line in encoded.lines]
    assert fields == ["float=1.5,quality=1i", "quality=3i,code=11i", "float=2.5,code=3i"]


@pytest.mark.parametrize(
    ("name", "influx", "victoria"),
    [
        ("a b", r"a\ b", r"a\ b"),
        ("a,b=c", r"a\,b\=c", r"a\,b\=c"),
        ("温度", "温度", "温度"),
        ('x"y', 'x"y', 'x"y'),
        (r"a\b", r"a\b", r"a\\b"),
    ],
)
def test_names_are_escaped_as_each_store_reads_them(name: str, influx: str, victoria: str) -> None:
    for dialect, written in ((INFLUX, influx), (VICTORIA, victoria)):
        encoded = encode_lines("line1", batch(sample(1.5, f"press/{name}")), dialect)
        assert encoded.lines[0].startswith(f"daq,collector=line1,device=press,point={written} ")


def test_a_name_that_influxdb_cannot_write_is_refused_and_the_others_are_kept() -> None:
    encoded = encode_lines("line1", batch(sample(1.5), sample(2.5, "press/end\\")), INFLUX)
    assert [bool(line) for line in encoded.lines] == [True, False]
    assert "backslash" in encoded.refusals[1]


def test_a_store_of_numbers_gets_no_text_as_it_would_keep_a_zero() -> None:
    encoded = encode_lines("line1", batch(sample("run"), sample(1.5)), VICTORIA)
    assert [bool(line) for line in encoded.lines] == [False, True]
    assert "numbers only" in encoded.refusals[0]


@pytest.mark.parametrize(
    ("value", "is_exact"),
    [(2**53, True), (2**53 + 1, False), (2**60, True), (-(2**53) - 1, False), (2**64 - 1, False)],
)
def test_an_integer_that_a_double_rounds_is_uncertain(value: int, is_exact: bool) -> None:
    (line,) = encode_lines("line1", batch(sample(value)), VICTORIA).lines
    assert (",quality=1i" not in line) is is_exact


def test_a_device_clock_that_cannot_be_right_gives_way_to_ours() -> None:
    year_ago_ns = _AT_NS - 365 * 86_400 * 10**9
    (line,) = encode_lines("line1", batch(sample(1.5, source_ns=year_ago_ns)), INFLUX).lines
    assert line.endswith(f" float=1.5,quality=1i,delay_ns=0i {_AT_NS + 1500}")


def test_no_sample_can_carry_a_number_that_is_none() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not a measurement"):
            sample(value)
