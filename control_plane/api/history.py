"""Stored values of one series over a span of time."""

from datetime import datetime
from typing import Annotated

from flask import Blueprint
from pydantic import BaseModel, ConfigDict, Field

from control_plane.api.endpoint import endpoint
from control_plane.api.history_export import add_export_routes
from control_plane.api.history_query import (
    TimeRange,
    checked_series,
    span_of_request,
    to_ns,
    units_of,
)
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane

MAX_BUCKETS = 5000
_Row = tuple[float, float | None, float | None, float | None, int, int]


class HistoryQuery(TimeRange):
    """``series`` is COLLECTOR/DEVICE/POINT."""

    series: Annotated[str, Field(max_length=200)]
    buckets: Annotated[int, Field(ge=1, le=MAX_BUCKETS)] = 600


class History(BaseModel):
    """Rows in the order of ``columns``; ``resolution_ms`` is 0 when they are single samples."""

    model_config = ConfigDict(populate_by_name=True)

    series: str
    unit: str
    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime, Field(alias="to")]
    resolution_ms: int
    columns: tuple[str, ...] = ("t_ms", "min", "mean", "max", "count", "bad")
    rows: list[_Row]


def history_blueprint(plane: ControlPlane) -> Blueprint:
    """The routes ``/api/v1/history`` and below."""
    blueprint = Blueprint("history", __name__, url_prefix="/api/v1/history")
    add_export_routes(blueprint, plane)

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def show(query: HistoryQuery) -> History:
        """Show the values of a series, in buckets that a chart can draw."""
        series = checked_series(query.series)
        start, end = span_of_request(plane.console.clock.now())
        found = plane.history.range(series, to_ns(start), to_ns(end), buckets=query.buckets)
        return History(
            series=series,
            unit=units_of(plane, [series])[series],
            start=start,
            end=end,
            # 0 says raw samples, so the narrowest bucket counts as 1 ms.
            resolution_ms=-(-found.resolution_ns // 1_000_000),
            rows=[
                (row.start_ns / 1_000_000, row.minimum, row.mean, row.maximum, row.good, row.bad)
                for row in found.buckets
            ],
        )

    return blueprint
