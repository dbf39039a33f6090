"""Collectors: their status and points."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import TypeAdapter

from collectors.contract.points import Quality, series_key
from control_plane.api.identity import actor_with
from control_plane.api.timeline import add_timeline
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.process import ProcessStatus
from control_plane.errors import UnknownProcess
from control_plane.storage.collector_files import read_collector_file

_STATUS = TypeAdapter(ProcessStatus)


def processes_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/processes`` that only look."""
    blueprint = Blueprint("processes", __name__, url_prefix="/api/v1/processes")

    def status_of(name: str) -> ProcessStatus:
        status = plane.monitor.picture().processes.get(name)
        if status is None:
            raise UnknownProcess(name=name)
        return status

    @blueprint.get("")
    def list_processes() -> Response:
        actor_with(Permission.VIEW)
        picture = plane.monitor.picture()
        supervisor = picture.nodes[0]
        return jsonify(
            processes=[_json(status) for status in picture.processes.values()],
            supervisor={
                "reachable": supervisor.reachable,
                "version": supervisor.version,
                "since": _iso(supervisor.since),
                "error": supervisor.error,
            },
            observed_at=_iso(picture.taken_at),
        )

    @blueprint.get("/<name>")
    def show(name: str) -> Response:
        actor_with(Permission.VIEW)
        return jsonify(_json(status_of(name)))

    @blueprint.get("/<name>/points")
    def points(name: str) -> Response:
        actor_with(Permission.VIEW)
        return jsonify(points=_points(plane, status_of(name).name))

    add_timeline(blueprint, plane)

    return blueprint


def _points(plane: ControlPlane, name: str) -> list[dict[str, object]]:
    # Which points a collector of another node has, and their values, only that node knows.
    config = read_collector_file(plane.console.settings.collectors_dir / f"{name}.toml").config
    if config is None:
        return []
    rows: list[dict[str, object]] = []
    for device in config.devices:
        intervals = {group.id: group.interval_s for group in device.groups}
        rows += [
            {
                "series": series_key(name, f"{device.id}/{point.name}"),
                "device": device.id,
                "name": point.name,
                "unit": point.unit,
                "address": getattr(point, "address", "") or getattr(point, "node_id", ""),
                "description": point.description,
                "interval_s": intervals[point.group],
                "writable": point.writable,
            }
            for point in device.points
        ]
    latest = plane.history.latest([str(row["series"]) for row in rows])
    for row in rows:
        value = latest.get(str(row["series"]))
        row |= {
            "value": value.value if value else None,
            "quality": (value.quality if value else Quality.INIT).name.lower(),
            "code": value.code if value else 0,
            "source_at": _iso_ns(value.source_ns) if value else None,
            "received_at": _iso_ns(value.received_ns) if value else None,
        }
    return rows


def _json(status: ProcessStatus) -> dict[str, Any]:
    dumped: dict[str, Any] = _STATUS.dump_python(status, mode="json")
    return dumped


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _iso_ns(nanoseconds: int) -> str:
    return _iso(datetime.fromtimestamp(nanoseconds / 1e9, UTC))
