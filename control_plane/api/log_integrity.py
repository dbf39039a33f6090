"""Whether rotated logs are what they were when they were sealed."""

from flask import Blueprint, Response, g, jsonify, request
from pydantic import TypeAdapter

from control_plane.bootstrap import ControlPlane
from control_plane.domain.seals import SealReport

_REPORT = TypeAdapter(SealReport)


def log_integrity_blueprint(plane: ControlPlane) -> Blueprint:
    """The route ``/api/v1/logs/integrity``, for administrators: it reads every rotated log."""
    blueprint = Blueprint("log_integrity", __name__)

    @blueprint.get("/api/v1/logs/integrity")
    def integrity() -> Response:
        newest = request.args.get("newest", "")
        report = plane.console.log_integrity.check(g.actor, newest)
        found = _REPORT.dump_python(report, mode="json")
        return jsonify(**found, sound=not report.problems)

    return blueprint
