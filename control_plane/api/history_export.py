"""The history of several series as a file that engineers open, streamed while it is read."""

import itertools
import logging
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from collectors.contract.messages import sentence
from control_plane.api.endpoint import endpoint
from control_plane.api.errors import language_of_request
from control_plane.api.history_query import (
    TimeRange,
    checked_series,
    iso,
    span_of_request,
    to_ns,
    units_of,
)
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.errors import (
    BadInput,
    ExportCancelled,
    ExportTooLarge,
    StorageError,
    TooManyExports,
    UnknownExport,
)
from control_plane.exports.formats import (
    MEDIA_TYPES,
    XLSX_ROWS,
    FileFormat,
    csv_chunks,
)
from control_plane.exports.jobs import ExportJob, ExportJobs, State
from control_plane.exports.pages import ExportRequest, Page, count_samples, pages

log = logging.getLogger(__name__)

MAX_SERIES = 200
_RESOLUTION = re.compile(r"([1-9]\d{0,4})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
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


class ExportQuery(TimeRange):
    """Several ``series``, each COLLECTOR/DEVICE/POINT. ``resolution`` is ``raw``, or such as
    ``10s``, ``1m``; ``id`` of the client's choice finds the progress."""

    series: Annotated[
        list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=MAX_SERIES)
    ]
    format: FileFormat = "csv"
    resolution: Annotated[str, Field(max_length=16)] = "raw"
    zone: Annotated[str, Field(max_length=64)] = "UTC"
    bom: Literal["0", "1"] = "0"
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")] | None = None


class ExportProgress(BaseModel):
    """``fraction`` is of all series and their time, 0 to 1."""

    state: State
    fraction: float
    rows: int


def add_export_routes(blueprint: Blueprint, plane: ControlPlane) -> None:
    """Add ``/export`` to the routes of the history."""
    jobs = ExportJobs()

    @blueprint.get("/export")
    @endpoint(
        Permission.VIEW,
        errors=(ExportTooLarge, TooManyExports),
        media=tuple(MEDIA_TYPES.values()),
    )
    def export(query: ExportQuery, actor: Actor) -> Response:
        """Download the history of several series as CSV or XLSX."""
        asked = _parse(plane, query)
        job = jobs.begin(query.id or secrets.token_urlsafe(12), actor.name)
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
    @endpoint(Permission.VIEW, errors=(UnknownExport,))
    def progress(id_: str, actor: Actor) -> ExportProgress:
        """Show how far one's own export is."""
        job = jobs.find(id_, actor.name)
        return ExportProgress(state=job.state, fraction=round(job.fraction, 4), rows=job.rows)

    @blueprint.delete("/export/<id_>")
    @endpoint(Permission.VIEW, errors=(UnknownExport,))
    def cancel(id_: str, actor: Actor) -> None:
        """End one's own export."""
        jobs.find(id_, actor.name).cancelled = True


def _parse(plane: ControlPlane, query: ExportQuery) -> _Asked:
    series = list(dict.fromkeys(map(checked_series, query.series)))
    start, end = span_of_request(plane.console.clock.now())
    return _Asked(
        rows=ExportRequest(
            units=units_of(plane, series),
            start_ns=to_ns(start),
            end_ns=to_ns(end),
            width_ns=_width_ns(query.resolution),
        ),
        start=start,
        end=end,
        resolution=query.resolution,
        form=query.format,
        zone=_zone(query.zone),
        with_bom=query.bom == "1",
        language=language_of_request(),
    )


def _width_ns(resolution: str) -> int:
    if resolution == "raw":
        return 0
    match = _RESOLUTION.fullmatch(resolution)
    if match is None:
        raise BadInput.of("resolution", "not_resolution")
    return int(match[1]) * _UNITS_S[match[2]] * 10**9


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise BadInput.of("zone", "not_zone") from None


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
    from control_plane.exports.xlsx import write_xlsx  # noqa: PLC0415 - the server starts sooner

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
