"""The control endpoint: switches faults, holds values and tells counters, on 127.0.0.1 only.

One JSON object a line is a command, one a line its answer::

    {"do": "devices"}
    {"do": "fault", "device": "press1", "fault": "delay", "delay_s": 0.5, "for_s": 10}
    {"do": "clear", "device": "press1", "fault": "delay"}
    {"do": "write", "device": "press1", "signal": "oil_temperature", "value": 91.5}

An answer has ``"ok": true``, or the ``problems`` as code, key and parameters of a sentence of the
catalogue. The first line that is no JSON object ends the connection, so that a web page which
makes a browser send HTTP here achieves nothing.
"""

import asyncio
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from simulators.config import AnySimulator, devices_of, problem_with_order
from simulators.device import Device, carry_out
from simulators.faults import FaultKind, FaultOrder
from simulators.listener import CannotListen
from simulators.memory import CannotHold, NoSuchSignal
from simulators.problems import Problem, problems_of
from simulators.waveforms import Content

_HOST = "127.0.0.1"
_MAX_LINE_BYTES = 65536


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Devices(_Command):
    device: str = "*"


class _Clear(_Command):
    device: str = "*"
    unit: int | None = None
    fault: FaultKind | None = None


class _Write(_Command):
    device: str
    signal: str
    unit: int | None = None
    value: Content | None
    """``None``: the signal follows its wave again."""


_COMMANDS: Mapping[str, type[BaseModel]] = {
    "devices": _Devices,
    "fault": FaultOrder,
    "clear": _Clear,
    "write": _Write,
}


class _Rejected(Exception):
    """The command is not carried out."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__()
        self.problems = problems


class ControlServer:
    """The endpoint of one process."""

    def __init__(self, config: AnySimulator, devices: Sequence[Device]) -> None:
        self._config = config
        self._devices = devices
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def open(self, port: int) -> int:
        """Listen on 127.0.0.1; return the port.

        Raises:
            CannotListen: it is taken.
        """
        try:
            self._server = await asyncio.start_server(
                self._serve, _HOST, port, limit=_MAX_LINE_BYTES
            )
        except OSError as exc:
            raise CannotListen(exc, _HOST, port) from exc
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                command = _parse(line)
                if command is None:
                    break
                answer = await self._answer(command)
                writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            # Too long a line, or the client is gone.
            pass
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": True} | await self._obey(command)
        except _Rejected as exc:
            return {
                "ok": False,
                "problems": [
                    {
                        "key": p.key,
                        "code": p.code,
                        "params": {k: str(v) for k, v in p.params.items()},
                    }
                    for p in exc.problems
                ],
            }

    async def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        name = command.pop("do", None)
        model = _COMMANDS.get(name) if isinstance(name, str) else None
        if model is None:
            raise _Rejected(
                Problem(key="do", code="no_command", params={"known": ", ".join(_COMMANDS)})
            )
        try:
            order = model.model_validate(command)
        except ValidationError as exc:
            raise _Rejected(*problems_of(exc, model)) from None
        match order:
            case FaultOrder():
                self._order(order)
                await self._settled()
            case _Clear():
                for device in self._named(order.device):
                    device.faults.clear(order.fault, unit=order.unit)
                await self._settled()
            case _Write():
                await self._write(order)
            case _Devices():
                return {"devices": [_describe(device) for device in self._named(order.device)]}
        return {}

    async def _settled(self) -> None:
        for device in self._devices:
            await device.settled()

    def _order(self, order: FaultOrder) -> None:
        problem = problem_with_order(order, self._config.protocol, devices_of(self._config))
        if problem is not None:
            raise _Rejected(Problem(key=problem.key, code=problem.code, params=problem.params))
        carry_out(order, self._devices)

    async def _write(self, order: _Write) -> None:
        try:
            for device in self._named(order.device):
                await device.hold(order.signal, order.value, order.unit)
        except NoSuchSignal:
            params = {"device": order.device, "signal": order.signal}
            raise _Rejected(Problem(key="signal", code="no_such_signal", params=params)) from None
        except CannotHold as exc:
            params = {
                "value": repr(order.value),
                "type": exc.signal_type,
                "length": str(exc.length),
            }
            problem = Problem(key="value", code=f"wave_{exc.reason}", params=params)
            raise _Rejected(problem) from None

    def _named(self, device: str) -> list[Device]:
        found = [entry for entry in self._devices if device in ("*", entry.id)]
        if not found:
            known = ", ".join(entry.id for entry in self._devices[:10])
            raise _Rejected(
                Problem(
                    key="device",
                    code="no_such_device",
                    params={"device": device, "known": known},
                )
            )
        return found


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return command if isinstance(command, dict) else None


def _describe(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "port": device.listener.port,
        "counters": dataclasses.asdict(device.faults.counters),
        "faults": device.faults.describe(),
    }
