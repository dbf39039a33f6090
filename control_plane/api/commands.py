"""Commands for collectors: start, stop, restart, reset of connections, signals; one or many."""

from dataclasses import asdict, replace
from typing import Annotated, Literal

from flask import Blueprint
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from collectors.contract.config_base import Label, Slug
from collectors.contract.messages import sentence
from collectors.contract.points import Value
from control_plane.api.endpoint import endpoint
from control_plane.api.errors import language_of_request
from control_plane.api.idempotency import once
from control_plane.api.parsing import Body
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.device_commands import sentence_of
from control_plane.errors import (
    Busy,
    KeyInUse,
    NodeUnreachable,
    NotRunning,
    SignalNotAllowed,
    SupervisorFault,
    SupervisorUnreachable,
    UnknownProcess,
)
from control_plane.storage.idempotent_answers import IdempotentAnswers
from control_plane.supervisor.process_manager import Action, CommandResult

MAX_BULK = 2000


_ERRORS = (
    UnknownProcess,
    Busy,
    KeyInUse,
    SupervisorFault,
    SupervisorUnreachable,
    NodeUnreachable,
)


class BulkCommand(Body):
    action: Action
    names: Annotated[
        list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=MAX_BULK)
    ]


class WriteRequest(Body):
    """``value`` as the point shows it, in its unit: the collector undoes scale and offset."""

    model_config = ConfigDict(strict=True, extra="forbid")

    device: Slug
    point: Label
    value: bool | int | FiniteFloat | Annotated[str, Field(max_length=1000)]


class SignalCommand(Body):
    signal: Annotated[str, Field(max_length=16)]


class WriteAnswer(BaseModel):
    """What came of a write; ``detail`` says why, in words. ``value`` is what the device gave back,
    null if it was not read back."""

    process: str
    device: str
    point: str
    outcome: Literal["done", "refused", "failed", "unknown"]
    code: str
    native_code: int
    value: Value | None
    duration_ms: float
    detail: str


class BulkAnswer(BaseModel):
    """One result for each name, whatever came of the others."""

    results: list[CommandResult]


def commands_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/processes`` that change something, and ``/api/v1/processes:bulk``."""
    blueprint = Blueprint("commands", __name__, url_prefix="/api/v1")
    commands, clock = plane.console.process_commands, plane.console.clock
    only_once = once(IdempotentAnswers(plane.console.database), clock)

    @blueprint.post("/processes/<name>/<any(start, stop, restart):action>")
    @only_once
    @endpoint(Permission.COMMAND, errors=_ERRORS)
    def command(name: str, action: Action, actor: Actor) -> CommandResult:
        """Start, stop or restart a collector and say what was seen."""
        return _said(commands.command(actor, action, name))

    @blueprint.post("/processes/<name>/reset-connection")
    @only_once
    @endpoint(Permission.COMMAND, errors=_ERRORS)
    def reset_connection(name: str, actor: Actor) -> CommandResult:
        """Have a collector close its device connections and open them anew."""
        return _said(commands.reset_connection(actor, name))

    @blueprint.post("/processes/<name>/signal")
    @only_once
    @endpoint(Permission.COMMAND, errors=(*_ERRORS, SignalNotAllowed), example={"signal": "USR2"})
    def signal(name: str, body: SignalCommand, actor: Actor) -> CommandResult:
        """Send a signal that collectors know: HUP, USR1 or USR2."""
        return _said(commands.signal(actor, name, body.signal))

    @blueprint.post("/processes/<name>/write")
    @only_once
    @endpoint(
        Permission.WRITE,
        errors=(*_ERRORS, NotRunning),
        example={"device": "press1", "point": "setpoint", "value": 21.5},
    )
    def write(name: str, body: WriteRequest, actor: Actor) -> WriteAnswer:
        """Write a value to a point that its file marks as writable."""
        written = plane.console.device_commands.write(
            actor, name, body.device, body.point, body.value
        )
        detail = sentence_of(written, language_of_request())
        return WriteAnswer.model_validate(asdict(written) | {"detail": detail})

    @blueprint.post("/processes:bulk")
    @only_once
    @endpoint(
        Permission.COMMAND,
        errors=(KeyInUse, SupervisorUnreachable),
        example={"action": "restart", "names": ["line1", "line2"]},
    )
    def bulk(body: BulkCommand, actor: Actor) -> BulkAnswer:
        """Start, stop or restart many collectors."""
        results = commands.bulk(actor, body.action, body.names)
        return BulkAnswer(results=[_said(each) for each in results])

    return blueprint


def _said(result: CommandResult) -> CommandResult:
    """Return the result with words instead of the code."""
    words = sentence(
        "control_plane", f"command.{result.detail}", asdict(result), language_of_request()
    )
    return replace(result, detail=words)
