"""Commands for collectors: start, stop, restart, reset of connections, signals; one or many."""

from dataclasses import asdict
from typing import Annotated

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from collectors.contract.config_base import Label, Slug
from collectors.contract.messages import sentence
from control_plane.api.errors import language_of_request
from control_plane.api.idempotency import once
from control_plane.api.identity import actor_with, parse_body
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.device_commands import sentence_of
from control_plane.storage.idempotent_answers import IdempotentAnswers
from control_plane.supervisor.process_manager import Action, CommandResult

MAX_BULK = 2000


class BulkCommand(BaseModel):
    action: Action
    names: Annotated[list[str], Field(min_length=1, max_length=MAX_BULK)]


class WriteRequest(BaseModel):
    """``value`` as the point shows it, in its unit: the collector undoes scale and offset."""

    model_config = ConfigDict(strict=True)

    device: Slug
    point: Label
    value: bool | int | FiniteFloat | Annotated[str, Field(max_length=1000)]


class SignalCommand(BaseModel):
    signal: Annotated[str, Field(max_length=16)]


def commands_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/processes`` that change something, and ``/api/v1/processes:bulk``."""
    blueprint = Blueprint("commands", __name__, url_prefix="/api/v1")
    commands, clock = plane.console.process_commands, plane.console.clock
    only_once = once(IdempotentAnswers(plane.console.database), clock)

    @blueprint.post("/processes/<name>/<any(start, stop, restart):action>")
    @only_once
    def command(name: str, action: Action) -> Response:
        actor = actor_with(Permission.VIEW)
        return jsonify(_result(commands.command(actor, action, name)))

    @blueprint.post("/processes/<name>/reset-connection")
    @only_once
    def reset_connection(name: str) -> Response:
        actor = actor_with(Permission.VIEW)
        return jsonify(_result(commands.reset_connection(actor, name)))

    @blueprint.post("/processes/<name>/signal")
    @only_once
    def signal(name: str) -> Response:
        actor = actor_with(Permission.VIEW)
        return jsonify(_result(commands.signal(actor, name, parse_body(SignalCommand).signal)))

    @blueprint.post("/processes/<name>/write")
    @only_once
    def write(name: str) -> Response:
        actor, body = actor_with(Permission.VIEW), parse_body(WriteRequest)
        written = plane.console.device_commands.write(
            actor, name, body.device, body.point, body.value
        )
        return jsonify(asdict(written) | {"detail": sentence_of(written, language_of_request())})

    @blueprint.post("/processes:bulk")
    @only_once
    def bulk() -> Response:
        actor = actor_with(Permission.VIEW)
        body = parse_body(BulkCommand)
        return jsonify(results=[_result(r) for r in commands.bulk(actor, body.action, body.names)])

    return blueprint


def _result(result: CommandResult) -> dict[str, object]:
    body = asdict(result)
    code = f"command.{result.detail}"
    return body | {"detail": sentence("control_plane", code, body, language_of_request())}
