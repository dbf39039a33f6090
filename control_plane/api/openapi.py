"""The OpenAPI 3.1 document, made by spectree from what the routes declare."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, current_app
from pydantic import BaseModel, ConfigDict
from spectree import Response, SpecTree
from spectree.plugins.flask_plugin import FlaskPlugin

from collectors.contract.config_problems import ConfigError
from collectors.points_table.problems import TableError
from control_plane.api.endpoint import Declaration, declaration_of
from control_plane.api.errors import status_of
from control_plane.api.openapi_types import Document, tidied
from control_plane.auth.permissions import Permission, Role, allows
from control_plane.errors import (
    BadInput,
    ClientBanned,
    CsrfRejected,
    NotAuthenticated,
    NotPermitted,
    RateLimited,
    UnsupportedMedia,
)
from control_plane.version import VERSION

_PREFIX: Final = "/api/"
_DESCRIPTION: Final = (
    "Control plane of an industrial data acquisition installation. Errors are RFC 9457. "
    "Sign in with a bearer token (`daqplane token create`), or with the session cookie of the "
    "panel and its `X-CSRF-Token`. The live channel is described by AsyncAPI."
)
_HEADERS: Final = {
    "If-Match": "ETag of what the change is based on; 428 without, 412 if it is not the newest.",
    "If-None-Match": "ETag of what is known already: 304 if it is still that.",
    "Idempotency-Key": "A change that is sent twice under one key is done once.",
}


_FOREIGN_CODES: Final = {ConfigError: "invalid_config", TableError: "invalid_table"}


class Problem(BaseModel):
    """An error as RFC 9457 has it. ``code`` is stable; ``detail`` is a sentence in the language
    of the request. Some kinds have more: ``problems``, ``retry_after_s``."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str


class _Routes(FlaskPlugin):
    """Shows spectree the declared routes below ``/api`` only, each with what was declared."""

    described: Mapping[str, Callable[..., Any]]

    def find_routes(self) -> Iterator[Any]:
        rules = sorted(current_app.url_map.iter_rules(), key=lambda rule: rule.rule)
        yield from (rule for rule in rules if rule.endpoint in self.described)

    def parse_func(self, route: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
        for method in sorted(route.methods):
            yield method, self.described[route.endpoint]


def openapi_document(app: Flask) -> Document:
    """Return the document of all declared routes of an application.

    Raises:
        ValueError: two types of one name would get mixed up.
    """
    names: dict[str, Any] = {}

    def name_of(model: Any) -> str:
        if names.setdefault(model.__name__, model) is not model:
            raise ValueError(f"two types are called {model.__name__}: rename one")
        return str(model.__name__)

    tree = SpecTree(
        backend=_Routes,
        mode="strict",
        title="daqplane",
        version=VERSION,
        description=_DESCRIPTION,
        openapi_version="3.1.0",
        naming_strategy=name_of,
        nested_naming_strategy=lambda _parent, child: child,
        validation_error_model=Problem,
        validation_error_status=HTTPStatus.BAD_REQUEST,
    )
    declarations = _declarations(app)
    backend: Any = tree.backend
    backend.described = {
        name: _described(tree, name, app.view_functions[name], declared)
        for name, declared in declarations.items()
    }
    _refuse_mixed_types(tree.models.values())
    with app.app_context():
        document: Document = json.loads(json.dumps(tree.spec))
    of_operation = {_operation_id(name): name for name in declarations}
    for methods in document["paths"].values():
        for operation in methods.values():
            name = of_operation[operation["operationId"]]
            _complete(operation, declarations[name], app.view_functions[name])
    components = document["components"]
    components["responses"] = _problems(document)
    document = tidied(document)
    components = document["components"]
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "daq_session"},
    }
    return document


def _declarations(app: Flask) -> dict[str, Declaration]:
    found = {
        rule.endpoint: declaration_of(app.view_functions[rule.endpoint])
        for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)
        if rule.rule.startswith(_PREFIX)
    }
    return {name: each for name, each in found.items() if each is not None}


def _operation_id(endpoint: str) -> str:
    return endpoint.replace(".", "_")


def _described(
    tree: SpecTree, name: str, view: Callable[..., Any], declared: Declaration
) -> Callable[..., Any]:
    answers = {f"HTTP_{declared.status}": declared.answer}
    described: Callable[..., Any] = tree.validate(
        query=declared.query,
        json=declared.body,
        resp=Response(**answers),
        tags=(name.partition(".")[0],),
        operation_id=_operation_id(name),
        skip_validation=True,
    )(_plain(view))
    return described


def _plain(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of this name and documentation; spectree need not run anything."""

    def plain() -> None: ...

    plain.__name__, plain.__doc__ = view.__name__, view.__doc__
    return plain


def _refuse_mixed_types(schemas: Iterable[Document]) -> None:
    seen: dict[str, Any] = {}
    for schema in schemas:
        for name, found in schema.get("$defs", {}).items():
            if seen.setdefault(name, found) != found:
                raise ValueError(f"{name} differs where it is sent and where it is received")


def _complete(operation: Document, declared: Declaration, view: Callable[..., Any]) -> None:
    """Add what spectree has no words for."""
    permission = declared.permission
    operation["x-permission"] = permission.value if permission else None
    operation["x-errors"] = sorted({_code(kind) for kind in _errors(declared)})
    operation["security"] = [{"token": []}, {"session": []}] if permission else []
    if permission:
        roles = ", ".join(role.value for role in Role if allows(role, permission))
        said = f"For the roles {roles}."
        operation["description"] = f"{operation['description']}\n\n{said}".strip()
    headers = list(declared.headers)
    if getattr(view, "is_done_once", False):
        headers.append("Idempotency-Key")
    parameters = [_sendable(each) for each in operation["parameters"]]
    operation["parameters"] = parameters + [_header(name) for name in headers]
    _complete_body(operation, declared)
    operation["responses"] = _responses(operation["responses"], declared)


def _sendable(parameter: Document) -> Document:
    """A parameter that is not given is left out: no query can say null."""
    schema = dict(parameter["schema"])
    choices = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        schema = {**schema, **choices[0]}
    schema.pop("title", None)
    if parameter["in"] == "path" and schema.get("type") == "integer":
        schema = {"type": "integer", "minimum": 0}  # werkzeug matches digits only
    if schema.get("default", "") is None:
        del schema["default"]
    return {**parameter, "schema": schema}


def _header(name: str) -> Document:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": _HEADERS[name],
        "schema": {"type": "string"},
    }


def _complete_body(operation: Document, declared: Declaration) -> None:
    if declared.takes_media:
        operation["requestBody"] = {"required": True, "content": _files(declared.takes_media)}
    elif declared.body is not None and declared.example is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = dict(declared.example)


def _files(media: Iterable[str]) -> Document:
    binary = {"type": "string", "format": "binary"}
    return {each: {"schema": {} if each == "application/json" else binary} for each in media}


def _responses(made: Document, declared: Declaration) -> Document:
    good = made[str(declared.status)]
    if declared.media:
        good["content"] = _files(declared.media)
    responses = {str(declared.status): good}
    if "If-None-Match" in declared.headers:
        good["headers"] = {"ETag": {"schema": {"type": "string"}}}
        responses["304"] = {"description": "It is still what is known"}
    statuses = {status_of(kind) for kind in _errors(declared)} | {500, 503}
    if declared.body is not None or declared.takes_media:
        statuses.add(413)
    for status in sorted(statuses):
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    return responses


def _problems(document: Document) -> Document:
    """Return the answers that the operations refer to."""
    content = {"schema": {"$ref": "#/components/schemas/Problem"}}
    statuses = {
        int(status)
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if "$ref" in answer
    }
    return {
        f"Problem{status}": {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": content},
        }
        for status in sorted(statuses)
    }


def _errors(declared: Declaration) -> list[type[Exception]]:
    kinds: list[type[Exception]] = list(declared.errors)
    if declared.permission is not None:
        kinds += [NotAuthenticated, RateLimited, ClientBanned, CsrfRejected]
    if declared.permission not in (None, Permission.VIEW):
        kinds.append(NotPermitted)
    if declared.body is not None or declared.takes_media:
        kinds.append(UnsupportedMedia)
    return [*kinds, BadInput]


def _code(kind: type[Exception]) -> str:
    return str(getattr(kind, "code", _FOREIGN_CODES.get(kind)))
