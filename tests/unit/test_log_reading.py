import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.logs import LogLevel
from control_plane.errors import BadRequest
from control_plane.logs.error_counter import ErrorCounter
from control_plane.logs.follower import Cursor, read_after, read_tail
from control_plane.logs.parser import parse_line

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


def test_a_json_line_becomes_an_entry_with_its_facts() -> None:
    line = {
        "ts": "2026-01-31T08:00:00.125Z",
        "level": "ERROR",
        "event": "设备断开",
        "source": "runner.py:12",
        "device": "press1",
        "exception": "Traceback\n  boom",
    }
    entry = parse_line(json.dumps(line, ensure_ascii=False).encode(), "line1")
    assert entry.timestamp == datetime(2026, 1, 31, 8, 0, 0, 125000, tzinfo=UTC)
    assert (entry.level, entry.message) == (LogLevel.ERROR, "设备断开")
    assert (entry.source_file, entry.line_number) == ("runner.py", 12)
    assert entry.exception_info == "Traceback\n  boom"
    assert entry.fields == {"device": "press1"}


def test_plain_text_gets_the_level_of_its_first_level_word() -> None:
    assert parse_line(b"2026 WARN low on paper, ERROR soon", "p").level is LogLevel.WARNING


@given(st.binary(max_size=300))
def test_any_bytes_give_an_entry_without_control_characters(line: bytes) -> None:
    entry = parse_line(line, "p")
    assert not any(ord(c) < 32 and c != "\t" for c in entry.message)
    assert "\x1b" not in entry.message


@given(st.text(alphabet="\x1b[31m<img>\u202e\x9b\r\n", max_size=40))
def test_escape_sequences_inside_json_are_made_visible(text: str) -> None:
    entry = parse_line(json.dumps({"event": text}).encode(), "p")
    assert not set(entry.message) & set("\x1b\x9b\u202e\r\n")


def test_every_line_is_read_once_across_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    log.write_bytes(b"one\ntwo\nthr")
    start = read_tail(log, 10)
    assert start.lines == (b"one", b"two")
    with log.open("ab") as file:
        file.write(b"ee\nfour\n")
    log.rename(tmp_path / "p.log.1")
    log.write_bytes(b"five\n")
    after = read_after(log, start.cursor, 100)
    assert after.lines == (b"three", b"four", b"five")
    assert not after.reset
    assert read_after(log, after.cursor, 100).lines == ()


def test_a_lost_place_is_reported_and_reading_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    log.write_bytes(b"one\ntwo\n")
    cursor = read_tail(log, 10).cursor
    log.write_bytes(b"new\n")
    again = read_after(log, Cursor(cursor.inode + 1, 5), 100)
    assert (again.lines, again.reset) == ((b"new",), True)


@given(
    st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")), max_size=30), st.data()
)
def test_any_cut_of_the_writing_gives_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject
) -> None:
    log = tmp_path_factory.mktemp("log") / "p.log"
    text = b"".join(line + b"\n" for line in lines)
    log.write_bytes(b"")
    cursor, read = read_tail(log, 1).cursor, []
    written = 0
    while written < len(text):
        step = data.draw(st.integers(1, len(text) - written))
        with log.open("ab") as file:
            file.write(text[written : written + step])
        written += step
        got = read_after(log, cursor, data.draw(st.integers(1, 5)))
        cursor, read = got.cursor, read + list(got.lines)
    while more := read_after(log, cursor, 3).lines:
        read += more
        cursor = read_after(log, cursor, 3).cursor
    assert read == lines


@pytest.mark.parametrize("text", ["", "1", "a-b", "1-2-3", "٣-1", "1" * 50 + "-1"])
def test_a_cursor_that_we_did_not_give_out_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        Cursor.parse(text)


def test_error_lines_are_counted_by_their_own_time(tmp_path: Path) -> None:
    def line(level: str, minutes_ago: float) -> str:
        at = (NOW - timedelta(minutes=minutes_ago)).isoformat()
        return json.dumps({"ts": at, "level": level, "event": f"{level} {minutes_ago}"}) + "\n"

    log = tmp_path / "p.log"
    log.write_text(line("ERROR", 25 * 60) + line("ERROR", 60) + line("INFO", 1) + line("ERROR", 1))
    counter = ErrorCounter(lambda name: tmp_path / f"{name}.log")
    counter.look("p", NOW)
    assert counter.count("p", NOW) == 2
    assert counter.count("p", NOW, timedelta(minutes=5)) == 1
    with log.open("a") as file:
        file.write(line("CRITICAL", 0))
    counter.look("p", NOW)
    assert counter.count("p", NOW) == 3
    assert counter.last_error("p").message == "CRITICAL 0"
    assert counter.count("unknown", NOW) == 0
