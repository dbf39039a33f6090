"""Alerts: open ones, those of the past, figures; acknowledging."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from flask import Blueprint
from pydantic import BaseModel, ConfigDict, Field

from control_plane.alerting.figures import AlarmFigures
from control_plane.alerting.limits import DEFAULT_RULES, RuleLimits
from control_plane.alerting.texts import rule_name
from control_plane.alerting.view import alert_json
from control_plane.api.answers import fields_of
from control_plane.api.endpoint import endpoint
from control_plane.api.errors import language_of_request
from control_plane.api.parsing import Body, Query
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.alerts import MAX_REASON_CHARACTERS, Alert, AlertSeverity
from control_plane.errors import UnknownAlert
from control_plane.storage.alerts import AlertFilter, Alerts, Step

MAX_PAGE = 500
_MAX_ID = 2**53
_Alert = fields_of(Alert)
_RuleLimits = fields_of(RuleLimits)


class Acknowledgement(Body):
    reason: Annotated[str, Field(max_length=MAX_REASON_CHARACTERS)] = ""


class AlertView(_Alert):  # type: ignore[misc, valid-type] # made from the domain's type
    """An alert, and what follows from it in the language of the request."""

    alarm_state: Literal[
        "active_unacknowledged",
        "active_acknowledged",
        "returned_unacknowledged",
        "normal",
        "shelved",
    ]
    title: str
    message: str
    advice: list[str]
    ending: str

    @classmethod
    def of(cls, alert: Alert, **others: object) -> Self:
        view: Self = cls.model_validate(alert_json(alert, language_of_request()) | others)
        return view


class AlertDetail(AlertView):
    steps: list[Step]


class AlertQuery(Query):
    """``all`` pages back through the past by ``before``; the filters are for ``all``."""

    state: Literal["open", "all"] = "open"
    severity: AlertSeverity | None = None
    rule: Annotated[str, Field(max_length=80)] | None = None
    subject: Annotated[str, Field(max_length=80)] | None = None
    before: Annotated[int, Field(ge=0, lt=10**16)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class AlertList(BaseModel):
    """``returned`` ended within seven days and nobody acknowledged them; ``pending`` are conditions
    that do not hold for long enough yet; ``problems`` are in the rule file. Of the past only
    ``alerts`` are listed."""

    alerts: list[AlertView]
    returned: list[AlertView]
    next_before: int | None
    pending: list[AlertView]
    problems: list[str]


class AlertRule(_RuleLimits):  # type: ignore[misc, valid-type] # made from the domain's type
    """A rule and its limits."""

    rule: str
    title: str


class AlertOverride(BaseModel):
    """Limits that differ for a subject; only those that do are there."""

    model_config = ConfigDict(extra="allow")

    rule: str
    subject: str


class AlertRules(BaseModel):
    rules: list[AlertRule]
    overrides: list[AlertOverride]
    repeat_s: float
    flapping: bool
    gateway_collectors: int
    problems: list[str]


def alerts_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/alerts``."""
    blueprint = Blueprint("alerts", __name__, url_prefix="/api/v1/alerts")
    service, past = plane.alerts.service, Alerts(plane.console.database)

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def list_alerts(query: AlertQuery) -> AlertList:
        """List open alerts, or all of the past page by page."""
        language = language_of_request()
        following: int | None = None
        is_open = query.state == "open"
        if is_open:
            found = list(service.present())
        else:
            wanted = _wanted(query)
            found = past.past(wanted)
            following = found[-1].id if len(found) == wanted.limit else None
        return AlertList(
            alerts=[AlertView.of(alert) for alert in found],
            returned=[AlertView.of(a) for a in service.returned()] if is_open else [],
            next_before=following,
            pending=[AlertView.of(alert) for alert in service.pending()],
            problems=[problem.text(language) for problem in service.problems],
        )

    @blueprint.get("/figures")
    @endpoint(Permission.VIEW)
    def show_figures() -> AlarmFigures:
        """Show how well people can follow the alerts (ISA-18.2)."""
        return service.figures()

    @blueprint.get("/rules")
    @endpoint(Permission.VIEW)
    def rules() -> AlertRules:
        """List the rules with the limits in force."""
        limits, language = service.limits, language_of_request()
        return AlertRules(
            rules=[_rule(name, asdict(limits.rules[name]), language) for name in DEFAULT_RULES],
            overrides=[
                AlertOverride.model_validate(
                    {"rule": each.rule, "subject": each.subject} | dict(each.changes)
                )
                for each in limits.overrides
            ],
            repeat_s=limits.repeat_s,
            flapping=limits.flapping,
            gateway_collectors=limits.gateway_collectors,
            problems=[problem.text(language) for problem in service.problems],
        )

    @blueprint.get("/<int:alert_id>")
    @endpoint(Permission.VIEW, errors=(UnknownAlert,))
    def show(alert_id: int) -> AlertDetail:
        """Show one alert with its history."""
        present = next((a for a in service.present() if a.id == alert_id), None)
        alert = present or past.find(_checked(alert_id))
        if alert is None:
            raise UnknownAlert(id=alert_id)
        return AlertDetail.of(alert, steps=past.steps(alert_id))

    @blueprint.post("/<int:alert_id>/acknowledge")
    @endpoint(Permission.COMMAND, errors=(UnknownAlert,), example={"reason": "on my way"})
    def acknowledge(alert_id: int, body: Acknowledgement, actor: Actor) -> AlertView:
        """Say that somebody has seen it; repeated notices end."""
        return AlertView.of(
            plane.alerts.commands.acknowledge(actor, _checked(alert_id), body.reason)
        )

    return blueprint


def _rule(name: str, limits: Mapping[str, Any], language: str) -> AlertRule:
    return AlertRule(rule=name, title=rule_name(name, language), **limits)


def _checked(alert_id: int) -> int:
    """Return a number that every database can look for."""
    if alert_id > _MAX_ID:
        raise UnknownAlert(id=alert_id)
    return alert_id


def _wanted(query: AlertQuery) -> AlertFilter:
    return AlertFilter(
        before_id=query.before or None,
        rule=query.rule,
        severity=query.severity,
        subject=query.subject,
        limit=query.limit,
    )
