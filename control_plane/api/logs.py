"""Logs of collectors and of our services: their end, search, errors by kind, downloads."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from flask import Blueprint, Response, request
from pydantic import BaseModel, Field, TypeAdapter

from control_plane.api.answers import fields_of
from control_plane.api.endpoint import endpoint
from control_plane.api.history_query import time_of_request
from control_plane.api.parsing import Query
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.logs import ErrorGroup, LogEntry, LogFilter, LogLevel
from control_plane.errors import BadInput, UnknownProcess
from control_plane.logs.error_info import error_info_of, grouped
from control_plane.logs.follower import Cursor
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.parser import parse_line
from control_plane.logs.runs import Run, within
from control_plane.logs.search import Found, LogSearch
from control_plane.supervisor.program_files import SERVICES

MAX_LINES: Final = 2000
MAX_PAGE: Final = 500
MAX_CONTEXT: Final = 100
_ERRORS_S: Final = 2.0
_MOST_ERRORS: Final = 20_000
_CHUNK_CHARS: Final = 1 << 16
_MEDIA_TYPES: Final = {"text": "text/plain", "jsonl": "application/x-ndjson"}

_ENTRY = TypeAdapter(LogEntry)
_LogEntry = fields_of(LogEntry)
_Text = Annotated[str, Field(max_length=1000)]
_Cursor = Annotated[str, Field(max_length=200)]


class TailQuery(Query):
    """The last ``tail`` lines, or those since ``cursor``."""

    tail: Annotated[int, Field(ge=1, le=MAX_LINES)] = 200
    cursor: _Cursor = ""


class LogPage(BaseModel):
    """``reset``: the log was cut or replaced, so that ``cursor`` found nothing to go on from."""

    entries: list[LogEntry]
    cursor: str
    reset: bool


class FilterQuery(Query):
    """Lines of ``level`` and above that hold ``text`` and match ``regex`` (RE2), in a time.

    ``run`` is ``current``, ``previous`` or a number as ``/logs/runs`` counts them.
    """

    level: LogLevel = LogLevel.DEBUG
    text: _Text = ""
    regex: _Text = ""
    start: Annotated[str, Field(alias="from", max_length=40)] = ""
    end: Annotated[str, Field(alias="to", max_length=40)] = ""
    stream: Literal["", "stdout", "stderr"] = ""
    run: Annotated[str, Field(pattern="^(current|previous|[0-9]{1,2})?$")] = ""


class SearchQuery(FilterQuery):
    """Older lines ``before`` a cursor, newer ones ``after`` it; the newest without either."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100
    before: _Cursor = ""
    after: _Cursor = ""


class FoundLine(_LogEntry):  # type: ignore[misc, valid-type] # made from the domain's type
    """A line and where it stands."""

    cursor: str


class LogSearchPage(BaseModel):
    """``older`` and ``newer`` go on from here; not ``complete`` if time was up before the end;
    ``lost`` if the place asked for has been rotated away."""

    entries: list[FoundLine]
    older: str | None
    newer: str | None
    complete: bool
    lost: bool
    searched_bytes: int


class LogRuns(BaseModel):
    """The newest first; empty where supervisord's own log tells nothing, as of other nodes."""

    runs: list[Run]


class AroundQuery(Query):
    at: _Cursor = ""
    context: Annotated[int, Field(ge=1, le=MAX_CONTEXT)] = 20


class LogSurroundings(BaseModel):
    entries: list[FoundLine]
    lost: bool


class DownloadQuery(FilterQuery):
    format: Literal["text", "jsonl"] = "text"


class ErrorQuery(Query):
    start: Annotated[str, Field(alias="from", max_length=40)] = "-24h"


class LogErrors(BaseModel):
    """Not ``complete`` if there are more than could be looked at."""

    errors: list[ErrorGroup]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Whose log, and which lines of it."""

    name: str
    lines: LineFilter


def logs_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/processes/NAME`` that read its log; no answer holds a secret."""
    blueprint = Blueprint("logs", __name__, url_prefix="/api/v1/processes/<name>")

    @blueprint.get("/logs")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def logs(name: str, query: TailQuery) -> LogPage:
        """Show the end of a log, and later what has come since."""
        log = plane.console.logs.reader(_known(plane, name))
        if query.cursor:
            read = log.after(Cursor.parse(query.cursor), query.tail)
        else:
            read = log.tail(query.tail)
        return LogPage(
            entries=[parse_line(line, name) for line in read.lines],
            cursor=str(read.cursor),
            reset=read.reset,
        )

    @blueprint.get("/logs/search")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def search(name: str, query: SearchQuery, actor: Actor) -> LogSearchPage:
        """Search all that is kept of a log."""
        asked = _asked(plane, name, query)
        if not query.before and not query.after:
            # The pages that follow belong to the same search.
            _audit(plane, actor, "log.search", asked)
        return _page(plane, asked, query)

    @blueprint.get("/logs/around")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def around(name: str, query: AroundQuery) -> LogSurroundings:
        """Show the lines around one, as a link to a line does."""
        place = _cursor(query.at)
        if place is None:
            raise BadInput.of("at", "not_cursor")
        asked = _Asked(name=_known(plane, name), lines=LineFilter(LogFilter()))
        with _searching(plane, asked) as searching:
            older = searching.before(place, query.context)
            newer = searching.after(place, query.context + 1)
        found = [] if older.is_lost else [*older.found, *newer.found]
        return LogSurroundings(entries=[_found(each) for each in found], lost=older.is_lost)

    @blueprint.get("/logs/runs")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def runs(name: str) -> LogRuns:
        """Show when each run of a program began and how it ended."""
        return LogRuns(runs=plane.console.logs.runs(_known(plane, name)))

    _add_whole_logs(blueprint, plane)
    return blueprint


def _add_whole_logs(blueprint: Blueprint, plane: ControlPlane) -> None:
    @blueprint.get("/logs/download")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,), media=tuple(_MEDIA_TYPES.values()))
    def download(name: str, query: DownloadQuery, actor: Actor) -> Response:
        """Download all lines that the filter finds."""
        asked = _asked(plane, name, query)
        # Before anything is read: a download that cannot be audited is not made.
        _audit(plane, actor, "log.download", asked)
        media = _MEDIA_TYPES[query.format]
        response = Response(_pieces(plane, asked, query.format), mimetype=media)
        at = plane.console.clock.now()
        suffix = "log" if query.format == "text" else "jsonl"
        file = f"{name}-{at:%Y%m%dT%H%M%SZ}.{suffix}"
        response.headers["Content-Disposition"] = f'attachment; filename="{file}"'
        return response

    @blueprint.get("/errors")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def errors(name: str, query: ErrorQuery) -> LogErrors:  # noqa: ARG001 - read by name below
        """Show the errors of a log by kind, the most frequent first."""
        now = plane.console.clock.now()
        start = time_of_request("from", "-24h", now)
        wanted = LogFilter(level=LogLevel.ERROR, start=start, end=now + timedelta(days=1))
        asked = _Asked(name=_known(plane, name), lines=LineFilter(wanted))
        groups, is_complete = _errors(plane, asked)
        return LogErrors(errors=groups, complete=is_complete)


def _known(plane: ControlPlane, name: str) -> str:
    picture = plane.monitor.picture()
    if name not in picture.processes and name not in SERVICES:
        raise UnknownProcess(name=name)
    return name


def _asked(plane: ControlPlane, name: str, query: FilterQuery) -> _Asked:
    wanted = LogFilter(
        level=query.level,
        text=query.text,
        regex=query.regex,
        start=_time(plane, "from"),
        end=_time(plane, "to"),
        stream=query.stream,
    )
    name = _known(plane, name)
    if query.run:
        number = {"current": 0, "previous": 1}.get(query.run)
        runs = plane.console.logs.runs(name)
        found = within(wanted, runs, int(query.run) if number is None else number)
        if found is None:
            raise BadInput.of("run", "no_such_run", name=name, count=len(runs))
        wanted = found
    return _Asked(name=name, lines=LineFilter(wanted))


def _time(plane: ControlPlane, key: str) -> datetime | None:
    if not request.args.get(key):
        return None
    return time_of_request(key, "now", plane.console.clock.now())


def _cursor(text: str) -> Cursor | None:
    return Cursor.parse(text) if text else None


@contextlib.contextmanager
def _searching(plane: ControlPlane, asked: _Asked) -> Iterator[LogSearch]:
    logs = plane.console.logs
    with logs.book(asked.name) as book:
        yield LogSearch(book, asked.name, asked.lines, logs.secrets.redactor())


def _page(plane: ControlPlane, asked: _Asked, query: SearchQuery) -> LogSearchPage:
    before, after = _cursor(query.before), _cursor(query.after)
    with _searching(plane, asked) as searching:
        if after:
            found = searching.after(after, query.limit)
        else:
            found = searching.before(before, query.limit)
    return LogSearchPage(
        entries=[_found(each) for each in found.found],
        older=str(found.older) if found.older else None,
        newer=str(found.newer) if found.newer else None,
        complete=found.is_complete,
        lost=found.is_lost,
        searched_bytes=found.searched_bytes,
    )


def _found(found: Found) -> FoundLine:
    facts = {each.name: getattr(found.entry, each.name) for each in fields(found.entry)}
    return FoundLine(**facts, cursor=str(found.place))


def _pieces(plane: ControlPlane, asked: _Asked, form: str) -> Iterator[str]:
    """Yield the file piece by piece, as the connection takes it."""
    piece, length = [], 0
    with _searching(plane, asked) as searching:
        for found in searching.all():
            text = _text(found.entry) if form == "text" else _json(found.entry)
            piece.append(text)
            length += len(text)
            if length >= _CHUNK_CHARS:
                yield "".join(piece)
                piece, length = [], 0
    yield "".join(piece)


def _text(entry: LogEntry) -> str:
    at = entry.timestamp.isoformat(timespec="milliseconds") if entry.timestamp else "-"
    facts = "".join(
        f" {key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in entry.fields.items()
    )
    exception = f"\n{entry.exception_info.rstrip()}" if entry.exception_info else ""
    return f"{at.replace('+00:00', 'Z')} {entry.level} {entry.message}{facts}{exception}\n"


def _json(entry: LogEntry) -> str:
    return json.dumps(_ENTRY.dump_python(entry, mode="json"), ensure_ascii=False) + "\n"


def _errors(plane: ControlPlane, asked: _Asked) -> tuple[list[ErrorGroup], bool]:
    with _searching(plane, asked) as searching:
        page = searching.before(None, _MOST_ERRORS, _ERRORS_S)
    infos = (error_info_of(found.entry) for found in page.found)
    is_complete = page.is_complete and len(page.found) < _MOST_ERRORS
    return grouped(info for info in infos if info is not None), is_complete


def _audit(plane: ControlPlane, actor: Actor, action: str, asked: _Asked) -> None:
    wanted = asked.lines.asked
    filters = {
        "level": wanted.level.value,
        "text": wanted.text,
        "regex": wanted.regex,
        "from": wanted.start.isoformat() if wanted.start else "",
        "to": wanted.end.isoformat() if wanted.end else "",
        "stream": wanted.stream,
    }
    detail = json.dumps({k: v for k, v in filters.items() if v}, ensure_ascii=False)
    # Somebody may search for a secret to see where it stands.
    hidden = plane.console.logs.secrets.redactor().line(detail.encode("utf-8", errors="replace"))
    shown = hidden.decode("utf-8", errors="replace")
    plane.console.audit.note(actor, action, asked.name, "done", shown)
