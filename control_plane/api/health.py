"""How everything is: a summary, and a report to keep or to print."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from html import escape
from typing import Any, Literal

from flask import Blueprint, Response
from pydantic import BaseModel

from collectors.contract.messages import sentence
from control_plane.api.endpoint import endpoint
from control_plane.api.errors import language_of_request
from control_plane.api.parsing import Query
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.health import (
    HealthCheckType,
    HealthIssue,
    HealthStatus,
    SystemHealthSummary,
)
from control_plane.domain.process import ProcessState, ProcessStatus
from control_plane.health.summary import summarize
from control_plane.version import VERSION

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;"
    "padding:.3rem .6rem;text-align:left;vertical-align:top}"
)


class IssueView(BaseModel):
    """Something that is wrong with a process, in the language of the request."""

    process_name: str
    check_type: HealthCheckType
    status: HealthStatus
    code: str
    message: str
    penalty: float
    since: datetime | None
    recommendations: list[str]


class HealthSummary(BaseModel):
    """How everything is; ``overall_status`` is the worst of those that should run."""

    overall_status: HealthStatus
    total_processes: int
    healthy_processes: int
    warning_processes: int
    critical_processes: int
    unknown_processes: int
    stopped_processes: int
    last_check_time: datetime
    issues: list[IssueView]


class CollectorLine(BaseModel):
    name: str
    type: str
    status: ProcessState
    health: HealthStatus
    score: float | None
    data_collection_rate: float
    expected_rate: float
    restart_count: int


class HealthReport(HealthSummary):
    version: str
    collectors: list[CollectorLine]


class ReportQuery(Query):
    format: Literal["html", "json"] = "html"


def health_blueprint(plane: ControlPlane) -> Blueprint:
    """The routes ``/api/v1/health`` and ``/api/v1/health/report``."""
    blueprint = Blueprint("health", __name__, url_prefix="/api/v1/health")

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def show() -> HealthSummary:
        """Sum up how everything is, the worst first."""
        return HealthSummary(**_summary(_now(plane), language_of_request()))

    @blueprint.get("/report")
    @endpoint(Permission.VIEW, media=("text/html", "application/json"))
    def report(query: ReportQuery) -> Response:
        """Download the same with all collectors, to keep or to print."""
        language = language_of_request()
        summary, statuses = _now(plane), list(plane.monitor.picture().processes.values())
        if query.format == "json":
            body = HealthReport(
                **_summary(summary, language),
                version=VERSION,
                collectors=[_collector(status) for status in statuses],
            )
            content = Response(body.model_dump_json(), mimetype="application/json")
            return _attached(content, summary, "json")
        page = _page(summary, statuses, language)
        return _attached(Response(page, mimetype="text/html"), summary, "html")

    return blueprint


def _now(plane: ControlPlane) -> SystemHealthSummary:
    picture = plane.monitor.picture()
    return summarize(picture.processes.values(), picture.taken_at)


def _attached(response: Response, summary: SystemHealthSummary, suffix: str) -> Response:
    name = f"health-{summary.last_check_time:%Y%m%dT%H%M%SZ}.{suffix}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _summary(summary: SystemHealthSummary, language: str) -> dict[str, Any]:
    facts = {each.name: getattr(summary, each.name) for each in fields(summary)}
    return facts | {"issues": [_issue(issue, language) for issue in summary.issues]}


def _issue(issue: HealthIssue, language: str) -> IssueView:
    check = issue.check
    return IssueView(
        process_name=issue.process_name,
        check_type=check.check_type,
        status=check.status,
        code=check.code,
        message=_say(f"check.{check.code}", check.params, language),
        penalty=check.penalty,
        since=check.since,
        recommendations=[
            _say(f"recommendation.{code}", {}, language) for code in check.recommendations
        ],
    )


def _collector(status: ProcessStatus) -> CollectorLine:
    return CollectorLine(
        name=status.name,
        type=status.type,
        status=status.status,
        health=status.health.status,
        score=status.health_score,
        data_collection_rate=status.data_collection_rate,
        expected_rate=status.expected_rate,
        restart_count=status.restart_count,
    )


def _page(summary: SystemHealthSummary, statuses: list[ProcessStatus], language: str) -> str:
    def say(code: str) -> str:
        return escape(_say(f"report.{code}", {}, language))

    def row(*cells: object) -> str:
        return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"

    def head(*codes: str) -> str:
        return "<tr>" + "".join(f"<th>{say(code)}</th>" for code in codes) + "</tr>"

    def word(status: object) -> str:
        return _say(f"cli.health.{status}", {}, language)

    issues = "".join(
        row(
            issue.process_name,
            word(issue.check.status),
            _say(f"check.{issue.check.code}", issue.check.params, language),
            " · ".join(
                _say(f"recommendation.{code}", {}, language) for code in issue.check.recommendations
            ),
            _iso(issue.check.since) if issue.check.since else "",
        )
        for issue in summary.issues
    )
    collectors = "".join(
        row(
            status.name,
            word(status.health.status),
            "" if status.health_score is None else f"{status.health_score:.0f}",
            f"{status.data_collection_rate:.1f} / {status.expected_rate:.1f}",
            status.restart_count,
        )
        for status in statuses
    )
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        f"<title>{say('title')}</title><style>{_STYLE}</style>"
        f"<h1>{say('title')}: {escape(word(summary.overall_status))}</h1>"
        f"<p>{_iso(summary.last_check_time)} · daqplane {VERSION} · {say('total')} "
        f"{summary.total_processes} · {escape(word('healthy'))} {summary.healthy_processes} · "
        f"{escape(word('warning'))} {summary.warning_processes} · "
        f"{escape(word('critical'))} {summary.critical_processes} · "
        f"{escape(word('unknown'))} {summary.unknown_processes} · "
        f"{escape(word('stopped'))} {summary.stopped_processes}</p>"
        f"<h2>{say('issues')}</h2><table>"
        f"{head('collector', 'status', 'problem', 'advice', 'since')}{issues}</table>"
        f"<h2>{say('collectors')}</h2><table>"
        f"{head('collector', 'status', 'score', 'rate', 'restarts')}{collectors}</table></html>"
    )


def _say(code: str, params: Mapping[str, object], language: str) -> str:
    return sentence("control_plane", code, params, language)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
