"""The runs of a program, as supervisord's log tells of them."""

from datetime import UTC, datetime
from pathlib import Path

from control_plane.domain.logs import LogFilter
from control_plane.logs.book import open_book
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.redaction import Redactor
from control_plane.logs.runs import runs_of, within
from control_plane.logs.search import LogSearch

SUPERVISORD = """\
2026-01-31 08:00:00,100+00:00 INFO exited: line1 (exit status 0; expected)
2026-01-31 08:00:01,100+00:00 INFO spawned: 'line1' with pid 11
2026-01-31 08:00:01,500+00:00 INFO spawned: 'line10' with pid 12
2026-01-31 08:00:02,100+00:00 INFO success: line1 entered RUNNING state, process has stayed up
2026-01-31 08:00:05,000+00:00 WARN exited: line1 (terminated by SIGKILL; not expected)
2026-01-31 08:00:05,100+00:00 INFO spawned: 'line1' with pid 13
2026-01-31 08:00:09,000+00:00 INFO stopped: line1 (exit status 0)
2026-01-31 08:00:20,000+00:00 INFO spawned: 'line1' with pid 14
"""
LINES = "".join(
    f'{{"ts": "2026-01-31T08:00:{second:02}Z", "event": "second {second}"}}\nno time\n'
    for second in (2, 4, 6, 8, 21)
)


def at(second: float) -> datetime:
    return datetime(2026, 1, 31, 8, 0, int(second), round(second % 1 * 1e6), tzinfo=UTC)


def test_every_run_is_told_with_its_end(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    log.write_text(SUPERVISORD[:300])
    log.rename(tmp_path / "supervisord.log.1")
    log.write_text(SUPERVISORD[300:])
    with open_book(log) as book:
        runs = runs_of(book, "line1")
        assert len(runs_of(book, "line1", 2)) == 2
        assert [run.pid for run in runs_of(book, "line10")] == [12]
        assert runs_of(book, "line") == []
    assert [run.pid for run in runs] == [14, 13, 11, None]
    assert [run.ended_at for run in runs] == [None, at(9), at(5), at(0.1)]
    assert [run.is_expected for run in runs] == [True, True, False, True]
    assert runs[2].end == "terminated by SIGKILL; not expected"


def test_the_lines_of_the_run_that_crashed_are_found(tmp_path: Path) -> None:
    (tmp_path / "supervisord.log").write_text(SUPERVISORD)
    (tmp_path / "line1.log").write_text(LINES)
    with open_book(tmp_path / "supervisord.log") as book:
        runs = runs_of(book, "line1")

    def lines(number: int, asked: LogFilter) -> list[str]:
        wanted = within(asked, runs, number)
        assert wanted is not None
        with open_book(tmp_path / "line1.log") as book:
            searching = LogSearch(book, "line1", LineFilter(wanted), Redactor())
            return [found.entry.message for found in searching.before(None, 100).found]

    assert lines(2, LogFilter()) == ["second 2", "no time", "second 4", "no time"]
    assert lines(2, LogFilter(text="second")) == ["second 2", "second 4"]
    assert lines(2, LogFilter(start=at(3), text="second")) == ["second 4"]
    assert lines(1, LogFilter(text="second")) == ["second 6", "second 8"]
    assert lines(0, LogFilter(text="second")) == ["second 21"]
    assert within(LogFilter(), runs, 4) is None
