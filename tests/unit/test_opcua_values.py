"""OPC UA data values become samples without losing status or time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua

from collectors.contract.points import Quality, Sample
from collectors.opcua.values import reading_of, sample_of
from collectors.runtime.values import scaler

READ_NS, RECEIVED_NS = 1_700_000_000_000_000_000, 1_700_000_000_500_000_000


def sample(value: Any = None, scale: float = 1.0, offset: float = 0.0, **settings: Any) -> Sample:
    variant = value if isinstance(value, ua.Variant) else ua.Variant(value)
    data = ua.DataValue(variant, **settings)
    reading = reading_of(data)
    return sample_of("plc/p", reading, scaler(scale, offset), READ_NS, RECEIVED_NS)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, ua.VariantType.Boolean),
        (-7, ua.VariantType.SByte),
        (2**64 - 1, ua.VariantType.UInt64),
        (1.5, ua.VariantType.Float),
        (-2.25, ua.VariantType.Double),
        ("压力", ua.VariantType.String),
    ],
)
def test_scalars_keep_value_and_plain_type(value: Any, kind: ua.VariantType) -> None:
    got = sample(ua.Variant(value, kind))
    assert (got.value, got.quality, got.code) == (value, Quality.GOOD, 0)
    assert type(got.value) is type(value)


def test_the_librarys_own_text_type_does_not_leave_the_driver() -> None:
    assert type(sample(ua.Variant(ua.String("a"), ua.VariantType.String)).value) is str


@pytest.mark.parametrize(
    "variant",
    [
        ua.Variant([1, 2], ua.VariantType.Int32),
        ua.Variant(datetime(2024, 1, 1, tzinfo=UTC), ua.VariantType.DateTime),
        ua.Variant(b"x", ua.VariantType.ByteString),
        ua.Variant(ua.LocalizedText("x"), ua.VariantType.LocalizedText),
        ua.Variant(None, ua.VariantType.String),
        ua.Variant(),
        ua.Variant(float("nan"), ua.VariantType.Double),
        ua.Variant(float("inf"), ua.VariantType.Float),
    ],
)
def test_what_is_no_single_measurement_is_out_of_range(variant: ua.Variant) -> None:
    got = sample(variant)
    assert (got.value, got.quality) == (None, Quality.BAD_RANGE)


@pytest.mark.parametrize(
    ("status", "quality"),
    [
        (0x8034_0000, Quality.BAD_CONFIG),  # BadNodeIdUnknown
        (0x8034_0400, Quality.BAD_CONFIG),  # the same with an info bit
        (0x801F_0000, Quality.BAD_CONFIG),  # BadUserAccessDenied
        (0x808A_0000, Quality.BAD_DEVICE),  # BadNotConnected
        (0x803C_0000, Quality.BAD_RANGE),  # BadOutOfRange
        (0xC000_0000, Quality.BAD_DEVICE),  # reserved, to be treated as bad
    ],
)
def test_a_bad_status_has_no_value_but_its_code(status: int, quality: Quality) -> None:
    # read_values() of the library gives 0.0 here, as if it were measured.
    got = sample(0.0, StatusCode=ua.StatusCode(status))
    assert (got.value, got.quality, got.code) == (None, quality, status)


def test_an_uncertain_value_is_kept_and_marked() -> None:
    got = sample(3.5, scale=2.0, StatusCode=ua.StatusCode(0x4090_0000))
    assert (got.value, got.quality, got.code) == (7.0, Quality.UNCERTAIN, 0x4090_0000)


def test_a_good_status_with_details_stays_good() -> None:
    got = sample(1, StatusCode=ua.StatusCode(0x0030_0000))
    assert (got.value, got.quality, got.code) == (1, Quality.GOOD, 0x0030_0000)


def test_an_absent_status_is_good() -> None:
    assert sample(1, StatusCode=None).quality is Quality.GOOD


def test_scale_and_offset_apply_to_numbers_only() -> None:
    assert sample(10, scale=0.5, offset=1).value == 6.0
    assert sample(True, scale=5).value is True
    assert sample("a", scale=5).value == "a"


def test_the_servers_source_time_is_kept_to_the_microsecond() -> None:
    at = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    got = sample(1, SourceTimestamp=at)
    assert got.source_ns == int(at.replace(microsecond=0).timestamp()) * 10**9 + 123_456_000
    assert got.received_ns == RECEIVED_NS


@pytest.mark.parametrize(
    "at", [None, datetime(1601, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
)
def test_without_a_source_time_the_middle_of_the_request_stands_in(at: datetime | None) -> None:
    assert sample(1, SourceTimestamp=at).source_ns == READ_NS


def test_a_source_time_without_a_zone_is_utc() -> None:
    naive = datetime(2024, 5, 6, tzinfo=UTC).replace(tzinfo=None)
    epoch = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    assert (
        sample(1, SourceTimestamp=naive).source_ns
        == (naive - epoch) // timedelta(microseconds=1) * 1000
    )
