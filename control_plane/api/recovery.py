"""What automatic recovery does and why not, and maintenance."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, Field

from collectors.contract.messages import sentence
from control_plane.api.errors import language_of_request
from control_plane.api.identity import actor_with, parse_body
from control_plane.api.parameters import whole_number
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.recovery import Decision, DecisionRecord, Maintenance
from control_plane.recovery.memory import Memory
from control_plane.recovery.service import is_in_maintenance
from control_plane.storage.recovery import RecoveryDecisions

MAX_DECISIONS = 500


class MaintenanceRequest(BaseModel):
    """``process`` is a collector's name, or ``*`` for all."""

    process: Annotated[str, Field(min_length=1, max_length=64)]
    minutes: Annotated[float, Field(gt=0, le=30 * 24 * 60)]
    reason: Annotated[str, Field(min_length=1, max_length=200)]


def recovery_blueprint(plane: ControlPlane) -> Blueprint:
    """The routes ``/api/v1/recovery`` and ``/api/v1/maintenance``."""
    blueprint = Blueprint("recovery", __name__, url_prefix="/api/v1")
    decisions = RecoveryDecisions(plane.console.database)
    maintenance = plane.console.maintenance

    @blueprint.get("/recovery")
    def show() -> Response:
        """Say for each collector what is done about it now, or why nothing is."""
        actor_with(Permission.VIEW)
        language, only = language_of_request(), request.args.get("process")
        windows = {window.process: window for window in maintenance.present()}
        return jsonify(
            collectors=[
                _decision(decision, language)
                | _state(plane.recovery.memory_of(name), name, windows)
                for name, decision in sorted(plane.recovery.latest().items())
                if only in (None, name)
            ],
            dry_run=plane.console.limits.recovery.dry_run,
            problems=[problem.text(language) for problem in plane.console.limits.problems],
        )

    @blueprint.get("/recovery/decisions")
    def history() -> Response:
        actor_with(Permission.VIEW)
        limit = whole_number("limit", 50, MAX_DECISIONS)
        before = whole_number("before", 0, 2**31) if "before" in request.args else None
        found = decisions.newest(request.args.get("process"), limit, before)
        language = language_of_request()
        return jsonify(decisions=[_record(record, language) for record in found])

    @blueprint.get("/maintenance")
    def list_maintenance() -> Response:
        actor_with(Permission.VIEW)
        return jsonify(maintenance=[_window(window) for window in maintenance.present()])

    @blueprint.post("/maintenance")
    def begin_maintenance() -> Response:
        actor, body = actor_with(Permission.VIEW), parse_body(MaintenanceRequest)
        until = plane.console.clock.now() + timedelta(minutes=body.minutes)
        window = maintenance.begin(actor, body.process, until, body.reason)
        plane.monitor.wake()
        return jsonify(_window(window))

    @blueprint.delete("/maintenance/<process>")
    def end_maintenance(process: str) -> Response:
        maintenance.end(actor_with(Permission.VIEW), process)
        plane.monitor.wake()
        return Response(status=204)

    return blueprint


def _state(memory: Memory, name: str, windows: Mapping[str, Maintenance]) -> dict[str, object]:
    window = is_in_maintenance(windows, name)
    return {
        "circuit": memory.circuit.value,
        "factor": memory.factor,
        "maintenance": _window(window) if window else None,
    }


def _decision(decision: Decision, language: str) -> dict[str, object]:
    def say(code: str) -> str:
        return sentence("control_plane", f"recovery.{code}", decision.facts, language)

    guard = decision.guard
    return {
        "process": decision.process,
        "category": decision.category,
        "rule": decision.rule,
        "cause": say(decision.rule),
        "wanted": decision.wanted,
        "action": decision.action,
        "action_text": say(f"action.{decision.action}"),
        "guard": guard,
        "reason": say(f"guard.{guard}") if guard else "",
        "attempt": decision.attempt,
        "facts": dict(decision.facts),
    }


def _record(record: DecisionRecord, language: str) -> dict[str, object]:
    return _decision(record.decision, language) | {
        "id": record.id,
        "at": _iso(record.at),
        "outcome": record.outcome,
        "detail": record.detail,
    }


def _window(window: Maintenance) -> dict[str, object]:
    return {
        "process": window.process,
        "until": _iso(window.until),
        "actor": window.actor,
        "reason": window.reason,
    }


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
