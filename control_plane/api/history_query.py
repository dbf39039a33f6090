"""What requests for history have in common: series, times and units."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from flask import request
from pydantic import Field

from collectors.contract.points import series_key
from control_plane.api.parsing import Query
from control_plane.bootstrap import ControlPlane
from control_plane.clock import time_of
from control_plane.errors import BadInput
from control_plane.storage.collector_files import read_collector_file

# Nanoseconds since 1970 fit into 64 bits for all of it.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_SERIES = re.compile(r"([a-z][a-z0-9_-]{0,47})/([a-z][a-z0-9_-]{0,47})/([^/\x00-\x1f\x7f]{1,64})")


class TimeRange(Query):
    """Times such as ``2026-01-31T08:00:00Z``, ``-15m`` (also s, h, d) or ``now``."""

    start: Annotated[str, Field(alias="from", max_length=40)] = "-15m"
    end: Annotated[str, Field(alias="to", max_length=40)] = "now"


def checked_series(text: str) -> str:
    """Return ``text`` if it can name a series; raises BadInput."""
    if _SERIES.fullmatch(text) is None:
        raise BadInput.of("series", "not_series")
    return text


def time_of_request(name: str, default: str, now: datetime) -> datetime:
    """Return the time that the query parameter means, to the millisecond; raises BadInput."""
    text = request.args.get(name, default)
    try:
        at = time_of(text, now)
    except (ValueError, OverflowError):
        raise BadInput.of(name, "not_time") from None
    if not _EARLIEST <= at < _LATEST:
        raise BadInput.of(name, "no_such_year")
    return at


def span_of_request(now: datetime, default: str = "-15m") -> tuple[datetime, datetime]:
    """Return the times of ``from`` and ``to``; raises BadInput."""
    start, end = time_of_request("from", default, now), time_of_request("to", "now", now)
    if start >= end:
        raise BadInput.of("from", "not_before", other="to")
    return start, end


def to_ns(at: datetime) -> int:
    """Return milliseconds since the Unix epoch, as ns."""
    return round(at.timestamp() * 1000) * 1_000_000


def iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def units_of(plane: ControlPlane, series: Iterable[str]) -> dict[str, str]:
    """Return the unit of each series by its collector's file, empty where that has none."""
    units = dict.fromkeys(series, "")
    for collector in {each.partition("/")[0] for each in units}:
        path = plane.console.settings.collectors_dir / f"{collector}.toml"
        config = read_collector_file(path).config
        for device in config.devices if config else ():
            for point in device.points:
                key = series_key(collector, f"{device.id}/{point.name}")
                if key in units:
                    units[key] = point.unit
    return units
