"""Alerts: open ones, those of the past, figures; acknowledging."""

from dataclasses import asdict
from typing import Annotated

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from control_plane.alerting.limits import DEFAULT_RULES
from control_plane.alerting.texts import rule_name
from control_plane.alerting.view import alert_json
from control_plane.api.errors import language_of_request
from control_plane.api.identity import actor_with, parse_body
from control_plane.api.parameters import whole_number
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.alerts import MAX_REASON_CHARACTERS, AlertSeverity
from control_plane.errors import BadRequest, UnknownAlert
from control_plane.storage.alerts import AlertFilter, Alerts, Step

MAX_PAGE = 500
_STEPS = TypeAdapter(list[Step])
_MAX_ID = 2**53


class Acknowledgement(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=MAX_REASON_CHARACTERS)] = ""


def alerts_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/alerts``."""
    blueprint = Blueprint("alerts", __name__, url_prefix="/api/v1/alerts")
    service, past = plane.alerts.service, Alerts(plane.console.database)

    @blueprint.get("")
    def list_alerts() -> Response:
        """Open alerts with ``state=open`` (default); ``state=all`` pages back by ``before``."""
        actor_with(Permission.VIEW)
        language = language_of_request()
        if request.args.get("state", "open") == "open":
            found, following = service.present(), None
        else:
            wanted = _wanted()
            found = past.past(wanted)
            following = found[-1].id if len(found) == wanted.limit else None
        return jsonify(
            alerts=[alert_json(alert, language) for alert in found],
            next_before=following,
            pending=[alert_json(alert, language) for alert in service.pending()],
            problems=[problem.text(language) for problem in service.problems],
        )

    @blueprint.get("/figures")
    def show_figures() -> Response:
        actor_with(Permission.VIEW)
        return jsonify(asdict(service.figures()))

    @blueprint.get("/rules")
    def rules() -> Response:
        actor_with(Permission.VIEW)
        limits, language = service.limits, language_of_request()
        return jsonify(
            rules=[
                {"rule": name, "title": rule_name(name, language)} | asdict(limits.rules[name])
                for name in DEFAULT_RULES
            ],
            overrides=[
                {"rule": o.rule, "subject": o.subject} | dict(o.changes) for o in limits.overrides
            ],
            repeat_s=limits.repeat_s,
            flapping=limits.flapping,
            gateway_collectors=limits.gateway_collectors,
            problems=[problem.text(language) for problem in service.problems],
        )

    @blueprint.get("/<int:alert_id>")
    def show(alert_id: int) -> Response:
        actor_with(Permission.VIEW)
        present = next((a for a in service.present() if a.id == alert_id), None)
        alert = present or past.find(_checked(alert_id))
        if alert is None:
            raise UnknownAlert(id=alert_id)
        steps = _STEPS.dump_python(past.steps(alert_id), mode="json")
        return jsonify(alert_json(alert, language_of_request()) | {"steps": steps})

    @blueprint.post("/<int:alert_id>/acknowledge")
    def acknowledge(alert_id: int) -> Response:
        actor, body = actor_with(Permission.VIEW), parse_body(Acknowledgement)
        alert = plane.alerts.commands.acknowledge(actor, _checked(alert_id), body.reason)
        return jsonify(alert_json(alert, language_of_request()))

    return blueprint


def _checked(alert_id: int) -> int:
    """Return a number that every database can look for."""
    if alert_id > _MAX_ID:
        raise UnknownAlert(id=alert_id)
    return alert_id


def _wanted() -> AlertFilter:
    if request.args.get("state") != "all":
        raise BadRequest(reason="state must be open or all")
    severity = request.args.get("severity")
    if severity is not None and severity not in list(AlertSeverity):
        raise BadRequest(reason=f"severity must be one of: {', '.join(AlertSeverity)}")
    before = request.args.get("before")
    if before is not None and (not before.isascii() or not before.isdecimal() or len(before) > 16):
        raise BadRequest(reason="before must be next_before of an earlier answer")
    return AlertFilter(
        before_id=int(before) if before else None,
        rule=request.args.get("rule"),
        severity=severity,
        subject=request.args.get("subject"),
        limit=whole_number("limit", 100, MAX_PAGE),
    )
