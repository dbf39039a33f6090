"""Shelves: alerts that are shown but not told for a time, with who and why."""

from datetime import timedelta
from typing import Annotated, Self

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from control_plane.alert_commands import LONGEST_SHELF, Shelving
from control_plane.api.identity import actor_with, parse_body
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.alerts import MAX_REASON_CHARACTERS, Silence
from control_plane.errors import UnknownSilence

_SILENCES = TypeAdapter(list[Silence])
_Pattern = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
_MAX_ID = 2**31 - 1


class NewSilence(BaseModel):
    """Shelve one alert by ``alert_id``, or all that match ``rule`` and ``subject``."""

    model_config = ConfigDict(extra="forbid")

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


def silences_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/silences``."""
    blueprint = Blueprint("silences", __name__, url_prefix="/api/v1/silences")
    service, commands = plane.alerts.service, plane.alerts.commands

    @blueprint.get("")
    def list_silences() -> Response:
        actor_with(Permission.VIEW)
        return jsonify(silences=_SILENCES.dump_python(service.silences(), mode="json"))

    @blueprint.post("")
    def shelve() -> tuple[Response, int]:
        actor, body = actor_with(Permission.VIEW), parse_body(NewSilence)
        wanted = Shelving(
            alert_id=body.alert_id,
            rule=body.rule,
            subject=body.subject,
            lasts=timedelta(seconds=body.duration_s),
            reason=body.reason,
        )
        kept = commands.shelve(actor, wanted)
        return jsonify(_SILENCES.dump_python([kept], mode="json")[0]), 201

    @blueprint.delete("/<int:silence_id>")
    def unshelve(silence_id: int) -> tuple[str, int]:
        actor = actor_with(Permission.VIEW)
        if silence_id > _MAX_ID:
            raise UnknownSilence(id=silence_id)
        commands.unshelve(actor, silence_id)
        return "", 204

    return blueprint
