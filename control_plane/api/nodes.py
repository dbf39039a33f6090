"""The machines whose supervisord this control plane drives."""

from collections import Counter
from dataclasses import asdict
from datetime import datetime

from flask import Blueprint, Response, jsonify

from control_plane.api.errors import language_of_request
from control_plane.api.identity import actor_with
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.node import NodeView


def nodes_blueprint(plane: ControlPlane) -> Blueprint:
    """The route ``/api/v1/nodes``."""
    blueprint = Blueprint("nodes", __name__, url_prefix="/api/v1/nodes")

    @blueprint.get("")
    def show() -> Response:
        actor_with(Permission.VIEW)
        picture = plane.monitor.picture()
        collectors = Counter(status.node for status in picture.processes.values())
        running = Counter(s.node for s in picture.processes.values() if s.pid is not None)
        language = language_of_request()
        return jsonify(
            nodes=[
                _json(node, collectors[node.name], running[node.name]) for node in picture.nodes
            ],
            file=str(plane.console.nodes.file),
            problems=[problem.text(language) for problem in plane.console.nodes.problems],
        )

    return blueprint


def _json(node: NodeView, collectors: int, running: int) -> dict[str, object]:
    times = {key: _iso(getattr(node, key)) for key in ("since", "started_at", "observed_at")}
    known = {"collectors": collectors, "collectors_running": running if node.reachable else None}
    return asdict(node) | times | known


def _iso(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None
