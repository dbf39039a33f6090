"""A stand-in for InfluxDB 2 that answers the queries of ``collectors.history.flux``.

It keeps the lines written to it and gives, for each of the four shapes of query that the reader
sends, what InfluxDB documents to give ("Annotated CSV", "Flux standard library"). It understands no
Flux, so it proves the reader's side only: **not verified on a live InfluxDB 2.x**.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import urlsplit

from engines import Server

_TAGS = ("collector", "device", "point")
_NUMBERS = ("float", "int", "uint", "bool")
_FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "min": min,
    "max": max,
    "sum": sum,
    "count": len,
}
_DATATYPES = {bool: "boolean", int: "long", float: "double", str: "string"}

Key = tuple[str, str, str]
Row = dict[str, Any]


class FluxStandIn(Server):
    """Listens on a port of the kernel's choice."""

    def __init__(self) -> None:
        self.points: dict[tuple[Key, str], dict[int, Any]] = defaultdict(dict)
        super().__init__(type("Handler", (_Handler,), {"stand_in": self}))

    def write(self, lines: str) -> None:
        """Keep lines; a point written again replaces itself."""
        for line in re.findall(r'((?:\\.|[^ \\])+) ((?:"(?:\\.|[^"\\])*"|[^ "])+) (\d+)', lines):
            tags, fields, t_ns = line
            pairs = [re.split(r"(?<!\\)=", tag) for tag in re.split(r"(?<!\\),", tags)[1:]]
            named = {name: re.sub(r"\\([,= ])", r"\1", text) for name, text in pairs}
            key = (named["collector"], named["device"], named["point"])
            for name, value in re.findall(r'(\w+)=("(?:\\.|[^"\\])*"|[^,]+)', fields):
                self.points[key, name][int(t_ns)] = _value(value)

    def answer(self, query: str) -> str:
        """Return annotated CSV: each table with its own header."""
        start, stop = map(int, re.findall(r"time\(v: (-?\d+)\)", query))
        found = {
            (key, field): {t: v for t, v in sorted(points.items()) if start <= t < stop}
            for (key, field), points in self.points.items()
            if _matches(query, key)
        }
        found = {name: points for name, points in found.items() if points}
        if "keep(columns:" in query:
            return _csv("_result", [_named(key) for key, _ in found])
        if "aggregateWindow" not in query and "|> map(" in query:
            # Without it in the group key, tables of several types of values would be joined.
            assert "_field: r._field" in query
        if "|> last()" in query:
            rows = ((k, f, max(points.items())) for (k, f), points in found.items())
            return "".join(
                _csv("_result", [{**_named(k), "_field": f, "_value": v, "t": t}])
                for k, f, (t, v) in rows
            )
        if "aggregateWindow" in query:
            return "".join(_windows(query, start, found))
        if "|> count()" in query:
            return "".join(_counts(found))
        return "".join(
            _csv("_result", [{"_field": f, "_value": v, "t": t} for t, v in points.items()])
            for (_, f), points in found.items()
        )


class _Handler(BaseHTTPRequestHandler):
    stand_in: ClassVar[FluxStandIn]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if urlsplit(self.path).path == "/api/v2/write":
            self.stand_in.write(body)
            self.send_response(204)
            self.end_headers()
            return
        answer = self.stand_in.answer(json.loads(body)["query"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/csv; charset=utf-8")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def _windows(query: str, start: int, found: dict[tuple[Key, str], Row]) -> Iterable[str]:
    match = re.search(r"every: (\d+)ns, offset: (\d+)ns", query)
    assert match is not None
    every, offset = int(match[1]), int(match[2])
    assert (start - offset) % every == 0, "windows begin where the range does"
    for function, stat in re.findall(r'fn: (\w+), createEmpty.*?yield\(name: "(\w+)"\)', query):
        for (_, field), points in found.items():
            windows: dict[int, list[float]] = defaultdict(list)
            for t, value in points.items():
                if _belongs(stat, field, value):
                    number = 0.0 if isinstance(value, str) else float(value)
                    windows[(t - offset) // every * every + offset].append(number)
            rows = [
                {"value": float(_FUNCTIONS[function](inside)), "t": t}
                for t, inside in windows.items()
            ]
            yield _csv(stat, rows)


def _counts(found: dict[tuple[Key, str], Row]) -> Iterable[str]:
    for (_, field), points in found.items():
        for stat in ("count", "text", "bad"):
            count = sum(_belongs(stat, field, value) for value in points.values())
            yield _csv(stat, [{"_value": count}] if count else [])


def _belongs(stat: str, field: str, value: Any) -> bool:
    if stat == "bad":
        return bool(field == "quality" and value >= 2)
    return field == "text" if stat == "text" else field in _NUMBERS


def _matches(query: str, key: Key) -> bool:
    """Tell whether a series is in one of the alternatives of ``r.tag == "…"``."""
    text = r'"((?:\\.|[^"\\])*)"'
    for tag, value in zip(_TAGS, key, strict=True):
        prefix = re.search(rf"hasPrefix\(v: r\.{tag}, prefix: {text}\)", query)
        if prefix and not value.startswith(_unquoted(prefix[1])):
            return False
    wanted = [
        {tag: _unquoted(found) for tag, found in re.findall(rf"r\.(\w+) == {text}", part)}
        for part in query.split(" or (")
    ]
    named = _named(key)
    return any(
        all(named[tag] == value for tag, value in alternative.items() if tag in named)
        for alternative in wanted
    )


def _named(key: Key) -> Row:
    return dict(zip(_TAGS, key, strict=True))


def _unquoted(text: str) -> str:
    return re.sub(r'\\(["\\]|\$\{)', r"\1", text)


def _value(text: str) -> Any:
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return int(text[:-1]) if text[-1] in "iu" else float(text)


def _csv(result: str, rows: list[Row]) -> str:
    """Return one table as InfluxDB documents it, with annotations and an empty line behind."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    types = [_DATATYPES[type(value)] for value in rows[0].values()]
    writer.writerow(["#datatype", "string", "long", *types])
    writer.writerow(["#group", "false", "false", *("false" for _ in types)])
    writer.writerow(["#default", result, "", *("" for _ in types)])
    writer.writerow(["", "result", "table", *rows[0]])
    for row in rows:
        cells = [str(v).lower() if isinstance(v, bool) else v for v in row.values()]
        writer.writerow(["", "", 0, *cells])
    return text.getvalue() + "\r\n"
