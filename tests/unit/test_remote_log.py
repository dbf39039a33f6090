"""A log read through another node's supervisord: every line once, under any rotation."""

import os
from collections import deque
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.logs import LogChunk, LogFilter
from control_plane.logs.book import open_remote_book
from control_plane.logs.follower import Cursor
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.reader import RemoteLog
from control_plane.logs.redaction import Redactor
from control_plane.logs.search import LogSearch
from control_plane.supervisor.answers import log_chunk
from control_plane.supervisor.plugin.interface import RpcInterface

BACKUPS = 20


class Node:
    """A log file that is written and rotated as supervisord does, and the real plugin's reader."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "press.log"
        self.path.write_bytes(b"")
        config = SimpleNamespace(name="press", stdout_logfile=str(self.path))
        process = SimpleNamespace(config=config, pid=1)
        group = SimpleNamespace(processes={"press": process})
        self._plugin = RpcInterface(SimpleNamespace(process_groups={"press": group}), None)

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def rotate(self) -> None:
        for number in range(BACKUPS, 0, -1):
            newer = self.path.with_name(f"press.log.{number - 1}") if number > 1 else self.path
            if newer.exists():
                newer.replace(self.path.with_name(f"press.log.{number}"))
        self.path.write_bytes(b"")

    def read(self, inode: int, offset: int, limit: int) -> LogChunk | None:
        return log_chunk(self._plugin.readLog("press", str(inode), offset, limit))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_line_comes_once_under_any_cut_and_rotation(
    tmp_path_factory: object, data: st.DataObject
) -> None:
    node = Node(tmp_path_factory.mktemp("log"))  # type: ignore[attr-defined]
    log = RemoteLog(node.read)
    text = b"".join(b"line %d %s\n" % (i, b"x" * (i % 7)) for i in range(30))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = deque(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    cursor, found = Cursor(node.path.stat().st_ino, 0), []

    def catch_up() -> None:
        nonlocal cursor
        while True:
            got = log.after(cursor, data.draw(st.integers(1, 9)))
            assert not got.reset
            found.extend(got.lines)
            moved, cursor = got.cursor != cursor, got.cursor
            if not moved:
                return

    while pieces:
        node.write(pieces.popleft())
        if data.draw(st.booleans()):
            if data.draw(st.booleans()):
                catch_up()
            # supervisord rotates after megabytes, never within one line.
            if b"\n" in node.path.read_bytes() and data.draw(st.booleans()):
                node.rotate()
    catch_up()
    assert found == text.split(b"\n")[:-1]


def test_rotated_files_of_another_node_are_searched_too(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for number in range(60):
        node.write(b"line %d\nhal" % number)
        if number % 10 == 9:
            node.rotate()
        node.write(b"f %d\n" % number)
    asked = LineFilter(LogFilter(regex="(line|half) [13579]$"))
    wanted = [f"{word} {number}" for number in range(1, 10, 2) for word in ("line", "half")]
    with open_remote_book(node.read) as book:
        searching = LogSearch(book, "press", asked, Redactor())
        assert len(book.stretches) == 12  # 6 files, and 6 lines that a rotation cut in two
        page = searching.before(None, 3)
        assert [found.entry.message for found in page.found] == wanted[-3:]
        older = searching.before(page.older, 100)
        assert [found.entry.message for found in older.found] == wanted[:-3]
        place = older.found[0].place
    # A place outlives the next rotation.
    node.rotate()
    with open_remote_book(node.read) as book:
        searching = LogSearch(book, "press", LineFilter(LogFilter()), Redactor())
        assert searching.after(place, 1).found[0].entry.message == "line 1"
    with open_remote_book(lambda *_: None) as book:
        assert book.stretches == []


def test_a_lost_place_is_told(tmp_path: Path) -> None:
    node = Node(tmp_path)
    log = RemoteLog(node.read)
    node.write(b"one\n")
    cursor = log.tail(10).cursor
    for _ in range(2):
        node.rotate()
        node.write(b"two\n")
        os.utime(node.path)
    # The first file may live on under its inode's number only if it is still there.
    got = log.after(Cursor(cursor.inode + 10**6, cursor.offset), 10)
    assert (got.reset, got.lines) == (True, (b"two",))


def test_the_tail_has_the_last_whole_lines(tmp_path: Path) -> None:
    node = Node(tmp_path)
    log = RemoteLog(node.read)
    assert log.tail(5).lines == ()
    node.write(b"".join(b"%06d %s\n" % (i, b"y" * 90) for i in range(5000)) + b"half")
    got = log.tail(2)
    assert [line[:6] for line in got.lines] == [b"004998", b"004999"]
    node.write(b" and half\n")
    assert log.after(got.cursor, 10).lines == (b"half and half",)


def test_a_log_that_cannot_be_read_is_no_error() -> None:
    log = RemoteLog(lambda *_: None)
    assert not log.tail(5).readable
    assert not log.after(Cursor(1, 1), 5).readable
    assert log.before_end(100) is None
