"""The description of the API, for programs and for people; it needs no script and no network."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from collectors.contract.messages import sentence
from control_plane.api.endpoint import endpoint
from control_plane.api.errors import language_of_request
from control_plane.api.openapi import openapi_document
from control_plane.api.openapi_types import Document
from control_plane.auth.permissions import Permission


def documentation_blueprint() -> Blueprint:
    """The routes ``/api/v1/openapi.json`` and ``/api/v1/docs``."""
    blueprint = Blueprint("documentation", __name__, url_prefix="/api/v1")

    @cache
    def document() -> Document:
        return openapi_document(current_app)

    @blueprint.get("/openapi.json")
    @endpoint(Permission.VIEW, media=("application/json",))
    def openapi() -> Response:
        """Describe this API as OpenAPI 3.1."""
        return jsonify(document())

    @blueprint.get("/docs")
    @endpoint(Permission.VIEW, media=("text/html",))
    def docs() -> Response:
        """Show the same to people."""
        return Response(_page(document(), language_of_request()), mimetype="text/html")

    @blueprint.get("/docs.css")
    @endpoint(Permission.VIEW, media=("text/css",))
    def style() -> Response:
        """The looks of that page."""
        text = files("control_plane.api").joinpath("docs.css").read_text(encoding="utf-8")
        return Response(text, mimetype="text/css")

    return blueprint


def _page(document: Document, language: str) -> str:
    def label(code: str) -> str:
        return escape(sentence("control_plane", f"docs.{code}", {}, language))

    info = document["info"]
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{label("title")}</title>'
        f'<link rel="stylesheet" href="docs.css"><main><h1>{label("title")} '
        f"{escape(info['version'])}</h1><p>{label('intro')} "
        f'<a href="openapi.json">openapi.json</a></p>'
        f"{''.join(_groups(document, label))}<h2>{label('types')}</h2>"
        f"{''.join(_types(document))}</main></html>"
    )


def _groups(document: Document, label: Any) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shown = _operation(path, method, operation, label)
            groups.setdefault(operation["tags"][0], []).append(shown)
    for name, operations in groups.items():
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2>{"".join(operations)}'


def _operation(path: str, method: str, operation: Mapping[str, Any], label: Any) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    errors = ", ".join(f"<code>{escape(each)}</code>" for each in operation["x-errors"])
    parts = [
        f"<p>{escape(operation['description'])}</p>",
        _table(label("parameters"), map(_parameter, operation["parameters"])),
        _table(label("body"), (_content(kind, each) for kind, each in body.items())),
        _table(
            label("answers"),
            (_answer(code, each) for code, each in operation["responses"].items() if len(each) > 1),
        ),
        f"<h3>{label('errors')}</h3><p>{errors}</p>",
    ]
    return (
        f'<details id="{operation["operationId"]}"><summary><b class="{method}">'
        f"{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"
        f"</summary>{''.join(parts)}</details>"
    )


def _table(title: str, rows: Iterable[str]) -> str:
    shown = "".join(rows)
    return f"<h3>{title}</h3><table>{shown}</table>" if shown else ""


def _parameter(parameter: Mapping[str, Any]) -> str:
    mark = " *" if parameter["required"] else ""
    return _row(
        f"<code>{escape(parameter['name'])}</code>{mark}",
        escape(parameter["in"]),
        _type(parameter["schema"]),
        escape(parameter["description"]),
    )


def _content(kind: str, content: Mapping[str, Any]) -> str:
    example = content.get("example")
    shown = f"<pre>{escape(_json(example))}</pre>" if example is not None else ""
    return _row(f"<code>{escape(kind)}</code>", _type(content["schema"]), shown)


def _answer(code: str, answer: Mapping[str, Any]) -> str:
    content = answer.get("content", {})
    types = " ".join(f"{escape(kind)} {_type(each['schema'])}" for kind, each in content.items())
    return _row(f"<code>{code}</code>", escape(answer["description"]), types)


def _types(document: Document) -> Iterator[str]:
    for name, schema in sorted(document["components"]["schemas"].items()):
        rows = "".join(
            _row(f"<code>{escape(key)}</code>", _type(each))
            for key, each in schema.get("properties", {}).items()
        )
        whole = "" if rows else f"<p>{_type(schema)}</p>"
        yield (
            f'<details id="type-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
            f"<p>{escape(schema.get('description', ''))}</p><table>{rows}</table>{whole}</details>"
        )


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema in a few words, with links to the types that it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#type-{name}">{name}</a>'
    if "enum" in schema:
        return escape(" | ".join(map(str, schema["enum"])))
    if "anyOf" in schema:
        return " | ".join(map(_type, schema["anyOf"]))
    if schema.get("type") == "array" and "items" in schema:
        return f"{_type(schema['items'])}[]"
    form = f" ({schema['format']})" if "format" in schema else ""
    return escape(f"{schema.get('type', 'any')}{form}")


def _json(value: object) -> str:
    text: str = current_app.json.dumps(value, indent=2)
    return text


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
