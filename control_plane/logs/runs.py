"""When each run of a program began and how it ended, from supervisord's own log.

supervisord notes every start and every end of a child it waits for, also of one that died before it
could write a line (supervisor 4.3, process.py: ``spawn``, ``finish``).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import re2

from control_plane.domain.logs import LogEntry, LogFilter
from control_plane.logs.book import LogBook
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.redaction import Redactor
from control_plane.logs.search import LogSearch

MAX_RUNS: Final = 50
_SEARCH_S: Final = 1.0
_SPAWNED = re.compile(r"spawned: '[^']+' with pid (\d{1,10})")
_ENDED = re.compile(r"(exited|stopped): [^ ]+ \((.{1,200})\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One process of a program.

    Attributes:
        pid: ``None`` if its start was rotated away.
        ended_at: ``None`` while it runs, or if supervisord itself ended first.
        end: supervisord's words for how it ended; ``""`` if nothing is known.
        is_expected: Whether it was stopped, or its exit code is one that means so.
    """

    started_at: datetime | None
    pid: int | None
    ended_at: datetime | None = None
    end: str = ""
    is_expected: bool = True


def runs_of(supervisor_log: LogBook, program: str, count: int = MAX_RUNS) -> list[Run]:
    """Return the newest runs of a program, the newest first."""
    name = re2.escape(program)
    pattern = rf"spawned: '{name}' with pid |(?:exited|stopped): {name} \("
    searching = LogSearch(
        supervisor_log, "supervisord", LineFilter(LogFilter(regex=pattern)), Redactor()
    )
    # Of each run at most two lines, and one of the run before.
    page = searching.before(None, 2 * count + 1, _SEARCH_S)
    return _runs(found.entry for found in page.found)[:count]


def within(asked: LogFilter, runs: list[Run], number: int) -> LogFilter | None:
    """Return ``asked`` for the lines of one run, 0 for the newest; ``None`` if it is not known.

    A run lasts until the next one begins: what its children write after its end is its own.
    """
    if not 0 <= number < len(runs):
        return None
    begin = runs[number].started_at
    end = runs[number - 1].started_at if number else None
    starts = [at for at in (asked.start, begin) if at is not None]
    ends = [at for at in (asked.end, end) if at is not None]
    return replace(asked, start=max(starts, default=None), end=min(ends, default=None))


def _runs(entries: Iterable[LogEntry]) -> list[Run]:
    """Return the runs that lines tell of, given oldest first; the newest first."""
    found: list[Run] = []
    for entry in entries:
        if spawned := _SPAWNED.search(entry.message):
            found.append(Run(started_at=entry.timestamp, pid=int(spawned[1])))
        elif ended := _ENDED.search(entry.message):
            if not found or found[-1].ended_at is not None:
                found.append(Run(started_at=None, pid=None))
            found[-1] = replace(
                found[-1],
                ended_at=entry.timestamp,
                end=ended[2],
                is_expected=ended[1] == "stopped" or "not expected" not in ended[2],
            )
    return found[::-1]
