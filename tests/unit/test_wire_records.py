"""Small records survive being written down, and nothing wrong is taken for one."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from collectors.contract import wire
from collectors.contract.heartbeat import ConnectionStatus, Heartbeat, parse_heartbeat
from collectors.contract.limits import Limits


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: Annotated[str, Limits(pattern=r"^[a-z]+$")]
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    version: Literal[1] = 1
    count: Annotated[int, Limits(ge=0, le=9)]
    ratio: Annotated[float, Limits(gt=0)] = 1.0
    is_on: bool = False
    colour: Colour = Colour.RED
    marks: tuple[float, ...] = ()
    parts: tuple[Part, ...] = field(default=())
    value: bool | int | float | str | None = None


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "count: this key is missing"),
        ({"count": True}, "count: a whole number is needed, not True"),
        ({"count": 1.0}, "count: a whole number is needed, not 1.0"),
        ({"count": "1"}, "count: a whole number is needed, not '1'"),
        ({"count": 10}, "count: 10 is not allowed"),
        ({"count": -1}, "count: -1 is not allowed"),
        ({"count": 1, "ratio": 0}, "ratio: 0 is not allowed"),
        ({"count": 1, "ratio": False}, "ratio: a number is needed, not False"),
        ({"count": 1, "ratio": 10**400}, "is too big"),
        ({"count": 1, "version": True}, "version: True is none of [1]"),
        ({"count": 1, "version": 2}, "version: 2 is none of [1]"),
        ({"count": 1, "is_on": 1}, "is_on: true or false is needed, not 1"),
        ({"count": 1, "colour": "green"}, "colour: 'green' is none of ['red', 'blue']"),
        ({"count": 1, "colour": []}, "colour: [] is none of ['red', 'blue']"),
        ({"count": 1, "marks": 1.0}, "marks: a list is needed, not 1.0"),
        ({"count": 1, "marks": [1, "x"]}, "marks[1]: a number is needed, not 'x'"),
        ({"count": 1, "parts": [{"name": "A"}]}, "parts[0].name: 'A' is not allowed"),
        ({"count": 1, "parts": [{}]}, "parts[0].name: this key is missing"),
        ({"count": 1, "parts": [3]}, "parts[0]: an object with keys is needed, not 3"),
        ({"count": 1, "parts": [{"name": "a", "at": "soon"}]}, "a time with its zone is needed"),
        ({"count": 1, "parts": [{"name": "a", "at": "2026-01-01T00:00"}]}, "with its zone"),
        ({"count": 1, "parts": [{"name": "a", "at": "0001-01-01T00:00+09:00"}]}, "with its zone"),
        ({"count": 1, "value": [1]}, "value: true or false is needed, not [1]"),
        ([], "an object with keys is needed, not []"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(document: Any, reason: str) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.decode(Record, json.dumps(document))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 5000, '{"count": NaN}', '{"count": 1' + "0" * 5000 + "}", b"\xff{}"]
)
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(wire.WireError, match="not JSON"):
        wire.decode(Record, text)


@given(st.binary(max_size=100))
def test_no_bytes_make_the_reader_fail(text: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(Record, text)


def test_an_unknown_key_is_passed_over_unless_that_is_forbidden() -> None:
    document = {"count": 1, "new": 2}
    assert wire.build(Record, document) == Record(count=1)
    with pytest.raises(wire.WireError, match="new: this key is not known"):
        wire.build(Record, document, forbid_unknown=True)


RECORDS = st.builds(
    Record,
    count=st.integers(0, 9),
    ratio=st.floats(1e-300, 1e300),
    is_on=st.booleans(),
    colour=st.sampled_from(Colour),
    marks=st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    parts=st.lists(
        st.builds(
            Part,
            name=st.from_regex(r"\A[a-z]{1,9}\Z"),
            at=st.none() | st.datetimes(timezones=st.just(UTC)),
        )
    ).map(tuple),
    value=st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e9, 1e9),
)


@given(RECORDS)
def test_a_record_survives_being_written_down(record: Record) -> None:
    text = wire.encode(record)
    assert b"\n" not in text
    read = wire.decode(Record, text)
    assert read == record
    assert type(read.value) is type(record.value)


@given(RECORDS)
def test_pydantic_reads_the_same(record: Record) -> None:
    assert TypeAdapter(Record).validate_json(wire.encode(record)) == record


def test_a_heartbeat_is_read_as_it_was_written() -> None:
    now = datetime(2026, 1, 31, 12, 0, 0, 250_000, UTC)
    beat = Heartbeat(
        collector="line1",
        protocol="modbus_tcp",
        pid=7,
        started_at=now,
        sequence=1,
        sent_at=now,
        config_revision="abc",
        connections=(
            ConnectionStatus(
                device_id="plc",
                device_ip="10.0.0.1",
                device_port=502,
                protocol_type="modbus",
                since=now,
                last_error="Verbindung \udcff 断开",
            ),
        ),
    )
    text = wire.encode(beat)
    assert b'"since":"2026-01-31T12:00:00.250000Z"' in text
    read = parse_heartbeat(text, "here")
    assert read.connections[0].last_error == "Verbindung ? 断开"
    assert read.started_at == now
