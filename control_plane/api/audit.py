"""The audit trail: read page by page, checked, exported."""

from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response
from pydantic import AwareDatetime, BaseModel, Field

from control_plane.api.endpoint import endpoint
from control_plane.api.parsing import Query
from control_plane.audit_commands import MEDIA_TYPES, AuditForm, entry_json
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.errors import NotPermitted, StorageError
from control_plane.storage.audit import AuditFilter
from control_plane.storage.audit_check import ChainReport, ProblemCode

MAX_ENTRIES = 500
_Text = Annotated[str, Field(max_length=80, pattern=r"^[^\x00]*$")]


class AuditQuery(Query):
    """Filters; ``action`` may end in ``*``: ``user.*``. ``start`` is included, ``end`` is not."""

    actor: _Text | None = None
    origin: _Text | None = None
    action: _Text | None = None
    target: _Text | None = None
    outcome: _Text | None = None
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None

    def wanted(self) -> AuditFilter:
        return AuditFilter(
            actor=self.actor,
            origin=self.origin,
            action=self.action,
            target=self.target,
            outcome=self.outcome,
            start=self.start,
            end=self.end,
        )


class AuditPageQuery(AuditQuery):
    """``before`` is the ``next_before`` of the page before."""

    limit: Annotated[int, Field(ge=1, le=MAX_ENTRIES)] = 100
    before: Annotated[int, Field(ge=1, le=2**31 - 1)] = 2**31 - 1


class AuditExportQuery(AuditQuery):
    format: AuditForm = "csv"


class AuditEntryView(BaseModel):
    id: int
    at: datetime
    actor: str
    origin: str
    action: str
    target: str
    outcome: str
    detail: str


class AuditPage(BaseModel):
    """Newest first; ``next_before`` is null on the last page."""

    entries: list[AuditEntryView]
    next_before: int | None


class ChainProblemView(BaseModel):
    """``first_id`` to ``last_id`` are the entries; of ``anchor_forged``, lines of that file."""

    code: ProblemCode
    first_id: int
    last_id: int


class ChainView(BaseModel):
    """What a check of the whole trail found.

    ``unanchored`` entries after ``anchored_id`` are sealed, but had somebody cut more from the
    end, nothing would show it: anchors are written each minute.
    """

    sound: bool
    entries: int
    first_id: int
    last_id: int
    problems: list[ChainProblemView]
    problem_count: int
    anchors: int
    anchored_id: int
    anchored_at: datetime | None
    unanchored: int


def audit_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/audit``, for administrators."""
    blueprint = Blueprint("audit", __name__, url_prefix="/api/v1/audit")
    commands = plane.console.audit_commands

    @blueprint.get("")
    @endpoint(Permission.AUDIT, errors=(NotPermitted,))
    def list_entries(query: AuditPageQuery, actor: Actor) -> AuditPage:
        """List who did what, newest first."""
        found = commands.entries(actor, query.wanted(), query.before, query.limit)
        return AuditPage(
            entries=[AuditEntryView(**entry_json(row)) for row in found],
            next_before=found[-1].id if len(found) == query.limit else None,
        )

    @blueprint.get("/verify")
    @endpoint(Permission.AUDIT, errors=(NotPermitted, StorageError))
    def verify(actor: Actor) -> ChainView:
        """Check that no entry was changed, removed, moved or put in."""
        return chain_view(commands.verify(actor))

    @blueprint.get("/export")
    @endpoint(Permission.AUDIT, errors=(NotPermitted,), media=tuple(MEDIA_TYPES.values()))
    def export(query: AuditExportQuery, actor: Actor) -> Response:
        """Download the entries that match, oldest first, each with its seal."""
        pieces = commands.export(actor, query.wanted(), query.format)
        response = Response(pieces, content_type=MEDIA_TYPES[query.format])
        at = plane.console.clock.now()
        name = f"audit_{at:%Y%m%dT%H%M%SZ}.{query.format}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    return blueprint


def chain_view(report: ChainReport) -> ChainView:
    """Return a report as the API shows it."""
    return ChainView(
        sound=report.is_sound,
        entries=report.entries,
        first_id=report.first_id,
        last_id=report.last_id,
        problems=[
            ChainProblemView(code=each.code, first_id=each.first_id, last_id=each.last_id)
            for each in report.problems
        ],
        problem_count=report.problem_count,
        anchors=report.anchors,
        anchored_id=report.anchored_id,
        anchored_at=report.anchored_at,
        unanchored=report.unanchored,
    )
