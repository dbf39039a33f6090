import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from control_plane.domain.logs import LogEntry, LogLevel
from control_plane.errors import BadRequest
from control_plane.logs.error_counter import ErrorCounter
from control_plane.logs.follower import Cursor, read_after, read_tail
from control_plane.logs.parser import parse_line
from control_plane.logs.reader import FileLog

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)
ENTRY = TypeAdapter(LogEntry)
# Text with lone surrogates, as JSON escapes can bring it.
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)
OWN_KEYS = st.sampled_from(["ts", "level", "event", "source", "exception", "device"])


def as_json(entry: LogEntry) -> bytes:
    """Encode ``entry`` as the API does, but refuse what is no JSON (NaN)."""
    text = json.dumps(ENTRY.dump_python(entry, mode="json"), allow_nan=False, ensure_ascii=False)
    return text.encode()


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


@given(st.dictionaries(OWN_KEYS | ANY_TEXT, ANY_JSON, max_size=6))
def test_any_json_object_gives_an_entry_that_is_json_and_utf8(line: dict[str, object]) -> None:
    assert as_json(parse_line(json.dumps(line).encode(), "p"))


@given(st.binary(max_size=300))
def test_any_bytes_give_an_entry_that_is_json_and_utf8(line: bytes) -> None:
    assert as_json(parse_line(line, "p"))
    assert as_json(parse_line(b"{" + line + b"}", "p"))


@pytest.mark.parametrize("ts", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_utc_cannot_hold_is_no_time(ts: str) -> None:
    assert parse_line(json.dumps({"ts": ts, "event": "x"}).encode(), "p").timestamp is None


def test_a_line_number_of_thousands_of_digits_is_no_line_number() -> None:
    line = json.dumps({"source": "a.py:" + "9" * 5000, "event": "x"}).encode()
    assert parse_line(line, "p").line_number is None


def test_nested_facts_are_made_visible_too() -> None:
    line = rb'{"event": "\ud800", "a": {"\u001b[2J": ["\udfff", {"b": "\u202e"}]}, "n": NaN}'
    entry = parse_line(line, "p")
    assert entry.message == r"\ud800"
    assert entry.fields == {"a": {r"\x1b[2J": [r"\udfff", {"b": r"\u202e"}]}, "n": "nan"}


@pytest.mark.parametrize("depth", [15, 300, 900, 30_000])
def test_facts_that_nest_deeply_give_an_entry_nevertheless(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    for key in (b"event", b"ts", b"exception", b"fact"):
        entry = parse_line(b'{"' + key + b'": ' + nested + b"}", "p")
        assert as_json(entry)


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


def test_a_large_rest_and_a_cut_line_are_read_once_across_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    lines = [b"%06d " % number + b"x" * 93 for number in range(25_000)]
    text = b"".join(line + b"\n" for line in lines)
    log.write_bytes(text[:50])
    cursor = read_tail(log, 1).cursor
    read: list[bytes] = []
    rotated_bytes = 2_300_050  # In the middle of a line.
    log.write_bytes(text[:rotated_bytes])
    log.rename(tmp_path / "p.log.1")
    log.write_bytes(text[rotated_bytes : rotated_bytes + 20])
    while (got := read_after(log, cursor, 20_000)).cursor != cursor:
        cursor, read = got.cursor, read + list(got.lines)
    assert cursor.inode == (tmp_path / "p.log.1").stat().st_ino
    with log.open("ab") as file:
        file.write(text[rotated_bytes + 20 :])
    while (got := read_after(log, cursor, 20_000)).cursor != cursor:
        assert not got.reset
        cursor, read = got.cursor, read + list(got.lines)
    assert read == lines
    assert cursor.inode == log.stat().st_ino


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(0, 60), st.integers(1, 4), st.data())
def test_any_cut_by_a_rotation_gives_every_line_once(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    cut: int,
    max_lines: int,
    data: st.DataObject,
) -> None:
    log = tmp_path_factory.mktemp("log") / "p.log"
    lines = [b"%d" % n * n for n in lengths]
    text = b"".join(line + b"\n" for line in lines)
    log.write_bytes(b"")
    cursor = read_tail(log, 1).cursor
    read: list[bytes] = []
    log.write_bytes(text[:cut])
    for _ in range(data.draw(st.integers(0, 3))):
        got = read_after(log, cursor, max_lines)
        cursor, read = got.cursor, read + list(got.lines)
    log.rename(log.with_name("p.log.1"))
    log.write_bytes(text[cut:])
    while (got := read_after(log, cursor, max_lines)).cursor != cursor:
        cursor, read = got.cursor, read + list(got.lines)
    assert read == lines


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path), lambda _: None])
def test_a_log_that_cannot_be_read_has_no_lines(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    log = tmp_path / "p.log"
    make(log)
    cursor = Cursor(7, 100)
    tail, after = read_tail(log, 10), read_after(log, cursor, 10)
    assert (tail.lines, tail.readable) == ((), False)
    assert (after.lines, after.cursor, after.readable) == ((), cursor, False)
    counter = ErrorCounter(lambda _: FileLog(log))
    counter.look("p", NOW)
    assert counter.count("p", NOW) is None
    assert counter.count_day("p", NOW) == 0


def test_an_offset_that_no_file_can_have_is_a_lost_place(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    (tmp_path / "p.log.1").write_bytes(b"old\n")
    log.write_bytes(b"new\n")
    cursor = Cursor((tmp_path / "p.log.1").stat().st_ino, 10**25)
    assert read_after(log, cursor, 10).reset


def test_a_rotated_file_that_cannot_be_read_is_a_lost_place(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    log.write_bytes(b"new\n")
    (tmp_path / "p.log.1").mkdir()
    got = read_after(log, Cursor(log.stat().st_ino + 1, 5), 10)
    assert (got.lines, got.reset, got.readable) == ((b"new",), True, True)


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
    cursor = read_tail(log, 1).cursor
    read: list[bytes] = []
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
    counter = ErrorCounter(lambda name: FileLog(tmp_path / f"{name}.log"))
    counter.look("p", NOW)
    assert counter.count("p", NOW) == 2
    assert counter.count("p", NOW, FIVE_MINUTES) == 1
    with log.open("a") as file:
        file.write(line("CRITICAL", 0))
    counter.look("p", NOW)
    assert counter.count("p", NOW) == 3
    newest = counter.last_error("p")
    assert newest is not None
    assert newest.message == "CRITICAL 0"
    assert counter.count("unknown", NOW) is None


def test_a_log_that_vanishes_is_not_counted_as_free_of_errors(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    log.write_bytes(b"")
    counter = ErrorCounter(lambda _: FileLog(log))
    counter.look("p", NOW)
    assert counter.count("p", NOW) == 0
    log.write_bytes(b"ERROR one\n")
    counter.look("p", NOW)
    log.unlink()
    counter.look("p", NOW)
    assert counter.count("p", NOW) is None
    assert counter.count_day("p", NOW) == 1


def test_old_lines_without_a_time_are_as_old_as_the_timed_line_before(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    at = (NOW - timedelta(hours=1)).isoformat()
    log.write_text(json.dumps({"ts": at, "event": "x"}) + "\nERROR old\n")
    counter = ErrorCounter(lambda _: FileLog(log))
    counter.look("p", NOW)
    assert (counter.count("p", NOW, FIVE_MINUTES), counter.count_day("p", NOW)) == (0, 1)
    with log.open("a") as file:
        file.write("ERROR just now\n")
    counter.look("p", NOW)
    assert counter.count("p", NOW, FIVE_MINUTES) == 1


def test_old_lines_without_any_time_are_as_old_as_the_file(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    log.write_text("ERROR old\n")
    written_s = (NOW - timedelta(hours=2)).timestamp()
    os.utime(log, (written_s, written_s))
    counter = ErrorCounter(lambda _: FileLog(log))
    counter.look("p", NOW)
    assert (counter.count("p", NOW, FIVE_MINUTES), counter.count_day("p", NOW)) == (0, 1)


def test_the_first_look_begins_two_megabytes_before_the_end(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    line = b"ERROR " + b"x" * 993 + b"\n"
    log.write_bytes(line * 3000)
    os.utime(log, (NOW.timestamp(), NOW.timestamp()))
    counter = ErrorCounter(lambda _: FileLog(log))
    counter.look("p", NOW)
    assert counter.count("p", NOW) == 2000


def test_a_backlog_is_read_in_portions_and_stays_old(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    at = (NOW - timedelta(hours=1)).isoformat()
    log.write_text(json.dumps({"ts": at, "event": "x"}) + "\n" + "ERROR\n" * 50_000)
    counter = ErrorCounter(lambda _: FileLog(log))
    counter.look("p", NOW)
    assert 0 < counter.count_day("p", NOW) < 50_000
    counter.look("p", NOW)
    assert (counter.count("p", NOW, FIVE_MINUTES), counter.count_day("p", NOW)) == (0, 50_000)
