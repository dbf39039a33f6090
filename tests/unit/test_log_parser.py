"""Lines of other programs: their forms, their tracebacks, and what their errors have in common."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.logs import ErrorSeverity, LogLevel
from control_plane.logs.error_info import error_info_of, error_shape, grouped
from control_plane.logs.parser import MAX_SHOWN_CHARS, parse_line
from control_plane.logs.plain_formats import is_open, joined

AT = datetime(2026, 1, 31, 8, 0, 0, 125000, tzinfo=UTC)
TRACE = b"""Traceback (most recent call last):
  File "/srv/app/runner.py", line 12, in run
    poll()
  File "/srv/app/link.py", line 40, in poll
    raise OSError("boom")
OSError: boom"""


@pytest.mark.parametrize(
    ("line", "level", "message", "logger"),
    [
        ("T INFO spawned: 'a' with pid 7", "INFO", "spawned: 'a' with pid 7", None),
        ("2026-01-31T08:00:00.125+00:00 CRIT could not bind", "CRITICAL", "could not bind", None),
        ("T WARN exited: a (exit status 1)", "WARNING", "exited: a (exit status 1)", None),
        ("T - app.link - ERROR - no answer", "ERROR", "no answer", "app.link"),
        ("T ERROR app.link: no answer", "ERROR", "no answer", "app.link"),
        ("[2026-01-31T08:00:00.125+0000] [77] [WARNING] slow", "WARNING", "slow", None),
        ("T DEBG fd 7 closed", "DEBUG", "fd 7 closed", None),
        ("T pump stopped with ERROR 5", "ERROR", "pump stopped with ERROR 5", None),
    ],
)
def test_usual_forms_are_taken_apart(
    line: str, level: str, message: str, logger: str | None
) -> None:
    entry = parse_line(re.sub("^T", "2026-01-31T08:00:00.125Z", line).encode(), "p")
    assert (entry.timestamp, entry.level, entry.message) == (AT, level, message)
    assert entry.fields.get("logger") == logger


def test_a_form_without_a_time_has_its_level_and_logger() -> None:
    entry = parse_line(b"ERROR:pymodbus.logging:No response", "p")
    assert (entry.level, entry.message) == (LogLevel.ERROR, "No response")
    assert (entry.timestamp, entry.fields) == (None, {"logger": "pymodbus.logging"})


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ({"time": 1769846400.125, "severity": "warn", "msg": "x"}, "WARNING"),
        ({"@timestamp": AT.isoformat(), "levelname": "FATAL", "message": "x"}, "CRITICAL"),
        ({"timestamp": 1769846400125, "level": 40, "event": "x"}, "ERROR"),
    ],
)
def test_json_of_other_loggers_is_understood(line: dict[str, object], level: str) -> None:
    entry = parse_line(json.dumps(line).encode(), "p")
    assert (entry.timestamp, entry.level, entry.message) == (AT, level, "x")


def test_a_traceback_belongs_to_the_line_of_its_logger() -> None:
    lines = [b"INFO:a:before", b"ERROR:a:poll failed", *TRACE.split(b"\n"), b"INFO:a:after"]
    before, failed, after = (parse_line(entry, "p") for entry in joined(lines))
    assert (before.message, after.message) == ("before", "after")
    assert (failed.message, failed.level) == ("poll failed", LogLevel.ERROR)
    assert (failed.source_file, failed.line_number) == ("link.py", 40)
    assert failed.exception_info is not None
    assert failed.exception_info.endswith("OSError: boom")


def test_an_uncaught_exception_is_an_error_named_by_its_last_line() -> None:
    chained = TRACE + b"\n\nDuring handling of the above exception, another exception occurred:\n\n"
    lines = [b'{"event": "x"}', *(chained + TRACE.replace(b"boom", b"twice")).split(b"\n")]
    _, uncaught = (parse_line(entry, "p") for entry in joined(lines))
    assert (uncaught.level, uncaught.message) == (LogLevel.ERROR, "OSError: twice")


def test_a_traceback_that_was_cut_waits_for_its_end() -> None:
    assert is_open(TRACE.rpartition(b"\n")[0])
    assert not is_open(TRACE)
    assert not is_open(b"ERROR:a:poll failed")


@given(st.lists(st.sampled_from([*TRACE.split(b"\n"), b"", b"INFO x", b'{"a": 1}', b"\xff"])))
def test_joining_loses_and_adds_no_line(lines: list[bytes]) -> None:
    assert b"\n".join(joined(lines)) == b"\n".join(lines)


@given(st.binary(max_size=2000).map(lambda tail: b"Traceback (most recent call last):\n" + tail))
def test_any_bytes_in_a_traceback_give_an_entry(entry: bytes) -> None:
    error_info_of(parse_line(entry, "p"))
    is_open(entry)


def test_a_line_of_a_megabyte_is_cut_and_says_so() -> None:
    for line in (b"x" * 1_000_000, json.dumps({"event": "x" * 1_000_000}).encode()):
        message = parse_line(line, "p").message
        assert message[MAX_SHOWN_CHARS:] == f" … [+{1_000_000 - MAX_SHOWN_CHARS}]"


def error(message: str, **fields: object) -> bytes:
    line = {"ts": "2026-01-31T08:00:00.125Z", "level": "ERROR", "event": message, **fields}
    return json.dumps(line).encode()


def test_errors_that_differ_in_numbers_only_are_one_kind() -> None:
    lines = [error(f"no answer from 10.0.0.{n}:502 at 0x7f{n:x} after {n} ms") for n in range(5)]
    found = [error_info_of(parse_line(line, "p")) for line in (*lines, error("disk full"))]
    first, second = grouped(info for info in found if info is not None)
    assert (first.newest.error_message, first.count) == ("disk full", 1)
    assert (second.count, second.first_at, second.last_at) == (5, AT, AT)


def test_an_error_says_its_kind_its_place_and_what_to_do() -> None:
    trace = TRACE.replace(b"OSError: boom", b"app.ConnectionLost: timed out").decode()
    line = error("poll failed", exception=trace, source="link.py:40", device="press1")
    info = error_info_of(parse_line(line, "p"))
    assert info is not None
    assert (info.error_type, info.error_message) == ("ConnectionLost", "poll failed: timed out")
    assert (info.severity, info.suggested_action) == (ErrorSeverity.WARNING, "check_device")
    assert info.context == {"device": "press1", "source_file": "link.py", "line_number": 40}
    assert error_info_of(parse_line(b"INFO fine", "p")) is None


@given(st.text(max_size=200))
def test_a_shape_has_no_digits_left(text: str) -> None:
    assert not any(c in "0123456789" for c in error_shape(text))
