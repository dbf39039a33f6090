"""Stored values of one series over a span of time."""

from flask import Blueprint, Response, jsonify, request

from control_plane.api.history_export import add_export_routes
from control_plane.api.history_query import (
    checked_series,
    iso,
    time_of_request,
    to_ns,
    units_of,
)
from control_plane.api.identity import actor_with
from control_plane.api.parameters import whole_number
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.errors import BadRequest

MAX_BUCKETS = 5000


def history_blueprint(plane: ControlPlane) -> Blueprint:
    """The routes ``/api/v1/history`` and below."""
    blueprint = Blueprint("history", __name__, url_prefix="/api/v1/history")
    add_export_routes(blueprint, plane)

    @blueprint.get("")
    def show() -> Response:
        actor_with(Permission.VIEW)
        now = plane.console.clock.now()
        series = checked_series(request.args.get("series", ""))
        start, end = time_of_request("from", "-15m", now), time_of_request("to", "now", now)
        if start >= end:
            raise BadRequest(reason="from must lie before to")
        buckets = whole_number("buckets", 600, MAX_BUCKETS)
        found = plane.history.range(series, to_ns(start), to_ns(end), buckets=buckets)
        return jsonify(
            {
                "series": series,
                "unit": units_of(plane, [series])[series],
                "from": iso(start),
                "to": iso(end),
                # 0 says raw samples, so the narrowest bucket counts as 1 ms.
                "resolution_ms": -(-found.resolution_ns // 1_000_000),
                "columns": ["t_ms", "min", "mean", "max", "count", "bad"],
                "rows": [
                    [
                        row.start_ns / 1_000_000,
                        row.minimum,
                        row.mean,
                        row.maximum,
                        row.good,
                        row.bad,
                    ]
                    for row in found.buckets
                ],
            }
        )

    return blueprint
