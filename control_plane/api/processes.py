"""Collectors: their status and points."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from flask import Blueprint
from pydantic import BaseModel, Field

from collectors.contract.points import Quality, Value, series_key
from control_plane.api.endpoint import endpoint
from control_plane.api.parsing import Query
from control_plane.api.timeline import add_timeline
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.health import HealthStatus
from control_plane.domain.process import ProcessState, ProcessStatus
from control_plane.errors import UnknownProcess
from control_plane.storage.collector_files import read_collector_file


class SupervisorView(BaseModel):
    """The supervisord of this machine; ``since`` dates the last change of ``reachable``."""

    reachable: bool
    version: str | None
    since: datetime
    error: str | None


class ProcessQuery(Query):
    """``q`` is looked for in names; ``sort`` by a column, descending with ``-``, what is unknown
    last."""

    q: Annotated[str, Field(max_length=100)] = ""
    node: Annotated[str, Field(max_length=64)] | None = None
    status: ProcessState | None = None
    health: HealthStatus | None = None
    sort: Literal[
        "name",
        "-name",
        "health_score",
        "-health_score",
        "restart_count",
        "-restart_count",
        "data_collection_rate",
        "-data_collection_rate",
    ] = "name"
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class ProcessList(BaseModel):
    """``total`` counts all that match, whatever part of them is here."""

    processes: list[ProcessStatus]
    total: int
    supervisor: SupervisorView
    observed_at: datetime


class PointView(BaseModel):
    """A point and its newest value; ``code`` is the device's own status."""

    series: str
    device: str
    name: str
    unit: str
    address: str
    description: str
    interval_s: float
    writable: bool
    value: Value | None
    quality: Literal[
        "good",
        "uncertain",
        "bad_comm",
        "bad_timeout",
        "bad_config",
        "bad_device",
        "bad_range",
        "stale",
        "init",
    ]
    code: int
    source_at: datetime | None
    received_at: datetime | None


class PointList(BaseModel):
    points: list[PointView]


def processes_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/processes`` that only look."""
    blueprint = Blueprint("processes", __name__, url_prefix="/api/v1/processes")

    def status_of(name: str) -> ProcessStatus:
        status = plane.monitor.picture().processes.get(name)
        if status is None:
            raise UnknownProcess(name=name)
        return status

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def list_processes(query: ProcessQuery) -> ProcessList:
        """List collectors with their state, health and devices."""
        picture = plane.monitor.picture()
        found = [each for each in picture.processes.values() if _matches(each, query)]
        part = _sorted(found, query.sort)[query.offset : query.offset + query.limit]
        supervisor = picture.nodes[0]
        return ProcessList(
            processes=part,
            total=len(found),
            supervisor=SupervisorView(
                reachable=supervisor.reachable,
                version=supervisor.version,
                since=supervisor.since,
                error=supervisor.error,
            ),
            observed_at=picture.taken_at,
        )

    @blueprint.get("/<name>")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def show(name: str) -> ProcessStatus:
        """Show one collector."""
        return status_of(name)

    @blueprint.get("/<name>/points")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def points(name: str) -> PointList:
        """List the points of a collector with their newest values."""
        found = _points(plane, status_of(name).name)
        return PointList(points=[PointView.model_validate(each) for each in found])

    add_timeline(blueprint, plane)
    return blueprint


def _matches(status: ProcessStatus, query: ProcessQuery) -> bool:
    return (
        query.q.lower() in f"{status.name} {status.display_name}".lower()
        and query.node in (None, status.node)
        and query.status in (None, status.status)
        and query.health in (None, status.health.status)
    )


def _sorted(found: list[ProcessStatus], sort: str) -> list[ProcessStatus]:
    key, descending = sort.removeprefix("-"), sort.startswith("-")
    known = [each for each in found if getattr(each, key) is not None]
    unknown = [each for each in found if getattr(each, key) is None]
    known.sort(key=lambda each: (getattr(each, key), each.name), reverse=descending)
    return known + sorted(unknown, key=lambda each: each.name)


def _points(plane: ControlPlane, name: str) -> list[dict[str, Any]]:
    # Which points a collector of another node has, and their values, only that node knows.
    config = read_collector_file(plane.console.settings.collectors_dir / f"{name}.toml").config
    if config is None:
        return []
    rows: list[dict[str, Any]] = []
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
            "source_at": _at(value.source_ns) if value else None,
            "received_at": _at(value.received_ns) if value else None,
        }
    return rows


def _at(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
