"""The fast decoder gives what asyncua's decoder gives, and never more."""

import math
import struct
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from collectors.opcua import codec
from collectors.opcua.codec import DamagedAnswer, publish_response, read_response
from collectors.opcua.values import Reading, reading_of

INTEGERS = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}


def of_kind(kind: ua.VariantType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[ua.Variant]:
    return values.map(lambda value: ua.Variant(value, kind))


VARIANTS = st.one_of(
    *(of_kind(kind, st.integers(low, high)) for kind, (low, high) in INTEGERS.items()),
    of_kind(ua.VariantType.Boolean, st.booleans()),
    of_kind(ua.VariantType.Double, st.floats()),
    of_kind(ua.VariantType.Float, st.floats(width=32)),
    of_kind(ua.VariantType.String, st.none() | st.text()),
    of_kind(ua.VariantType.ByteString, st.none() | st.binary()),
    of_kind(ua.VariantType.Guid, st.uuids()),
    of_kind(ua.VariantType.DateTime, st.just(datetime(2024, 1, 1, tzinfo=UTC))),
    of_kind(ua.VariantType.Double, st.lists(st.floats(), max_size=3)),
    of_kind(ua.VariantType.LocalizedText, st.text().map(ua.LocalizedText)),
    st.just(ua.Variant()),
)
# hypothesis wants these without a zone.
FIRST = datetime(1601, 1, 1, tzinfo=UTC).replace(tzinfo=None)
LAST = datetime(9999, 12, 30, tzinfo=UTC).replace(tzinfo=None)
TIMES = st.none() | st.datetimes(FIRST, LAST, timezones=st.just(UTC))
DATA_VALUES = st.builds(
    ua.DataValue,
    Value=VARIANTS,
    StatusCode=st.none() | st.sampled_from([0, 0x480, 0x4090_0000, 0x8034_0000]).map(ua.StatusCode),
    SourceTimestamp=TIMES,
    ServerTimestamp=TIMES,
)


def encoded(values: list[ua.DataValue]) -> bytes:
    return struct_to_binary(ua.ReadResponse(Results=values))


def by_asyncua(data: bytes) -> list[Reading]:
    response = struct_from_binary(ua.ReadResponse, Buffer(data))
    return [reading_of(value) for value in response.Results]


def exactly(readings: list[Reading]) -> list[tuple[str, str, int, int]]:
    """Tell -0.0 from 0.0, True from 1 and a NaN from nothing."""
    return [(type(v).__name__, repr(v), status, at_ns) for v, status, at_ns in readings]


@given(st.lists(DATA_VALUES, max_size=6))
def test_a_read_response_is_decoded_as_asyncua_does(values: list[ua.DataValue]) -> None:
    data = encoded(values)
    assert exactly(read_response(data)) == exactly(by_asyncua(data))


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), DATA_VALUES), min_size=1, max_size=6))
def test_a_publish_response_is_decoded_as_asyncua_does(
    changes: list[tuple[int, ua.DataValue]],
) -> None:
    data = published(changes)
    found = publish_response(data)
    response = struct_from_binary(ua.PublishResponse, Buffer(data))
    (part,) = response.Parameters.NotificationMessage.NotificationData
    assert list(found.handles) == [handle for handle, _ in changes]
    assert exactly(found.readings) == exactly(
        [reading_of(item.Value) for item in part.MonitoredItems]
    )
    assert (found.subscription_id, found.sequence_number) == (7, 42)
    assert not found.is_keep_alive


def published(changes: list[tuple[int, ua.DataValue]], **header: Any) -> bytes:
    items = [ua.MonitoredItemNotification(ClientHandle=h, Value=value) for h, value in changes]
    message = ua.NotificationMessage(
        SequenceNumber=42, NotificationData=[ua.DataChangeNotification(MonitoredItems=items)]
    )
    result = ua.PublishResult(
        SubscriptionId=7, AvailableSequenceNumbers=[40, 41, 42], NotificationMessage=message
    )
    return struct_to_binary(
        ua.PublishResponse(ResponseHeader=ua.ResponseHeader(**header), Parameters=result)
    )


@given(st.lists(DATA_VALUES, min_size=1, max_size=4), st.data())
def test_a_cut_or_damaged_answer_is_an_error_or_what_asyncua_makes_of_it(
    values: list[ua.DataValue], draw: st.DataObject
) -> None:
    data = bytearray(encoded(values))
    if draw.draw(st.booleans()):
        del data[draw.draw(st.integers(0, len(data) - 1)) :]
    else:
        data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    try:
        found = read_response(bytes(data))
    except (DamagedAnswer, ua.UaStatusCodeError):
        return
    assert exactly(found) == exactly(by_asyncua(bytes(data)))


def test_usual_values_never_reach_the_slow_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the slow decoder was used")

    now = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    values = [
        ua.DataValue(ua.Variant(1.5), SourceTimestamp=now, ServerTimestamp=now),
        ua.DataValue(ua.Variant(True), SourceTimestamp=now),
        ua.DataValue(ua.Variant("压力"), StatusCode=ua.StatusCode(0x4090_0000)),
        ua.DataValue(StatusCode=ua.StatusCode(0x8034_0000), ServerTimestamp=now),
    ]
    data, publication = encoded(values), published([(1, values[0])])
    monkeypatch.setattr(codec, "struct_from_binary", refuse)
    at_ns = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert read_response(data) == [
        (1.5, 0, at_ns),
        (True, 0, at_ns),
        ("压力", 0x4090_0000, 0),
        (None, 0x8034_0000, at_ns),
    ]
    assert publish_response(publication).readings == [(1.5, 0, at_ns)]


def test_bytes_that_are_no_text_are_no_value() -> None:
    data = encoded([ua.DataValue(ua.Variant("ab"))]).replace(b"ab", b"\xff\xfe")
    assert read_response(data) == by_asyncua(data) == [(None, 0, 0)]


def test_answers_with_diagnostics_are_understood_too() -> None:
    diagnostics = ua.DiagnosticInfo(AdditionalInfo="why")
    header = ua.ResponseHeader(ServiceDiagnostics=diagnostics, StringTable=["x"])
    response = ua.ReadResponse(ResponseHeader=header, Results=[ua.DataValue(ua.Variant(5))])
    response.DiagnosticInfos = [diagnostics]
    assert [value for value, _, _ in read_response(struct_to_binary(response))] == [5]
    data = published([(3, ua.DataValue(ua.Variant(5)))], ServiceDiagnostics=diagnostics)
    assert publish_response(data).handles[0] == 3


def test_a_keep_alive_brings_nothing_but_the_next_number() -> None:
    message = ua.NotificationMessage(SequenceNumber=8, NotificationData=[])
    result = ua.PublishResult(SubscriptionId=7, NotificationMessage=message)
    found = publish_response(struct_to_binary(ua.PublishResponse(Parameters=result)))
    assert (found.is_keep_alive, found.sequence_number, found.readings) == (True, 8, [])


def test_the_end_of_a_subscription_is_told() -> None:
    ended = ua.StatusChangeNotification(Status=ua.StatusCode(0x800A_0000))
    message = ua.NotificationMessage(SequenceNumber=8, NotificationData=[ended])
    result = ua.PublishResult(SubscriptionId=7, NotificationMessage=message)
    found = publish_response(struct_to_binary(ua.PublishResponse(Parameters=result)))
    assert found.ended == 0x800A_0000


def test_a_fault_is_raised_with_its_status() -> None:
    fault = ua.ServiceFault(
        ResponseHeader=ua.ResponseHeader(ServiceResult=ua.StatusCode(0x8025_0000))
    )
    for decode in (read_response, publish_response):
        with pytest.raises(ua.uaerrors.BadSessionIdInvalid):
            decode(struct_to_binary(fault))


def test_a_node_id_as_large_as_a_guid_does_not_hide_a_value() -> None:
    value = ua.DataValue(ua.Variant(ua.NodeId(uuid.UUID(int=5), 2)))
    after = ua.DataValue(ua.Variant(math.pi))
    assert [v for v, _, _ in read_response(encoded([value, after]))] == [None, math.pi]


def test_picoseconds_stand_where_the_specification_puts_them() -> None:
    # OPC 10000-6, Table 26: value, status, source time, source picoseconds, server time, ...
    ticks = (1_714_979_289_000_000_000 // 100) + 116_444_736_000_000_000
    value = struct.pack("<BBdqHqH", 0x3D, 11, 2.5, 0, 9999, ticks, 9999)
    data = encoded([ua.DataValue()])[: len(encoded([])) - 8] + struct.pack("<i", 2) + 2 * value
    assert read_response(data + struct.pack("<i", 0)) == 2 * [(2.5, 0, 1_714_979_289_000_000_000)]
