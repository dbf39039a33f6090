"""Logs of collectors and of our services: their end, search, errors by kind, downloads."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flask import Blueprint, Response, jsonify, request
from pydantic import TypeAdapter

from control_plane.api.history_query import time_of_request
from control_plane.api.identity import actor_with
from control_plane.api.parameters import whole_number
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.logs import ErrorGroup, LogEntry, LogFilter, LogLevel
from control_plane.errors import BadRequest, UnknownProcess
from control_plane.logs.error_info import error_info_of, grouped
from control_plane.logs.follower import Cursor
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.parser import parse_line
from control_plane.logs.search import Found, LogSearch
from control_plane.supervisor.program_files import SERVICES

MAX_LINES: Final = 2000
MAX_PAGE: Final = 500
MAX_CONTEXT: Final = 100
_ERRORS_S: Final = 2.0
_MOST_ERRORS: Final = 20_000
_CHUNK_CHARS: Final = 1 << 16

_ENTRY = TypeAdapter(LogEntry)
_ENTRIES = TypeAdapter(list[LogEntry])
_GROUPS = TypeAdapter(list[ErrorGroup])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Whose log, and which lines of it."""

    name: str
    lines: LineFilter


def logs_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/processes/NAME`` that read its log; no answer holds a secret."""
    blueprint = Blueprint("logs", __name__, url_prefix="/api/v1/processes/<name>")

    @blueprint.get("/logs")
    def logs(name: str) -> Response:
        actor_with(Permission.VIEW)
        log = plane.console.logs.reader(_known(plane, name))
        tail = whole_number("tail", 200, MAX_LINES)
        cursor = request.args.get("cursor")
        read = log.after(Cursor.parse(cursor), tail) if cursor else log.tail(tail)
        entries = [parse_line(line, name) for line in read.lines]
        return jsonify(
            entries=_ENTRIES.dump_python(entries, mode="json"),
            cursor=str(read.cursor),
            reset=read.reset,
        )

    @blueprint.get("/logs/search")
    def search(name: str) -> Response:
        actor = actor_with(Permission.VIEW)
        asked = _asked(plane, name)
        before, after = (_cursor(key) for key in ("before", "after"))
        if before is None and after is None:
            # The pages that follow belong to the same search.
            _audit(plane, actor, "log.search", asked)
        return jsonify(_page(plane, asked, before, after))

    @blueprint.get("/logs/around")
    def around(name: str) -> Response:
        actor_with(Permission.VIEW)
        place = _cursor("at")
        if place is None:
            raise BadRequest(reason="at must be the cursor of a line")
        asked = _Asked(name=_known(plane, name), lines=LineFilter(LogFilter()))
        count = whole_number("context", 20, MAX_CONTEXT)
        with _searching(plane, asked) as searching:
            older = searching.before(place, count)
            newer = searching.after(place, count + 1)
        found = [] if older.is_lost else [*older.found, *newer.found]
        return jsonify(entries=[_found(each) for each in found], lost=older.is_lost)

    _add_whole_logs(blueprint, plane)
    return blueprint


def _add_whole_logs(blueprint: Blueprint, plane: ControlPlane) -> None:
    @blueprint.get("/logs/download")
    def download(name: str) -> Response:
        actor = actor_with(Permission.VIEW)
        asked = _asked(plane, name)
        form = request.args.get("format", "text")
        if form not in ("text", "jsonl"):
            raise BadRequest(reason="format must be text or jsonl")
        # Before anything is read: a download that cannot be audited is not made.
        _audit(plane, actor, "log.download", asked)
        media = "text/plain" if form == "text" else "application/x-ndjson"
        response = Response(_pieces(plane, asked, form), mimetype=media)
        at = plane.console.clock.now()
        suffix = "log" if form == "text" else "jsonl"
        file = f"{name}-{at:%Y%m%dT%H%M%SZ}.{suffix}"
        response.headers["Content-Disposition"] = f'attachment; filename="{file}"'
        return response

    @blueprint.get("/errors")
    def errors(name: str) -> Response:
        actor_with(Permission.VIEW)
        now = plane.console.clock.now()
        start = time_of_request("from", "-24h", now)
        wanted = LogFilter(level=LogLevel.ERROR, start=start, end=now + timedelta(days=1))
        asked = _Asked(name=_known(plane, name), lines=LineFilter(wanted))
        groups, is_complete = _errors(plane, asked)
        return jsonify(errors=_GROUPS.dump_python(groups, mode="json"), complete=is_complete)


def _known(plane: ControlPlane, name: str) -> str:
    picture = plane.monitor.picture()
    if name not in picture.processes and name not in SERVICES:
        raise UnknownProcess(name=name)
    return name


def _asked(plane: ControlPlane, name: str) -> _Asked:
    level = request.args.get("level", LogLevel.DEBUG.value)
    if level not in list(LogLevel):
        raise BadRequest(reason=f"level must be one of {', '.join(LogLevel)}")
    stream = request.args.get("stream", "")
    if stream not in ("", "stdout", "stderr"):
        raise BadRequest(reason="stream must be stdout or stderr")
    wanted = LogFilter(
        level=LogLevel(level),
        text=request.args.get("text", ""),
        regex=request.args.get("regex", ""),
        start=_time(plane, "from"),
        end=_time(plane, "to"),
        stream=stream,
    )
    return _Asked(name=_known(plane, name), lines=LineFilter(wanted))


def _time(plane: ControlPlane, key: str) -> datetime | None:
    if not request.args.get(key):
        return None
    return time_of_request(key, "now", plane.console.clock.now())


def _cursor(key: str) -> Cursor | None:
    text = request.args.get(key)
    return Cursor.parse(text) if text else None


@contextlib.contextmanager
def _searching(plane: ControlPlane, asked: _Asked) -> Iterator[LogSearch]:
    logs = plane.console.logs
    with logs.book(asked.name) as book:
        yield LogSearch(book, asked.name, asked.lines, logs.secrets.redactor())


def _page(
    plane: ControlPlane, asked: _Asked, before: Cursor | None, after: Cursor | None
) -> dict[str, Any]:
    limit = whole_number("limit", 100, MAX_PAGE)
    with _searching(plane, asked) as searching:
        found = searching.after(after, limit) if after else searching.before(before, limit)
    return {
        "entries": [_found(each) for each in found.found],
        "older": str(found.older) if found.older else None,
        "newer": str(found.newer) if found.newer else None,
        "complete": found.is_complete,
        "lost": found.is_lost,
        "searched_bytes": found.searched_bytes,
    }


def _found(found: Found) -> dict[str, Any]:
    entry: dict[str, Any] = _ENTRY.dump_python(found.entry, mode="json")
    return {**entry, "cursor": str(found.place)}


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
