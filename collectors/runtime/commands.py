"""Obey commands: check each, carry it out, and keep what became of it for the heartbeat."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from collectors.contract.commands import (
    AnyCommand,
    CommandOutcome,
    CommandState,
    NotACommand,
    ReduceFrequencyCommand,
    ResetConnectionCommand,
    WriteCommand,
    parse_command,
)
from collectors.contract.points import Value
from collectors.runtime.device import DeviceTask
from collectors.runtime.driver import ConnectionLost, WriteFailed, WriteRefused

MAX_IN_FLIGHT: Final = 32
_REMEMBERED: Final = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What a command can move; ``device`` returns ``None`` for one that is not in the file."""

    device: Callable[[str], DeviceTask | None]
    reset: Callable[[str | None], Awaitable[None]]
    set_factor: Callable[[float], None]
    clear_cache: Callable[[], None]


class Refused(Exception):
    """Nothing was done; ``command.CODE`` is the sentence for it."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class CommandDesk:
    """Takes lines as they come; each id is obeyed once.

    Args:
        outcomes: Where what became of each command is put, newest last.
        changed: Called after each outcome.
    """

    def __init__(
        self, hands: Hands, outcomes: deque[CommandOutcome], changed: Callable[[], None]
    ) -> None:
        self._hands = hands
        self._outcomes = outcomes
        self._changed = changed
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        self._running: set[asyncio.Task[None]] = set()
        self.is_open = False
        """Until the collector acquires, everything is refused."""

    def receive(self, line: bytes | None) -> None:
        """Take one line; ``None`` stands for one that was too long to read."""
        if line is None:
            self._note(_outcome("", "", CommandState.REFUSED, code="line_too_long"))
            return
        try:
            command = parse_command(line)
        except NotACommand as exc:
            _log.warning("command not understood", extra={"reason": exc.reason})
            code = "not_a_command"
            self._note(_outcome(exc.command_id, "", CommandState.REFUSED, code=code))
            return
        if command.id in self._seen:
            return
        self._seen.append(command.id)
        task = asyncio.create_task(self._obey(command), name=f"command {command.id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)

    async def _obey(self, command: AnyCommand) -> None:
        done = _outcome(command.id, command.command, CommandState.DONE)
        try:
            self._check(command)
            value = await self._carry_out(command)
            outcome = replace(done, value=value)
        except Refused as exc:
            outcome = replace(done, state=CommandState.REFUSED, code=exc.code)
        except WriteFailed as exc:
            was_sent = not isinstance(exc, WriteRefused)
            outcome = replace(
                done,
                state=CommandState.FAILED if was_sent else CommandState.REFUSED,
                code=exc.code,
                native_code=exc.native_code,
                value=exc.read_back.value if exc.read_back else None,
            )
        except ConnectionLost:
            outcome = replace(done, state=CommandState.FAILED, code="connection_lost")
        self._note(replace(outcome, at=datetime.now(UTC)))

    def _check(self, command: AnyCommand) -> None:
        if not self.is_open:
            raise Refused("held")
        if len(self._running) > MAX_IN_FLIGHT:
            raise Refused("too_many")
        if command.expires_at is not None and command.expires_at <= datetime.now(UTC):
            raise Refused("expired")

    async def _carry_out(self, command: AnyCommand) -> Value | None:
        if isinstance(command, WriteCommand):
            return await self._write(command)
        if isinstance(command, ResetConnectionCommand):
            if command.device is not None and self._hands.device(command.device) is None:
                raise Refused("unknown_device")
            await self._hands.reset(command.device)
        elif isinstance(command, ReduceFrequencyCommand):
            self._hands.set_factor(command.factor)
        else:
            self._hands.clear_cache()
        return None

    async def _write(self, command: WriteCommand) -> Value | None:
        device = self._hands.device(command.device)
        if device is None:
            raise Refused("unknown_device")
        if command.point not in device.writable_points:
            is_known = device.has_point(command.point)
            raise Refused("not_writable" if is_known else "unknown_point")
        clamp = device.writable_points[command.point]
        if clamp is not None and not _is_inside(command.value, clamp):
            raise Refused("outside_clamp")
        if not device.state.is_connected:
            raise Refused("not_connected")
        sample = await device.write(command.point, command.value, command.expires_at)
        return sample.value

    def _note(self, outcome: CommandOutcome) -> None:
        self._outcomes.append(outcome)
        self._changed()
        facts = {"id": outcome.id, "command": outcome.command, "state": outcome.state.value}
        level = logging.INFO if outcome.state is CommandState.DONE else logging.WARNING
        _log.log(level, "command", extra={**facts, "code": outcome.code})


def _outcome(
    command_id: str, command: str, state: CommandState, *, code: str = ""
) -> CommandOutcome:
    return CommandOutcome(
        id=command_id, command=command, state=state, code=code, at=datetime.now(UTC)
    )


def _is_inside(value: Value, clamp: tuple[float, float]) -> bool:
    # Only a number can be compared; the driver says if the point takes nothing else.
    return isinstance(value, str) or clamp[0] <= value <= clamp[1]
