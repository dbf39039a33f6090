"""Live lines of real files under rotation, truncation and floods: each once, or counted."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.logs import LogFilter, LogLevel
from control_plane.errors import BadRequest
from control_plane.logs.book import LogBook, open_book
from control_plane.logs.follower import Cursor, places_of, read_after
from control_plane.logs.processor import LogProcessor
from control_plane.logs.reader import FileLog, LogReader
from control_plane.logs.redaction import Redactor
from control_plane.logs.tailing import LogTailer
from control_plane.logs.watch import BURST_S, LINES_PER_S

DEADLINE_S = 20.0


class Logs:
    """A directory of logs, written and rotated as supervisord does it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def raw_reader(self, name: str) -> LogReader:
        return FileLog(self.path(name))

    def book(self, name: str) -> AbstractContextManager[LogBook]:
        return open_book(self.path(name))

    def path(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def write(self, text: str, name: str = "p") -> None:
        with self.path(name).open("a") as file:
            file.write(text)

    def rotate(self, name: str = "p", backups: int = 50) -> None:
        path = self.path(name)
        for number in range(backups, 0, -1):
            newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            if newer.exists():
                newer.replace(path.with_name(f"{path.name}.{number}"))
        path.write_bytes(b"")


class Viewer:
    """Everything that one watch was sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.weights = 0

    def __call__(self, data: dict[str, Any], lines: int) -> None:
        json.dumps(data, allow_nan=False)
        self.messages.append(data)
        self.weights += lines

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [entry for message in list(self.messages) for entry in message["entries"]]

    @property
    def texts(self) -> list[str]:
        return [entry["message"] for entry in self.entries]

    @property
    def skipped(self) -> int:
        return sum(message["skipped"] for message in list(self.messages))


def wait_until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


@pytest.fixture
def tailer(logs: Logs) -> Iterator[LogTailer]:
    processor = LogProcessor(lambda: Redactor(["geheim123"]))
    tailer = LogTailer(logs, processor, node_of=lambda _: "local", local_node="local")
    yield tailer
    tailer.stop()


def test_the_tail_comes_first_and_then_every_line(logs: Logs, tailer: LogTailer) -> None:
    logs.write("one\ntwo\nthree\n")
    viewer = Viewer()
    tailer.watch(("p",), LogFilter(), viewer, tail=2)
    wait_until(lambda: viewer.messages)
    assert viewer.texts == ["two", "three"]
    assert viewer.messages[0]["older"] == viewer.entries[0]["cursor"]
    logs.write("four, geheim123\n")
    wait_until(lambda: len(viewer.texts) == 3)
    assert viewer.texts[-1] == "four, [redacted]"


def test_a_log_that_does_not_exist_yet_is_waited_for(logs: Logs, tailer: LogTailer) -> None:
    viewer = Viewer()
    tailer.watch(("p",), LogFilter(), viewer, tail=5)
    wait_until(lambda: viewer.messages)
    logs.write("one\ntw")
    wait_until(lambda: viewer.texts == ["one"])
    logs.write("o\n")
    wait_until(lambda: viewer.texts == ["one", "two"])


def test_filters_are_applied_on_this_side(logs: Logs, tailer: LogTailer) -> None:
    wanted = {
        "level": LogFilter(level=LogLevel.ERROR),
        "text": LogFilter(text="PUMP"),
        "regex": LogFilter(regex="pump [12]$"),
        "stream": LogFilter(stream="stderr"),
        "all": LogFilter(),
    }
    viewers = {name: Viewer() for name in wanted}
    for name, asked in wanted.items():
        tailer.watch(("p",), asked, viewers[name], tail=0)
    wait_until(lambda: all(viewer.messages for viewer in viewers.values()))
    logs.write("INFO: pump 1\nERROR: pump 3\n")
    logs.write('{"event": "valve", "stream": "stderr"}\nINFO: pump 2\n')
    wait_until(lambda: len(viewers["all"].texts) == 4)
    found = {name: viewer.texts for name, viewer in viewers.items()}
    assert found == {
        "level": ["pump 3"],
        "text": ["pump 1", "pump 3", "pump 2"],
        "regex": ["pump 1", "pump 2"],
        "stream": ["valve"],
        "all": ["pump 1", "pump 3", "valve", "pump 2"],
    }
    with pytest.raises(BadRequest):
        tailer.watch(("p",), LogFilter(regex="("), Viewer())


def test_several_logs_share_one_watch(logs: Logs, tailer: LogTailer) -> None:
    viewer = Viewer()
    tailer.watch(("a", "b"), LogFilter(), viewer)
    wait_until(lambda: len(viewer.messages) == 2)
    logs.write("from a\n", "a")
    logs.write("from b\n", "b")
    wait_until(lambda: len(viewer.texts) == 2)
    assert {entry["process_name"] for entry in viewer.entries} == {"a", "b"}


def test_a_traceback_that_comes_in_pieces_is_one_entry(logs: Logs, tailer: LogTailer) -> None:
    viewer = Viewer()
    tailer.watch(("p",), LogFilter(level=LogLevel.ERROR), viewer)
    wait_until(lambda: viewer.messages)
    logs.write("ERROR: it broke\nTraceback (most recent call last):\n  File 'x', line 1\n")
    logs.write("ValueError: seven\n")
    wait_until(lambda: viewer.entries)
    assert viewer.entries[0]["exception_info"].endswith("ValueError: seven")
    logs.write("Traceback (most recent call last):\n  File 'y', line 1\n")
    wait_until(lambda: len(viewer.entries) == 2)  # One that never ends is not waited for.


def test_a_truncated_log_goes_on_with_a_mark(logs: Logs, tailer: LogTailer) -> None:
    logs.write("one\n" * 100)
    viewer = Viewer()
    tailer.watch(("p",), LogFilter(), viewer)
    wait_until(lambda: viewer.messages)
    logs.path("p").write_text("new\n")
    wait_until(lambda: viewer.texts)
    assert (viewer.texts, viewer.messages[-1]["reset"]) == (["new"], True)


def test_a_place_that_was_given_is_gone_on_from(logs: Logs, tailer: LogTailer) -> None:
    viewer, again, lost = Viewer(), Viewer(), Viewer()
    watch = tailer.watch(("p",), LogFilter(), viewer)
    wait_until(lambda: viewer.messages)
    logs.write("one\ntwo\n")
    wait_until(lambda: len(viewer.texts) == 2)
    watch.close()
    logs.write("three\nfo")
    logs.rotate()
    logs.write("ur\nfive\n")
    place = Cursor.parse(viewer.messages[-1]["cursor"])
    tailer.watch(("p",), LogFilter(), again, after={"p": place}, tail=100)
    wait_until(lambda: len(again.texts) == 3)
    assert again.texts == ["three", "four", "five"]
    assert viewer.texts == ["one", "two"]
    tailer.watch(("p",), LogFilter(), lost, after={"p": Cursor(7, 7)}, tail=1)
    wait_until(lambda: lost.messages)
    assert (lost.texts, lost.messages[0]["reset"]) == (["five"], True)


def test_threads_live_only_while_somebody_watches(logs: Logs, tailer: LogTailer) -> None:
    def threads() -> int:
        return sum(thread.name == "log-stream" for thread in threading.enumerate())

    before = threads()
    watches = [tailer.watch(("p",), LogFilter(), Viewer()) for _ in range(3)]
    assert threads() == before + 1
    for watch in watches:
        watch.close()
    wait_until(lambda: threads() == before)
    tailer.watch(("p",), LogFilter(), Viewer())
    assert threads() == before + 1
    tailer.stop()
    assert threads() == before


def test_of_a_flood_the_newest_lines_are_sent_and_the_others_counted(
    logs: Logs, tailer: LogTailer
) -> None:
    everything, errors = Viewer(), Viewer()
    tailer.watch(("p",), LogFilter(), everything)
    tailer.watch(("p",), LogFilter(level=LogLevel.ERROR), errors)
    wait_until(lambda: everything.messages and errors.messages)
    count = 60_000
    text = "".join(
        f"{'ERROR' if number % 1000 == 0 else 'INFO'}: line {number}\n" for number in range(count)
    )
    began = time.monotonic()
    logs.write(text)
    wait_until(lambda: len(everything.entries) + everything.skipped == count)
    assert everything.texts[-1] == f"line {count - 1}"
    passed_s = time.monotonic() - began
    assert len(everything.entries) <= LINES_PER_S * (BURST_S + passed_s) + 1
    assert everything.weights == count
    # Who asks for less gets all of it.
    wait_until(lambda: len(errors.entries) == count // 1000)
    assert errors.skipped == 0
    assert max(len(message["entries"]) for message in everything.messages) <= 500


def test_every_viewer_gets_every_line_once_over_many_rotations(
    logs: Logs, tailer: LogTailer
) -> None:
    """Viewers come and go, and come back from where they were, while lines are written."""
    count, rotations, began = 1800, 25, threading.Event()
    logs.write("line 0\n")

    def write() -> None:
        for number in range(1, count):
            # supervisord rotates between two writes, which need not be whole lines.
            text = f"line {number}\n"
            half = len(text) // 2 if number % 7 == 0 else 0
            logs.write(text[:half])
            if number % (count // rotations) == 0:
                logs.rotate()
            logs.write(text[half:])
            began.set()
            if number % 20 == 0:
                time.sleep(0.002)

    writer = threading.Thread(target=write)
    steady = Viewer()
    tailer.watch(("p",), LogFilter(), steady, tail=1)
    wait_until(lambda: steady.messages)
    writer.start()
    began.wait()
    viewers = come_and_go(tailer, writer)
    last = count - 1
    ends = [f"line {last}"]
    wait_until(lambda: all((a.texts + b.texts)[-1:] == ends for a, b in viewers))
    wait_until(lambda: steady.texts[-1] == f"line {last}")
    assert numbers(steady) == list(range(count))
    assert viewers
    for first, second in viewers:
        seen = numbers(first)
        seen = seen + [n for n in numbers(second) if n > seen[-1]]
        assert seen == list(range(seen[0], count))
        assert second.skipped == 0


def come_and_go(tailer: LogTailer, writer: threading.Thread) -> list[tuple[Viewer, Viewer]]:
    """Return pairs of viewers, the second of which went on where the first one ended."""
    pairs = []
    while writer.is_alive():
        first, second = Viewer(), Viewer()
        watch = tailer.watch(("p",), LogFilter(), first, tail=3)
        wait_until(lambda first=first: len(first.messages) > 2 or not writer.is_alive())
        watch.close()
        if first.messages:
            place = Cursor.parse(first.messages[-1]["cursor"])
            tailer.watch(("p",), LogFilter(), second, after={"p": place})
            pairs.append((first, second))
    writer.join()
    return pairs


def numbers(viewer: Viewer) -> list[int]:
    return [int(text.split()[1]) for text in viewer.texts]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 70), min_size=1, max_size=12),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(1, 5),
)
def test_a_reader_knows_where_each_line_begins(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seen: int, cut: int, count: int
) -> None:
    logs = Logs(tmp_path_factory.mktemp("log"))
    lines = [f"{number}".ljust(length, "x") for number, length in enumerate(lengths)]
    text = "".join(line + "\n" for line in lines)
    logs.write(text[:cut])
    begin = text.rfind("\n", 0, min(seen, cut)) + 1
    place = Cursor(logs.path("p").stat().st_ino, begin)
    logs.rotate()
    logs.write(text[cut:])
    number = text.count("\n", 0, begin)
    while (read := read_after(logs.path("p"), place, count)).cursor != place:
        for begins, line in zip(places_of(place, read), read.lines, strict=True):
            assert line.decode() == lines[number]
            with logs.book("p") as book:
                found = book.find(begins)
                assert found is not None
                stretch, offset = found
                at = next(book.forward(stretch, offset)).data
                assert at.startswith(line + b"\n")
            number += 1
        place = read.cursor
    assert number == len(lines)
