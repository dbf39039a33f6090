"""Whether rotated logs are what they were when they were sealed."""

from dataclasses import asdict
from typing import Annotated

from flask import Blueprint
from pydantic import Field

from control_plane.api.answers import fields_of
from control_plane.api.endpoint import endpoint
from control_plane.api.parsing import Query
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.seals import SealReport
from control_plane.errors import LogsUnreadable

_SealReport = fields_of(SealReport)


class IntegrityQuery(Query):
    """``newest`` is what an earlier check ended with; finds out whether seals were cut off."""

    newest: Annotated[str, Field(max_length=200)] = ""


class LogIntegrityReport(_SealReport):  # type: ignore[misc, valid-type] # from the domain's type
    """What a check of the sealed logs found; ``sound`` if it has no problem."""

    sound: bool


def log_integrity_blueprint(plane: ControlPlane) -> Blueprint:
    """The route ``/api/v1/logs/integrity``, for administrators: it reads every rotated log."""
    blueprint = Blueprint("log_integrity", __name__)

    @blueprint.get("/api/v1/logs/integrity")
    @endpoint(Permission.ADMINISTER, errors=(LogsUnreadable,))
    def integrity(query: IntegrityQuery, actor: Actor) -> LogIntegrityReport:
        """Check that rotated logs are as they were sealed."""
        report = plane.console.log_integrity.check(actor, query.newest)
        return LogIntegrityReport(**asdict(report), sound=not report.problems)

    return blueprint
