"""The history of several series as a file that engineers open, streamed while it is read."""

import itertools
import logging
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Blueprint, Response, jsonify, request

from collectors.contract.messages import sentence
from control_plane.api.errors import language_of_request
from control_plane.api.history_query import checked_series, iso, time_of_request, to_ns, units_of
from control_plane.api.identity import actor_with
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.errors import BadRequest, ExportCancelled, ExportTooLarge, StorageError
from control_plane.exports.formats import (
    MEDIA_TYPES,
    XLSX_ROWS,
    FileFormat,
    csv_chunks,
    write_xlsx,
)
from control_plane.exports.jobs import ExportJob, ExportJobs
from control_plane.exports.pages import ExportRequest, Page, count_samples, pages

log = logging.getLogger(__name__)

MAX_SERIES = 200
_RESOLUTION = re.compile(r"([1-9]\d{0,4})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The request as a whole, checked."""

    rows: ExportRequest
    start: datetime
    end: datetime
    resolution: str
    form: FileFormat
    zone: ZoneInfo
    with_bom: bool
    language: str


def add_export_routes(blueprint: Blueprint, plane: ControlPlane) -> None:
    """Add ``/export`` to the routes of the history."""
    jobs = ExportJobs()

    @blueprint.get("/export")
    def export() -> Response:
        actor = actor_with(Permission.VIEW)
        asked = _parse(plane)
        job = jobs.begin(_id(), actor.name)
        end = _ending(plane, actor, asked, job)
        try:
            # Before anything is read: an export that cannot be audited is not made.
            _note(plane, actor, asked, job, "requested")
            content = _content(plane, asked, job, actor)
        except BaseException as exc:
            job.state = "cancelled" if isinstance(exc, ExportCancelled) else "failed"
            end()
            raise
        response = Response(_followed(content, job), mimetype=MEDIA_TYPES[asked.form])
        response.call_on_close(end)
        response.headers["Content-Disposition"] = f'attachment; filename="{_file_name(asked)}"'
        return response

    @blueprint.get("/export/<id_>")
    def progress(id_: str) -> Response:
        job = jobs.find(id_, actor_with(Permission.VIEW).name)
        return jsonify(state=job.state, fraction=round(job.fraction, 4), rows=job.rows)

    @blueprint.delete("/export/<id_>")
    def cancel(id_: str) -> Response:
        jobs.find(id_, actor_with(Permission.VIEW).name).cancelled = True
        return Response(status=204)


def _parse(plane: ControlPlane) -> _Asked:
    now = plane.console.clock.now()
    series = list(dict.fromkeys(map(checked_series, request.args.getlist("series"))))
    if not 1 <= len(series) <= MAX_SERIES:
        raise BadRequest(
            reason=f"name 1..{MAX_SERIES} series, each as series=COLLECTOR/DEVICE/POINT"
        )
    start, end = time_of_request("from", "-15m", now), time_of_request("to", "now", now)
    if start >= end:
        raise BadRequest(reason="from must lie before to")
    resolution = request.args.get("resolution", "raw")
    return _Asked(
        rows=ExportRequest(
            units=units_of(plane, series),
            start_ns=to_ns(start),
            end_ns=to_ns(end),
            width_ns=_width_ns(resolution),
        ),
        start=start,
        end=end,
        resolution=resolution,
        form=cast(FileFormat, _one_of("format", tuple(MEDIA_TYPES))),
        zone=_zone(request.args.get("zone", "UTC")),
        with_bom=_one_of("bom", ("0", "1")) == "1",
        language=language_of_request(),
    )


def _one_of(name: str, choices: tuple[str, ...]) -> str:
    text = request.args.get(name, choices[0])
    if text not in choices:
        raise BadRequest(reason=f"{name} must be {' or '.join(choices)}")
    return text


def _width_ns(resolution: str) -> int:
    if resolution == "raw":
        return 0
    match = _RESOLUTION.fullmatch(resolution)
    if match is None:
        raise BadRequest(reason="resolution must be raw, or such as 10s, 1m, 1h or 1d")
    return int(match[1]) * _UNITS_S[match[2]] * 10**9


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise BadRequest(reason="zone must be an IANA time zone such as Asia/Shanghai") from None


def _id() -> str:
    id_ = request.args.get("id") or secrets.token_urlsafe(12)
    if _ID.fullmatch(id_) is None:
        raise BadRequest(reason="id must be 8..64 letters, digits, - and _")
    return id_


def _content(plane: ControlPlane, asked: _Asked, job: ExportJob, actor: Actor) -> Iterator[bytes]:
    """Return the file piece by piece; errors that can be known before the first piece are raised
    here, where they still become an answer of their own."""
    source = job.watched(pages(plane.history, asked.rows))
    head = _head(asked)
    if asked.form == "csv":
        first = list(itertools.islice(source, 1))
        whole = itertools.chain(first, source)
        return csv_chunks(head, whole, asked.zone, with_bom=asked.with_bom)
    too_large = ExportTooLarge(limit=XLSX_ROWS)
    if not asked.rows.width_ns and count_samples(plane.history, asked.rows, XLSX_ROWS) > XLSX_ROWS:
        raise too_large
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been sent
    try:
        few = _at_most(source, job, too_large)
        write_xlsx(file, head, few, asked.zone, _facts(plane, asked, actor))
    except BaseException:
        file.close()
        raise
    return _chunks(file)


def _at_most(source: Iterator[Page], job: ExportJob, error: ExportTooLarge) -> Iterator[Page]:
    for page in source:
        if job.rows > XLSX_ROWS:
            raise error
        yield page


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _followed(content: Iterator[bytes], job: ExportJob) -> Iterator[bytes]:
    """Pass the pieces on and note how it ends. An error cuts the connection, so that nobody takes
    half a file for the whole."""
    try:
        yield from content
        job.state = "done"
    except ExportCancelled:
        job.state = "cancelled"
        raise
    except Exception:
        job.state = "failed"
        raise


def _ending(plane: ControlPlane, actor: Actor, asked: _Asked, job: ExportJob) -> Callable[[], None]:
    def end() -> None:
        if job.state == "running":
            job.state = "cancelled"  # the client has gone
        try:
            _note(plane, actor, asked, job, job.state)
        except StorageError as exc:
            log.error("end of an export cannot be audited", extra={"reason": str(exc)})

    return end


def _note(plane: ControlPlane, actor: Actor, asked: _Asked, job: ExportJob, outcome: str) -> None:
    first, *others = asked.rows.units
    span = f"{iso(asked.start)}..{iso(asked.end)}"
    detail = f"{asked.form} {asked.resolution} {span} series={1 + len(others)} rows={job.rows}"
    plane.console.audit.note(actor, "history.export", first, outcome, detail)


def _head(asked: _Asked) -> list[str]:
    codes = ("time_utc", "time_local", *asked.rows.columns)
    return [_text(asked, f"column.{code}", zone=asked.zone.key) for code in codes]


def _facts(plane: ControlPlane, asked: _Asked, actor: Actor) -> list[tuple[str, str]]:
    facts = {
        "from": iso(asked.start),
        "to": iso(asked.end),
        "resolution": asked.resolution,
        "zone": asked.zone.key,
        "created": iso(plane.console.clock.now()),
        "actor": actor.name,
    }
    named = [(_text(asked, f"about.{code}"), value) for code, value in facts.items()]
    return named + [(_text(asked, "about.series"), series) for series in asked.rows.units]


def _text(asked: _Asked, code: str, **params: object) -> str:
    return sentence("control_plane", f"export.{code}", params, asked.language)


def _file_name(asked: _Asked) -> str:
    collector = next(iter(asked.rows.units)).partition("/")[0]
    return f"{collector}_{asked.start:%Y%m%dT%H%M%SZ}_{asked.end:%Y%m%dT%H%M%SZ}.{asked.form}"
