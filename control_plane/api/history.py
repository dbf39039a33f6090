"""Stored values of one series over a span of time."""

import re
from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, jsonify, request

from control_plane.api.identity import actor_with
from control_plane.api.parameters import whole_number
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.errors import BadRequest
from control_plane.storage.collector_files import read_collector_file

MAX_BUCKETS = 5000
# Nanoseconds since 1970 fit into 64 bits for all of it.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_RELATIVE = re.compile(r"-(\d{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SERIES = re.compile(r"([a-z][a-z0-9_-]{0,47})/([a-z][a-z0-9_-]{0,47})/([^/\x00-\x1f\x7f]{1,64})")


def history_blueprint(plane: ControlPlane) -> Blueprint:
    """The route ``/api/v1/history``."""
    blueprint = Blueprint("history", __name__, url_prefix="/api/v1/history")

    @blueprint.get("")
    def show() -> Response:
        actor_with(Permission.VIEW)
        now = plane.console.clock.now()
        series = request.args.get("series", "")
        match = _SERIES.fullmatch(series)
        if match is None:
            raise BadRequest(reason="series must be COLLECTOR/DEVICE/POINT")
        start, end = _time("from", "-15m", now), _time("to", "now", now)
        if start >= end:
            raise BadRequest(reason="from must lie before to")
        buckets = whole_number("buckets", 600, MAX_BUCKETS)
        found = plane.history.range(series, _ns(start), _ns(end), buckets=buckets)
        return jsonify(
            {
                "series": series,
                "unit": _unit(plane, *match.groups()),
                "from": start.isoformat().replace("+00:00", "Z"),
                "to": end.isoformat().replace("+00:00", "Z"),
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


def _time(name: str, default: str, now: datetime) -> datetime:
    text = request.args.get(name, default)
    if text == "now":
        return now
    try:
        if relative := _RELATIVE.fullmatch(text):
            at = now - timedelta(seconds=int(relative[1]) * _UNITS[relative[2]])
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadRequest(
            reason=f"{name} must be a time such as 2026-01-31T08:00:00Z, -15m or now"
        ) from None
    if not _EARLIEST <= at < _LATEST:
        raise BadRequest(reason=f"{name} must lie in the years 1970 to 2199")
    return at


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1000) * 1_000_000


def _unit(plane: ControlPlane, collector: str, device_id: str, point_name: str) -> str:
    path = plane.console.settings.collectors_dir / f"{collector}.toml"
    config = read_collector_file(path).config
    for device in config.devices if config else ():
        for point in device.points:
            if device.id == device_id and point.name == point_name:
                return point.unit
    return ""
