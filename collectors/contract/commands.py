"""What a running collector can be told to do, and what it says became of it.

A command is one JSON object a line on the collector's standard input; the control plane sends it
with supervisord's ``sendProcessStdin``. The outcome appears in the next heartbeat. An ``id`` is
obeyed once: the same line again changes nothing.
"""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from collectors.contract import wire
from collectors.contract.config_base import Label, Slug
from collectors.contract.limits import Limits
from collectors.contract.points import Value

MAX_COMMAND_BYTES = 16_384
"""A longer line is refused unread."""
OUTCOMES_KEPT = 32
"""So many of the newest outcomes are in a heartbeat."""
MAX_FACTOR = 8.0

CommandId = Annotated[str, Limits(pattern=r"^[!-~]{1,64}$")]
_Whole = Annotated[int, Limits(ge=-(1 << 63), le=(1 << 64) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCommand:
    """Write one value to a point that is marked writable, and read it back.

    Attributes:
        expires_at: Not to be obeyed after this moment.
    """

    id: CommandId
    command: Literal["write"] = "write"
    device: Slug
    point: Label
    value: bool | _Whole | float | str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetConnectionCommand:
    """Close the connection and open it again; without ``device``, that of every device."""

    id: CommandId
    command: Literal["reset_connection"] = "reset_connection"
    device: Slug | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceFrequencyCommand:
    """Read every group ``factor`` times more slowly than the file says; 1 ends that."""

    id: CommandId
    command: Literal["reduce_frequency"] = "reduce_frequency"
    factor: Annotated[float, Limits(ge=1, le=MAX_FACTOR)]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearCacheCommand:
    """Forget what was learned of the devices, such as requests that had to be split."""

    id: CommandId
    command: Literal["clear_cache"] = "clear_cache"
    expires_at: datetime | None = None


AnyCommand = WriteCommand | ResetConnectionCommand | ReduceFrequencyCommand | ClearCacheCommand

_KINDS: dict[object, type[AnyCommand]] = {
    "write": WriteCommand,
    "reset_connection": ResetConnectionCommand,
    "reduce_frequency": ReduceFrequencyCommand,
    "clear_cache": ClearCacheCommand,
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identified:
    id: CommandId


def parse_command(line: bytes) -> AnyCommand:
    """Read one line.

    Raises:
        NotACommand: not JSON, not a known command, or with wrong or unknown keys.
    """
    document: object = None
    try:
        document = wire.parse(line)
        return wire.build(_kind_of(document), document, forbid_unknown=True)
    except wire.WireError as exc:
        raise NotACommand(str(exc), _id_of(document)) from None


def _kind_of(document: object) -> type[AnyCommand]:
    name = document.get("command") if isinstance(document, dict) else None
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise wire.WireError(f"command: none of {', '.join(map(str, _KINDS))}")
    return kind


def _id_of(document: object) -> str:
    """Return the id of a line that is no command, so that whoever sent it learns of that."""
    try:
        return wire.build(_Identified, document).id
    except wire.WireError:
        return ""


def format_command(command: AnyCommand) -> bytes:
    """Return the line that :func:`parse_command` reads, with its end."""
    return wire.encode(command) + b"\n"
