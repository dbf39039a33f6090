"""Search over all files of a log: nothing missed, nothing twice, in both directions."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.logs import LogFilter, LogLevel
from control_plane.errors import BadRequest
from control_plane.logs import book as books
from control_plane.logs.book import open_book
from control_plane.logs.follower import Cursor, read_after, read_tail
from control_plane.logs.line_filter import LineFilter, filter_entries
from control_plane.logs.parser import parse_line
from control_plane.logs.redaction import Redactor
from control_plane.logs.search import Found, LogSearch

AT = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
FROM, TO = AT + timedelta(seconds=1), AT + timedelta(seconds=3)
TRACE = (
    'ERROR:a:poll failed\nTraceback (most recent call last):\n  File "x", line 1\nOSError: boom\n'
)


def line(number: int, level: str = "INFO", **facts: object) -> str:
    at = (AT + timedelta(seconds=number)).isoformat()
    return json.dumps({"ts": at, "level": level, "event": f"line {number}", **facts}) + "\n"


def messages(found: tuple[Found, ...]) -> list[str]:
    return [each.entry.message for each in found]


def search(log: Path, asked: LogFilter) -> list[str]:
    with open_book(log) as book:
        searching = LogSearch(book, "p", LineFilter(asked), Redactor())
        everything = messages(tuple(searching.all()))
        assert messages(searching.before(None, 10_000).found) == everything
        assert messages(searching.after(None, 10_000).found) == everything
    return everything


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "p.log"
    (tmp_path / "p.log.2").write_text(line(0) + line(1, "ERROR", device="press1") + line(2)[:20])
    (tmp_path / "p.log.1").write_text(line(2)[20:] + line(3, "WARNING", n=7) + TRACE)
    path.write_text(line(4, "ERROR") + line(5, password="CANARY7") + "half a li")
    return path


def test_all_files_are_one_log_and_a_cut_line_is_whole(log: Path) -> None:
    assert search(log, LogFilter()) == [
        "line 0", "line 1", "line 2", "line 3", "poll failed", "line 4", "line 5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (LogFilter(level=LogLevel.ERROR), ["line 1", "poll failed", "line 4"]),
        (LogFilter(text="LINE 3"), ["line 3"]),
        (LogFilter(text="device=press1"), ["line 1"]),
        (LogFilter(text="n=7"), ["line 3"]),
        (LogFilter(text="boom"), ["poll failed"]),
        (LogFilter(regex=r"line [23]\b"), ["line 2", "line 3"]),
        (LogFilter(regex=r"^\{.*press\d"), ["line 1"]),
        (LogFilter(start=AT + timedelta(seconds=4)), ["line 4", "line 5"]),
        (LogFilter(start=FROM, end=TO), ["line 1", "line 2"]),
        (LogFilter(text="CANARY7"), []),
        (LogFilter(stream="stderr"), []),
        (LogFilter(process_names=frozenset({"q"})), []),
    ],
)  # fmt: skip
def test_each_filter_finds_its_lines(log: Path, asked: LogFilter, found: list[str]) -> None:
    if asked.end is None and asked.start is not None:
        assert search(log, asked)[-2:] == found
    else:
        assert search(log, asked) == found


@pytest.mark.parametrize("pattern", ["(", "a" * 501, r"(a)\1", "(?=x)"])
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str) -> None:
    with pytest.raises(BadRequest):
        LineFilter(LogFilter(regex=pattern))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=25),
    st.lists(st.integers(0, 400), max_size=4),
    st.integers(1, 4),
    st.integers(20, 90),
    st.sampled_from([LogFilter(), LogFilter(text="b")]),
)
def test_pages_in_both_directions_give_every_line_once(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[int, str]],
    cuts: list[int],
    limit: int,
    block_bytes: int,
    asked: LogFilter,
) -> None:
    log = tmp_path_factory.mktemp("log") / "p.log"
    texts = [f"{number} {word * length}x" for number, (length, word) in enumerate(lines)]
    data = "".join(f"{text}\n" for text in texts).encode()
    borders = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(borders) if a < b] or [b""]
    for number, part in enumerate(reversed(parts)):
        log.with_name(f"p.log.{number}" if number else "p.log").write_bytes(part)
    wanted = [text for text in texts if asked.text in text]
    with pytest.MonkeyPatch.context() as patch, open_book(log) as book:
        patch.setattr(books, "BLOCK_BYTES", block_bytes)
        searching = LogSearch(book, "p", LineFilter(asked), Redactor())
        older: list[str] = []
        place: Cursor | None = None
        while True:
            page = searching.before(place, limit)
            older = messages(page.found) + older
            place = page.older
            if place is None:
                break
        assert older == wanted
        newer, place = [], None
        while (page := searching.after(place, limit)).found:
            newer += messages(page.found)
            assert page.newer is not None
            place = page.newer
        assert newer == wanted


def test_every_place_finds_its_line_again(log: Path) -> None:
    with open_book(log) as book:
        searching = LogSearch(book, "p", LineFilter(LogFilter()), Redactor())
        for found in list(searching.all()):
            place = Cursor.parse(str(found.place))
            assert messages(searching.after(place, 1).found) == [found.entry.message]
        lost = searching.before(Cursor(10**9, 5), 3)
        assert (lost.is_lost, len(lost.found)) == (True, 3)


def test_a_page_that_takes_too_long_says_from_where_to_go_on(log: Path) -> None:
    with open_book(log) as book:
        page = LogSearch(book, "p", LineFilter(LogFilter(text="zzz")), Redactor()).before(
            None, 10, budget_s=-1.0
        )
    assert (page.is_complete, page.found) == (False, ())
    assert page.older is not None


def test_entries_are_filtered_as_the_design_asks() -> None:
    entries = [parse_line(text.encode(), "p") for text in (line(1), line(2, "ERROR", n=7))]
    assert filter_entries(entries, LogFilter(text="N=7")) == entries[1:]
    assert filter_entries(entries, LogFilter(end=AT + timedelta(seconds=2))) == entries[:1]


def test_lines_are_read_once_over_many_rotations_between_two_looks(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    lines = [b"line %04d" % number for number in range(500)]
    data = b"".join(text + b"\n" for text in lines)
    log.write_bytes(data[:55])
    cursor, read = read_tail(log, 10).cursor, list(read_tail(log, 10).lines)
    parts = [data[at : at + 333] for at in range(55, len(data), 333)]
    for number in range(len(parts), 0, -1):
        log.with_name(f"p.log.{len(parts) - number + 1}").write_bytes(parts[number - 1])
    log.rename(tmp_path / f"p.log.{len(parts) + 1}")
    (tmp_path / "p.log.1").rename(log)
    for number in range(2, len(parts) + 2):
        log.with_name(f"p.log.{number}").rename(log.with_name(f"p.log.{number - 1}"))
    while (got := read_after(log, Cursor.parse(str(cursor)), 40)).cursor != cursor:
        assert not got.reset
        cursor, read = got.cursor, read + list(got.lines)
    assert read == lines


def test_another_file_with_the_inode_of_a_deleted_one_is_a_lost_place(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    log.write_bytes(b"old one\nold two\n")
    cursor = read_tail(log, 1).cursor
    log.write_bytes(b"new one\nnew two\nnew three\n")
    got = read_after(log, cursor, 10)
    assert got.reset
    assert got.lines == (b"new one", b"new two", b"new three")


def test_a_line_whose_end_is_not_written_yet_is_none(tmp_path: Path) -> None:
    log = tmp_path / "p.log"
    (tmp_path / "p.log.1").write_bytes(b"one\ntw")
    for newest, wanted in (
        (b"", ["one"]),
        (b"o", ["one"]),
        (b"o\nthree\n", ["one", "two", "three"]),
    ):
        log.write_bytes(newest)
        with open_book(log) as book:
            searching = LogSearch(book, "p", LineFilter(LogFilter()), Redactor())
            assert messages(searching.before(None, 9).found) == wanted
    (tmp_path / "p.log.1").rename(tmp_path / "p.log.2")
    (tmp_path / "p.log.1").write_bytes(b"-and-")
    with open_book(log) as book:
        searching = LogSearch(book, "p", LineFilter(LogFilter()), Redactor())
        assert messages(searching.before(None, 9).found) == ["one", "tw-and-o", "three"]
