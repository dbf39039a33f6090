"""Reads VictoriaMetrics through its Prometheus API, in MetricsQL; see ``victoria`` for the writer.

It keeps milliseconds, no text and no receive time: a sample comes back at its whole millisecond,
received at that time, and a text was never there. An integer or bool comes back as such.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from collectors.contract.points import Quality, Sample, Value, series_key
from collectors.history.line_protocol import MEASUREMENT
from collectors.history.parts import Moment, Stat, buckets_of, checked_width_ns, raw_range
from collectors.history.read import HistoryError, LatestValue, SeriesRange
from collectors.history.victoria_http import VictoriaHttp

_TIMEOUT_S = 30.0
_MS = 10**6
_AHEAD_S = 3600
"""A device clock may be this far ahead of ours."""
_LOOKBACKS_S = (300, 3600, 86_400, 31 * 86_400)
"""The newest value is mostly minutes old, and looking back far costs much."""
_SERIES_A_QUERY = 100
_NUMBERS = f"{MEASUREMENT}_(float|int|uint|bool)"
_ALL = f"{MEASUREMENT}_(float|int|uint|bool|quality|code)"
_MOST_WORDS = 300
_HELD_BACK_S = 31
_LONGEST_HELD_BACK_MS = 60_000
"""VictoriaMetrics shows old figures in place of those of the last 30 s, if buckets are this narrow
(``-search.latencyOffset``, ``-search.maxStepForPointsAdjustment``)."""
_TYPES: dict[str, Callable[[float], Value]] = {
    "float": float,
    "int": int,
    "uint": int,
    "bool": bool,
}

_Labels = dict[str, str]


class PromqlReader:
    """Asks one VictoriaMetrics, or the ``vmselect`` of a cluster by its path."""

    def __init__(self, http: VictoriaHttp, *, wall_s: Callable[[], float] = time.time) -> None:
        self._http = http
        self._wall_s = wall_s

    def series(self, prefix: str) -> list[str]:
        matchers = ",".join((f'__name__=~"{_ALL}"', *_prefix_matchers(prefix)))
        end_s = self._wall_s() + _AHEAD_S  # a start of 0 would find nothing
        query = {"match[]": f"{{{matchers}}}", "start": "1", "end": f"{end_s:.3f}"}
        found = self._ask("series", query)
        return sorted({name for name in map(_name, found) if name.startswith(prefix)})

    def latest(self, series: Sequence[str]) -> dict[str, LatestValue]:
        found: dict[str, LatestValue] = {}
        for lookback_s in _LOOKBACKS_S:
            missing = [name for name in series if name not in found]
            for at in range(0, len(missing), _SERIES_A_QUERY):
                names = missing[at : at + _SERIES_A_QUERY]
                found |= self._latest_within(lookback_s + _AHEAD_S, names)
        return found

    def range(self, series: str, start_ns: int, end_ns: int, *, buckets: int | None) -> SeriesRange:
        width_ns = checked_width_ns(start_ns, end_ns, buckets)
        # Times were cut off to whole milliseconds, so those of a range are too.
        start_ms, end_ms = start_ns // _MS, end_ns // _MS
        if (
            buckets is None
            or start_ms >= end_ms
            or self._count(series, start_ms, end_ms) <= buckets
        ):
            return raw_range(series, start_ns, end_ns, self._samples(series, start_ms, end_ms))
        width_ms = -(-width_ns // _MS)
        held_back = self._first_held_back(start_ms, end_ms, width_ms)
        found = [
            *self._stats(series, start_ms, start_ms + held_back * width_ms, width_ms),
            *self._fresh_stats(series, start_ms, end_ms, width_ms, held_back),
        ]
        return SeriesRange(
            series=series,
            start_ns=start_ns,
            end_ns=end_ns,
            resolution_ns=width_ms * _MS,
            buckets=buckets_of(found, start_ms * _MS, width_ms * _MS),
            samples=(),
        )

    def _latest_within(self, window_s: int, names: Sequence[str]) -> dict[str, LatestValue]:
        wanted = set(names)
        at = {"time": f"{self._wall_s() + _AHEAD_S:.3f}"}
        moments: dict[str, dict[str, tuple[int, float]]] = defaultdict(dict)
        by_collector: dict[str, list[str]] = defaultdict(list)
        for name in names:
            by_collector[name.partition("/")[0]].append(name)
        for selector in (_selector_of(group) for group in by_collector.values()):
            window = f"{selector}[{window_s}s]"
            times = self._instant(f"tlast_over_time({window}) keep_metric_names", at)
            values = self._instant(f"last_over_time({window})", at)
            known = {(_field(labels), _name(labels)): value for labels, value in values}
            for labels, at_s in times:
                name, field = _name(labels), _field(labels)
                if name in wanted and (field, name) in known:
                    moments[name][field] = (round(at_s * 1000), known[field, name])
        return {name: _latest_of(fields) for name, fields in moments.items() if _has_time(fields)}

    def _count(self, series: str, start_ms: int, end_ms: int) -> float:
        window = f"[{end_ms - start_ms}.5ms]"
        numbers, quality = _selector(series, _NUMBERS), _selector(series, f"{MEASUREMENT}_quality")
        query = (
            f"union(count_over_time({numbers}{window}) keep_metric_names,"
            f" count_gt_over_time({quality}{window}, 1) keep_metric_names)"
        )
        found = self._instant(query, {"time": _seconds(end_ms - 1)})
        return sum(value for _, value in found)

    def _samples(self, series: str, start_ms: int, end_ms: int) -> Iterable[Sample]:
        if start_ms >= end_ms:
            return
        moments: dict[int, Moment] = defaultdict(Moment)
        query = {
            "match[]": _selector(series, _ALL),
            "start": _seconds(start_ms),
            "end": _seconds(end_ms - 1),
        }
        for line in self._get("/api/v1/export", query).splitlines():
            found = json.loads(line)
            field = _field(found["metric"])
            for t_ms, number in zip(found["timestamps"], found["values"], strict=True):
                if start_ms <= t_ms < end_ms:
                    _add(moments[t_ms], field, number)
        for t_ms, moment in sorted(moments.items()):
            if (sample := moment.sample(series, t_ms * _MS)) is not None:
                yield sample

    def _first_held_back(self, start_ms: int, end_ms: int, width_ms: int) -> int:
        """Return the first bucket that VictoriaMetrics does not aggregate yet."""
        count = -(-(end_ms - start_ms) // width_ms)
        if width_ms > _LONGEST_HELD_BACK_MS:
            return count
        fresh_ms = int((self._wall_s() - _HELD_BACK_S) * 1000)
        return min(count, max(0, (fresh_ms - start_ms) // width_ms))

    def _fresh_stats(
        self, series: str, start_ms: int, end_ms: int, width_ms: int, first: int
    ) -> Iterable[Stat]:
        """Return the figures of the buckets from ``first`` on, out of their samples."""
        for sample in self._samples(series, start_ms + first * width_ms, end_ms):
            number = (sample.source_ns // _MS - start_ms) // width_ms
            if sample.value is None or isinstance(sample.value, str):
                yield Stat(number, "bad", 1)
                continue
            for stat in ("min", "max", "sum"):
                yield Stat(number, stat, float(sample.value))
            yield Stat(number, "count", 1)

    def _stats(self, series: str, start_ms: int, end_ms: int, width_ms: int) -> Iterable[Stat]:
        """Return every figure of every bucket that has one; the range ends with a bucket."""
        if start_ms >= end_ms:
            return
        numbers = f"{_selector(series, _NUMBERS)}[{width_ms}.5ms]"
        quality = f"{_selector(series, MEASUREMENT + '_quality')}[{width_ms}.5ms]"
        figures = {
            "min": f"min_over_time({numbers})",
            "max": f"max_over_time({numbers})",
            "sum": f"sum_over_time({numbers})",
            "count": f"count_over_time({numbers})",
            "bad": f"count_gt_over_time({quality}, 1)",
        }
        parts = (
            f'label_set({query} keep_metric_names, "stat", "{stat}")'
            for stat, query in figures.items()
        )
        # A window reaches back from its time and contains it, so a bucket is asked at its last ms.
        query = {
            "query": f"union({', '.join(parts)})",
            "start": _seconds(start_ms + width_ms - 1),
            "end": _seconds(end_ms - 1),
            "step": _seconds(width_ms),
            "nocache": "1",
        }
        for found in self._ask("query_range", query)["result"]:
            for at_s, text in found["values"]:
                number = (round(at_s * 1000) - start_ms) // width_ms
                yield Stat(number, found["metric"]["stat"], float(text))

    def _instant(self, query: str, at: dict[str, str]) -> list[tuple[_Labels, float]]:
        found = self._ask("query", {"query": query, "nocache": "1", **at})["result"]
        return [(entry["metric"], float(entry["value"][1])) for entry in found]

    def _ask(self, call: str, query: dict[str, str]) -> Any:
        try:
            return json.loads(self._get(f"/api/v1/{call}", query))["data"]
        except (ValueError, LookupError, TypeError) as exc:
            raise HistoryError(
                f"{self._http.url}: not an answer of VictoriaMetrics: {exc!r}"
            ) from exc

    def _get(self, path: str, query: dict[str, str]) -> bytes:
        try:
            return self._http.ask(path, query, timeout_s=_TIMEOUT_S)
        except HTTPError as exc:
            words = exc.read(_MOST_WORDS).decode(errors="replace")
            raise HistoryError(f"{self._http.url}: HTTP {exc.code}: {words}") from exc
        except (OSError, HTTPException) as exc:
            raise HistoryError(f"{self._http.url}: {exc}") from exc


def _latest_of(fields: dict[str, tuple[int, float]]) -> LatestValue:
    t_ms = _newest(fields)
    moment = Moment()
    for field, (at_ms, number) in fields.items():
        if at_ms == t_ms:
            _add(moment, field, number)
    return moment.latest(t_ms * _MS)


def _has_time(fields: dict[str, tuple[int, float]]) -> bool:
    return any(field != "code" for field in fields)


def _newest(fields: dict[str, tuple[int, float]]) -> int:
    return max(at_ms for field, (at_ms, _) in fields.items() if field != "code")


def _add(moment: Moment, field: str, number: float) -> None:
    if field in _TYPES:
        moment.value = _TYPES[field](number)
    elif field == "quality":
        moment.quality = Quality(int(number))
    elif field == "code":
        moment.code = int(number)


def _field(labels: _Labels) -> str:
    return labels.get("__name__", "").partition("_")[2]


def _name(labels: _Labels) -> str:
    point = f"{labels.get('device', '')}/{labels.get('point', '')}"
    return series_key(labels.get("collector", ""), point)


def _selector(series: str, metric: str) -> str:
    collector, device, point = (*series.split("/", 2), "", "")[:3]
    matchers = (
        f'__name__=~"{metric}"',
        f"collector={_quoted(collector)}",
        f"device={_quoted(device)}",
        f"point={_quoted(point)}",
    )
    return f"{{{','.join(matchers)}}}"


def _selector_of(names: Sequence[str]) -> str:
    """Select all of these series of one collector, and perhaps some more."""
    if len(names) == 1:
        return _selector(names[0], _ALL)
    parts = [(*name.split("/", 2), "", "")[:3] for name in names]
    devices = "|".join(sorted({re.escape(device) for _, device, _ in parts}))
    points = "|".join(sorted({re.escape(point) for _, _, point in parts}))
    return (
        f'{{__name__=~"{_ALL}",collector={_quoted(parts[0][0])},'
        f"device=~{_quoted(devices)},point=~{_quoted(points)}}}"
    )


def _prefix_matchers(prefix: str) -> list[str]:
    *whole, begun = zip(("collector", "device", "point"), prefix.split("/", 2), strict=False)
    matchers = [f"{label}={_quoted(text)}" for label, text in whole]
    if begun[1]:
        matchers.append(f"{begun[0]}=~{_quoted(re.escape(begun[1]) + '.*')}")
    return matchers


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _seconds(t_ms: int) -> str:
    """Return a time or a width with half a millisecond more.

    VictoriaMetrics reads a double and cuts it off, so that 1011 ms would be 1010; so too in ``[]``.
    """
    return f"{t_ms // 1000}.{t_ms % 1000:03d}5"
