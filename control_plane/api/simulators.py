"""The simulated devices of a demo: what they do, and faults put into them and taken out."""

import json
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from flask import Blueprint
from pydantic import BaseModel, Field

from control_plane.api.endpoint import endpoint
from control_plane.api.parsing import Body
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.demo import simulators_of
from control_plane.errors import BadRequest, NotPermitted, UnknownProcess

_HOST: Final = "127.0.0.1"
_TIMEOUT_S: Final = 3.0


class SimulatedDevice(BaseModel):
    id: str
    port: int
    requests: int
    open_connections: int
    faults: list[str]


class Simulator(BaseModel):
    """``running`` is false where its process does not answer; then no device is known."""

    name: str
    running: bool
    devices: list[SimulatedDevice]


class SimulatorList(BaseModel):
    simulators: list[Simulator]


class NewFault(Body):
    """A fault of docs/simulators.md that needs no more than a length of time."""

    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    fault: Literal[
        "refuse", "silent", "drop", "delay", "close_before", "garbage", "exception", "freeze", "nan"
    ]
    for_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 60
    delay_s: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = 2


def simulators_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/simulators``; without a demo the list is empty."""
    blueprint = Blueprint("simulators", __name__, url_prefix="/api/v1/simulators")
    home, audit = plane.console.settings.home, plane.console.audit

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def list_simulators() -> SimulatorList:
        """List the simulators of this installation and the faults that they have."""
        return SimulatorList(simulators=[_simulator(home, name) for name in simulators_of(home)])

    @blueprint.post("/<name>/faults")
    @endpoint(
        Permission.COMMAND,
        errors=(NotPermitted, UnknownProcess, BadRequest),
        example={"device": "press1", "fault": "refuse", "for_s": 30},
    )
    def inject(name: str, body: NewFault, actor: Actor) -> Simulator:
        """Let a simulated device fail for a while."""
        target = f"{name}/{body.device}"
        audit.allow(actor, Permission.COMMAND, "simulator.fault", target, body.fault)
        _check_known(home, name)
        order: dict[str, object] = {"device": body.device, "fault": body.fault, "for_s": body.for_s}
        if body.fault == "delay":
            order["delay_s"] = body.delay_s
        _ask(home, name, {"do": "fault", **order})
        audit.note(actor, "simulator.fault", target, "done", f"{body.fault} {body.for_s:g} s")
        return _simulator(home, name)

    @blueprint.delete("/<name>/faults")
    @endpoint(Permission.COMMAND, errors=(NotPermitted, UnknownProcess, BadRequest))
    def clear(name: str, actor: Actor) -> Simulator:
        """End all faults of a simulator."""
        audit.allow(actor, Permission.COMMAND, "simulator.clear", name)
        _check_known(home, name)
        _ask(home, name, {"do": "clear"})
        audit.note(actor, "simulator.clear", name, "done")
        return _simulator(home, name)

    return blueprint


def _check_known(home: Path, name: str) -> None:
    if name not in simulators_of(home):
        raise UnknownProcess(name=name)


def _simulator(home: Path, name: str) -> Simulator:
    try:
        answer = _ask(home, name, {"do": "devices"})
    except BadRequest:
        return Simulator(name=name, running=False, devices=[])
    devices = [
        SimulatedDevice(
            id=device["id"],
            port=device["port"],
            requests=device["counters"]["requests"],
            open_connections=device["counters"]["open_connections"],
            faults=[each["fault"] for each in device["faults"]],
        )
        for device in answer["devices"]
    ]
    return Simulator(name=name, running=True, devices=devices)


def _ask(home: Path, name: str, command: dict[str, object]) -> dict[str, Any]:
    """Send one command to a simulator's control endpoint; see docs/simulators.md.

    Raises:
        BadRequest: nobody answers there, or the command is refused.
    """
    told = home / "simulators.d" / f"{name}.toml.control"
    try:
        port = int(json.loads(told.read_text(encoding="utf-8"))["control_port"])
        with socket.create_connection((_HOST, port), timeout=_TIMEOUT_S) as connection:
            connection.sendall(json.dumps(command).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer: Any = json.loads(stream.readline())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise BadRequest(reason=f"the simulator {name} does not answer") from exc
    if not isinstance(answer, dict):
        raise BadRequest(reason=f"another program than the simulator {name} answers")
    if not answer.get("ok"):
        problems = "; ".join(
            f"{each['key']}: {each['code']}" for each in answer.get("problems", ())
        )
        raise BadRequest(reason=f"the simulator {name} refuses: {problems}")
    return answer
