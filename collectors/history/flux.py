"""Reads InfluxDB 2 in Flux; see ``line_protocol`` for what is written.

``map`` keeps ``_field``: tables that lose it from their group key are joined, and values of several
types cannot stand in one column. Queries and the form of their answers follow InfluxDB's
documentation ("Flux standard library", "Annotated CSV") and are **not verified on a live InfluxDB
2.x**.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from influxdb_client import InfluxDBClient
from influxdb_client.client.exceptions import InfluxDBError
from urllib3.exceptions import HTTPError

from collectors.contract.points import Quality, Sample, series_key
from collectors.contract.store_urls import StoreUrl
from collectors.history.influx import words_of
from collectors.history.line_protocol import MEASUREMENT
from collectors.history.parts import Moment, Stat, buckets_of, checked_width_ns, raw_range
from collectors.history.read import HistoryError, LatestValue, SeriesRange

_CONNECT_TIMEOUT_MS = 3_000
_ANSWER_TIMEOUT_MS = 30_000
_AHEAD_NS = 3600 * 10**9
"""A device clock may be this far ahead of ours."""
_SERIES_A_QUERY = 50
_NUMBERS = ("float", "int", "uint", "bool")
_NO_MOMENT = ("code", "delay_ns")
"""Fields that are there only beside another one of the same time."""
_IN_TEXT = re.compile(r'["\\]|\$\{')
_TAGS = ("collector", "device", "point")

_Row = dict[str, Any]


class FluxReader:
    """Asks one bucket of an InfluxDB 2; may be used from several threads at once."""

    def __init__(
        self, url: StoreUrl, token: str = "", *, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._bucket = url.bucket
        self._url = url.read_url
        self._wall_ns = wall_ns
        self._client = InfluxDBClient(
            url=url.read_url,
            token=token or None,
            org=url.org,
            timeout=(_CONNECT_TIMEOUT_MS, _ANSWER_TIMEOUT_MS),
            enable_gzip=False,
            retries=False,
            ssl_ca_cert=str(url.ca_file) if url.ca_file else None,
        )

    def series(self, prefix: str) -> list[str]:
        *whole, begun = zip(_TAGS, prefix.split("/", 2), strict=False)
        filters = [f"r.{tag} == {_quoted(text)}" for tag, text in whole]
        if begun[1]:
            filters.append(f"strings.hasPrefix(v: r.{begun[0]}, prefix: {_quoted(begun[1])})")
        query = (
            'import "strings"\n'
            f"{self._source(0, self._wall_ns() + _AHEAD_NS)}"
            f"{''.join(f' |> filter(fn: (r) => {condition})' for condition in filters)}"
            ' |> last() |> keep(columns: ["collector", "device", "point"])'
        )
        return sorted({_name(row) for row in self._ask(query)})

    def latest(self, series: Sequence[str]) -> dict[str, LatestValue]:
        moments: dict[str, dict[int, Moment]] = defaultdict(lambda: defaultdict(Moment))
        newest: dict[str, int] = {}
        for at in range(0, len(series), _SERIES_A_QUERY):
            wanted = " or ".join(f"({_is(name)})" for name in series[at : at + _SERIES_A_QUERY])
            query = (
                f"{self._source(0, self._wall_ns() + _AHEAD_NS)}"
                f" |> filter(fn: (r) => {wanted}) |> last()"
                " |> map(fn: (r) => ({collector: r.collector, device: r.device, point: r.point,"
                " _field: r._field, _value: r._value, t: int(v: r._time)}))"
            )
            for row in self._ask(query):
                name, t_ns = _name(row), int(row["t"])
                _add(moments[name][t_ns], row["_field"], row["_value"])
                if row["_field"] not in _NO_MOMENT:
                    newest[name] = max(t_ns, newest.get(name, t_ns))
        return {name: moments[name][t_ns].latest(t_ns) for name, t_ns in newest.items()}

    def range(self, series: str, start_ns: int, end_ns: int, *, buckets: int | None) -> SeriesRange:
        width_ns = checked_width_ns(start_ns, end_ns, buckets)
        if buckets is None or self._count(series, start_ns, end_ns) <= buckets:
            return raw_range(series, start_ns, end_ns, self._samples(series, start_ns, end_ns))
        found = self._stats(series, start_ns, end_ns, width_ns)
        return SeriesRange(
            series=series,
            start_ns=start_ns,
            end_ns=end_ns,
            resolution_ns=width_ns,
            buckets=buckets_of(found, start_ns, width_ns),
            samples=(),
        )

    def _count(self, series: str, start_ns: int, end_ns: int) -> int:
        source = f"{self._source(start_ns, end_ns)} |> filter(fn: (r) => {_is(series)})"
        values = " or ".join(f'r._field == "{field}"' for field in (*_NUMBERS, "text"))
        query = (
            f"data = {source}\n"
            f'data |> filter(fn: (r) => {values}) |> count() |> yield(name: "good")\n'
            'data |> filter(fn: (r) => r._field == "quality") |> filter(fn: (r) => r._value >= 2)'
            ' |> count() |> yield(name: "bad")'
        )
        return sum(int(row["_value"]) for row in self._ask(query))

    def _samples(self, series: str, start_ns: int, end_ns: int) -> Iterable[Sample]:
        query = (
            f"{self._source(start_ns, end_ns)} |> filter(fn: (r) => {_is(series)})"
            " |> map(fn: (r) => ({_field: r._field, _value: r._value, t: int(v: r._time)}))"
        )
        moments: dict[int, Moment] = defaultdict(Moment)
        for row in self._ask(query):
            _add(moments[int(row["t"])], row["_field"], row["_value"])
        for t_ns, moment in sorted(moments.items()):
            if (sample := moment.sample(series, t_ns)) is not None:
                yield sample

    def _stats(self, series: str, start_ns: int, end_ns: int, width_ns: int) -> Iterable[Stat]:
        """Return every figure of every bucket that has one."""
        source = f"{self._source(start_ns, end_ns)} |> filter(fn: (r) => {_is(series)})"
        numbers = " or ".join(f'r._field == "{field}"' for field in _NUMBERS)
        figures = [
            *[("numbers", function, function) for function in ("min", "max", "sum", "count")],
            ("texts", "count", "text"),
            ("bads", "count", "bad"),
        ]
        # Windows are counted from 1970, so they are moved to begin where the range does.
        query = (
            f"data = {source}\n"
            f"numbers = data |> filter(fn: (r) => {numbers}) |> toFloat()\n"
            'texts = data |> filter(fn: (r) => r._field == "text")\n'
            'bads = data |> filter(fn: (r) => r._field == "quality")'
            " |> filter(fn: (r) => r._value >= 2)\n"
        ) + "\n".join(
            f"{table} |> aggregateWindow(every: {width_ns}ns, offset: {start_ns % width_ns}ns,"
            f' fn: {function}, createEmpty: false, timeSrc: "_start")'
            " |> map(fn: (r) => ({value: float(v: r._value), t: int(v: r._time)}))"
            f' |> yield(name: "{stat}")'
            for table, function, stat in figures
        )
        for row in self._ask(query):
            number = (int(row["t"]) - start_ns) // width_ns
            yield Stat(number, str(row["result"]), float(row["value"]))

    def _source(self, start_ns: int, end_ns: int) -> str:
        return (
            f"from(bucket: {_quoted(self._bucket)})"
            f" |> range(start: time(v: {start_ns}), stop: time(v: {end_ns}))"
            f' |> filter(fn: (r) => r._measurement == "{MEASUREMENT}")'
        )

    def _ask(self, query: str) -> list[_Row]:
        try:
            tables = self._client.query_api().query(query)
            return [record.values for table in tables for record in table.records]
        except InfluxDBError as exc:
            raise HistoryError(f"{self._url}: {words_of(exc)}") from exc
        except (HTTPError, OSError, ValueError, LookupError, TypeError) as exc:
            raise HistoryError(f"{self._url}: {type(exc).__name__}: {exc}") from exc


def _add(moment: Moment, field: str, value: Any) -> None:
    if field in _NUMBERS or field == "text":
        moment.value = value
    elif field == "quality":
        moment.quality = Quality(int(value))
    elif field == "code":
        moment.code = int(value)
    elif field == "delay_ns":
        moment.delay_ns = int(value)


def _name(row: _Row) -> str:
    return series_key(row["collector"], f"{row['device']}/{row['point']}")


def _is(series: str) -> str:
    parts = (*series.split("/", 2), "", "")[:3]
    return " and ".join(
        f"r.{tag} == {_quoted(text)}" for tag, text in zip(_TAGS, parts, strict=True)
    )


def _quoted(text: str) -> str:
    """Return a Flux string; ``${`` would begin an expression in it."""
    return '"' + _IN_TEXT.sub(lambda found: "\\" + found[0], text) + '"'
