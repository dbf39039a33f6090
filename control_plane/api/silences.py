"""Shelves: alerts that are shown but not told for a time, with who and why."""

from datetime import timedelta
from typing import Annotated, Self

from flask import Blueprint
from pydantic import BaseModel, Field, model_validator

from control_plane.alert_commands import LONGEST_SHELF, Shelving
from control_plane.api.endpoint import endpoint
from control_plane.api.parsing import Body
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.alerts import MAX_REASON_CHARACTERS, Silence
from control_plane.errors import UnknownSilence

_Pattern = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
_MAX_ID = 2**31 - 1


class NewSilence(Body):
    """Shelve one alert by ``alert_id``, or all that match ``rule`` and ``subject``."""

    alert_id: Annotated[int, Field(ge=1, le=2**53)] | None = None
    rule: Annotated[_Pattern, Field(max_length=32)] = "*"
    subject: _Pattern = "*"
    duration_s: Annotated[float, Field(ge=1, le=LONGEST_SHELF.total_seconds())]
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARACTERS)]

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.alert_id is None and self.rule == self.subject == "*":
            raise ValueError("give alert_id, rule or subject: shelving everything hides the plant")
        return self


class SilenceList(BaseModel):
    silences: list[Silence]


def silences_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/silences``."""
    blueprint = Blueprint("silences", __name__, url_prefix="/api/v1/silences")
    service, commands = plane.alerts.service, plane.alerts.commands

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def list_silences() -> SilenceList:
        """List the shelves that hold."""
        return SilenceList(silences=list(service.silences()))

    @blueprint.post("")
    @endpoint(
        Permission.COMMAND,
        status=201,
        example={"rule": "cpu", "subject": "line1", "duration_s": 3600, "reason": "being changed"},
    )
    def shelve(body: NewSilence, actor: Actor) -> Silence:
        """Keep alerts from being told for a time."""
        wanted = Shelving(
            alert_id=body.alert_id,
            rule=body.rule,
            subject=body.subject,
            lasts=timedelta(seconds=body.duration_s),
            reason=body.reason,
        )
        return commands.shelve(actor, wanted)

    @blueprint.delete("/<int:silence_id>")
    @endpoint(Permission.COMMAND, errors=(UnknownSilence,))
    def unshelve(silence_id: int, actor: Actor) -> None:
        """End a shelf before its time."""
        if silence_id > _MAX_ID:
            raise UnknownSilence(id=silence_id)
        commands.unshelve(actor, silence_id)

    return blueprint
