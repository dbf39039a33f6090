"""What a running collector can be told to do, and what it says became of it.

A command is one JSON object a line on the collector's standard input; the control plane sends it
with supervisord's ``sendProcessStdin``. The outcome appears in the next heartbeat. An ``id`` is
obeyed once: the same line again changes nothing.
"""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
)

from collectors.contract.config_base import Label, Slug, Strict
from collectors.contract.points import Value

MAX_COMMAND_BYTES = 16_384
"""A longer line is refused unread."""
OUTCOMES_KEPT = 32
"""So many of the newest outcomes are in a heartbeat."""
MAX_FACTOR = 8.0

CommandId = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]


class _Command(Strict):
    id: CommandId
    expires_at: AwareDatetime | None = None
    """Not to be obeyed after this moment; a write must have one."""


class WriteCommand(_Command):
    """Write one value to a point that is marked writable, and read it back."""

    command: Literal["write"]
    device: Slug
    point: Label
    value: bool | int | FiniteFloat | str
    expires_at: AwareDatetime


class ResetConnectionCommand(_Command):
    """Close the connection and open it again; without ``device``, that of every device."""

    command: Literal["reset_connection"]
    device: Slug | None = None


class ReduceFrequencyCommand(_Command):
    """Read every group ``factor`` times more slowly than the file says; 1 ends that."""

    command: Literal["reduce_frequency"]
    factor: Annotated[float, Field(ge=1, le=MAX_FACTOR)]


class ClearCacheCommand(_Command):
    """Forget what was learned of the devices, such as requests that had to be split."""

    command: Literal["clear_cache"]


AnyCommand = WriteCommand | ResetConnectionCommand | ReduceFrequencyCommand | ClearCacheCommand


class CommandState(enum.StrEnum):
    DONE = "done"
    REFUSED = "refused"
    """Nothing was sent to a device."""
    FAILED = "failed"
    """It was tried; a device may have taken it or not, see ``value``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """What became of a command.

    Attributes:
        id: Of the command; empty if the line could not be understood.
        code: Why it was not done; empty if it was. ``command.CODE`` is its sentence.
        native_code: The device's own status, 0 if none.
        value: What the device gave back after a write.
        at: When the outcome was known.
    """

    id: str
    command: str
    state: CommandState
    code: str = ""
    native_code: int = 0
    value: Value | None = None
    at: datetime


class NotACommand(ValueError):
    """The line is not a command; ``command_id`` is empty where not even that can be read."""

    def __init__(self, reason: str, command_id: str = "") -> None:
        self.reason = reason
        self.command_id = command_id
        super().__init__(reason)


class _Identified(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    id: CommandId


_ADAPTER: TypeAdapter[AnyCommand] = TypeAdapter(
    Annotated[AnyCommand, Field(discriminator="command")]
)


def parse_command(line: bytes) -> AnyCommand:
    """Read one line.

    Raises:
        NotACommand: not JSON, not a known command, or with wrong or unknown keys.
    """
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        raise NotACommand(reason, _id_of(line)) from None


def _id_of(line: bytes) -> str:
    """Return the id of a line that is no command, so that whoever sent it learns of that."""
    try:
        return _Identified.model_validate_json(line).id
    except ValidationError:
        return ""


def format_command(command: AnyCommand) -> bytes:
    """Return the line that :func:`parse_command` reads, with its end."""
    return _ADAPTER.dump_json(command, exclude_none=True) + b"\n"
