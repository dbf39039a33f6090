"""What automatic recovery does and why not, and maintenance."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from flask import Blueprint
from pydantic import BaseModel, Field

from collectors.contract.messages import sentence
from control_plane.api.answers import fields_of
from control_plane.api.endpoint import endpoint
from control_plane.api.errors import language_of_request
from control_plane.api.parsing import Body, Query
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.recovery import Circuit, Decision, DecisionRecord, Maintenance
from control_plane.errors import BadMaintenance, UnknownProcess
from control_plane.recovery.memory import Memory
from control_plane.recovery.service import is_in_maintenance
from control_plane.storage.recovery import RecoveryDecisions

MAX_DECISIONS = 500
_Decision = fields_of(Decision)


class MaintenanceRequest(Body):
    """``process`` is a collector's name, or ``*`` for all."""

    process: Annotated[str, Field(min_length=1, max_length=64)]
    minutes: Annotated[float, Field(gt=0, le=30 * 24 * 60)]
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class DecisionView(_Decision):  # type: ignore[misc, valid-type] # made from the domain's type
    """A decision in words: what is wrong, what is done, and why it is not (empty if it is)."""

    cause: str
    action_text: str
    reason: str


class RecoveryState(DecisionView):
    circuit: Circuit
    factor: float
    maintenance: Maintenance | None


class RecoveryQuery(Query):
    process: Annotated[str, Field(max_length=200)] | None = None


class Recovery(BaseModel):
    collectors: list[RecoveryState]
    dry_run: bool
    problems: list[str]


class RecoveryRecord(DecisionView):
    """What was decided at a time and what became of it."""

    id: int
    at: datetime
    outcome: str
    detail: str


class DecisionQuery(RecoveryQuery):
    limit: Annotated[int, Field(ge=1, le=MAX_DECISIONS)] = 50
    before: Annotated[int, Field(ge=1, le=2**31)] | None = None


class DecisionList(BaseModel):
    decisions: list[RecoveryRecord]


class MaintenanceList(BaseModel):
    maintenance: list[Maintenance]


def recovery_blueprint(plane: ControlPlane) -> Blueprint:
    """The routes ``/api/v1/recovery`` and ``/api/v1/maintenance``."""
    blueprint = Blueprint("recovery", __name__, url_prefix="/api/v1")
    _add_decisions(blueprint, plane)
    _add_maintenance(blueprint, plane)
    return blueprint


def _add_decisions(blueprint: Blueprint, plane: ControlPlane) -> None:
    decisions = RecoveryDecisions(plane.console.database)

    @blueprint.get("/recovery")
    @endpoint(Permission.VIEW)
    def show(query: RecoveryQuery) -> Recovery:
        """Say for each collector what is done about it now, or why nothing is."""
        language = language_of_request()
        windows = {window.process: window for window in plane.console.maintenance.present()}
        return Recovery(
            collectors=[
                RecoveryState(
                    **_words(decision, language),
                    **_state(plane.recovery.memory_of(name), name, windows),
                )
                for name, decision in sorted(plane.recovery.latest().items())
                if query.process in (None, name)
            ],
            dry_run=plane.console.limits.recovery.dry_run,
            problems=[problem.text(language) for problem in plane.console.limits.problems],
        )

    @blueprint.get("/recovery/decisions")
    @endpoint(Permission.VIEW)
    def history(query: DecisionQuery) -> DecisionList:
        """List what was decided, newest first."""
        found = decisions.newest(query.process, query.limit, query.before)
        language = language_of_request()
        return DecisionList(decisions=[_record(record, language) for record in found])


def _add_maintenance(blueprint: Blueprint, plane: ControlPlane) -> None:
    maintenance = plane.console.maintenance

    @blueprint.get("/maintenance")
    @endpoint(Permission.VIEW)
    def list_maintenance() -> MaintenanceList:
        """List the collectors to which nothing is done by itself just now."""
        return MaintenanceList(maintenance=list(maintenance.present()))

    @blueprint.post("/maintenance")
    @endpoint(
        Permission.COMMAND,
        errors=(UnknownProcess, BadMaintenance),
        example={"process": "line1", "minutes": 30, "reason": "new pump"},
    )
    def begin_maintenance(body: MaintenanceRequest, actor: Actor) -> Maintenance:
        """Leave a collector alone for a time."""
        until = plane.console.clock.now() + timedelta(minutes=body.minutes)
        window = maintenance.begin(actor, body.process, until, body.reason)
        plane.monitor.wake()
        return window

    @blueprint.delete("/maintenance/<process>")
    @endpoint(Permission.COMMAND, errors=(UnknownProcess,))
    def end_maintenance(process: str, actor: Actor) -> None:
        """End maintenance before its time."""
        maintenance.end(actor, process)
        plane.monitor.wake()


def _state(memory: Memory, name: str, windows: Mapping[str, Maintenance]) -> dict[str, Any]:
    return {
        "circuit": memory.circuit,
        "factor": memory.factor,
        "maintenance": is_in_maintenance(windows, name),
    }


def _words(decision: Decision, language: str) -> dict[str, Any]:
    def say(code: str) -> str:
        return sentence("control_plane", f"recovery.{code}", decision.facts, language)

    return asdict(decision) | {
        "cause": say(decision.rule),
        "action_text": say(f"action.{decision.action}"),
        "reason": say(f"guard.{decision.guard}") if decision.guard else "",
    }


def _record(record: DecisionRecord, language: str) -> RecoveryRecord:
    return RecoveryRecord(
        **_words(record.decision, language),
        id=record.id,
        at=record.at,
        outcome=record.outcome,
        detail=record.detail,
    )
