"""Declares a route once: who may use it, what it takes, what it answers, how it can fail.

The handler's signature says most of it: ``query`` and ``body`` are parsed as the types that they
are annotated with, ``actor`` is the sender, and what is returned is sent as the JSON of the
return type. The OpenAPI document is made from the same declaration.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

from flask import Flask, Response, g, request
from pydantic import BaseModel, TypeAdapter

from control_plane.api.parsing import parse_body, parse_query
from control_plane.auth.permissions import Actor, Permission

Body = TypeVar("Body")
Handler = Callable[..., Any]
View = Callable[..., Response]
Errors = Sequence[type[Exception]]

_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Body]):
    """An answer with headers of its own, or another status than the declared one."""

    body: Body
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What is known of a route.

    Attributes:
        permission: ``None`` is open to strangers. Reading is refused before the handler runs; a
            change is refused by the command, which notes it under its own name.
        answer: Type of the JSON; ``None`` for an empty answer or one of ``media``.
        media: Content types of an answer that is a file.
        takes_media: Content types of a body that is a file.
        example: A body that the route takes.
        headers: Names of further headers that it understands.
    """

    permission: Permission | None
    errors: tuple[type[Exception], ...] = ()
    status: int = 200
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: Any = None
    media: tuple[str, ...] = ()
    takes_media: tuple[str, ...] = ()
    example: Mapping[str, object] | None = None
    headers: tuple[str, ...] = ()


def endpoint(
    permission: Permission | None,
    *,
    errors: Errors = (),
    status: int = 200,
    media: Sequence[str] = (),
    **others: Any,
) -> Callable[[Handler], View]:
    """Return a decorator of handlers; it stands between the blueprint's decorator and the handler.

    Args:
        others: Further attributes of :class:`Declaration`.
    """

    def decorate(handler: Handler) -> View:
        takes = inspect.signature(handler).parameters
        returned = inspect.signature(handler).return_annotation
        answer = get_args(returned)[0] if get_origin(returned) is Answer else returned
        is_json = answer not in (None, Response)
        declaration = Declaration(
            permission=permission,
            errors=tuple(errors),
            status=204 if answer is None and status == 200 else status,
            query=takes["query"].annotation if "query" in takes else None,
            body=takes["body"].annotation if "body" in takes else None,
            answer=answer if is_json else None,
            media=tuple(media),
            **others,
        )
        adapter: TypeAdapter[Any] | None = TypeAdapter(answer) if is_json else None

        @functools.wraps(handler)
        def view(**path: Any) -> Response:
            if "actor" in takes:
                path["actor"] = sender()
            if declaration.query is not None:
                path["query"] = parse_query(declaration.query)
            if declaration.body is not None:
                path["body"] = parse_body(declaration.body)
            return _response(handler(**path), adapter, declaration.status)

        view.declaration = declaration  # type: ignore[attr-defined] # read by declaration_of
        return view

    return decorate


def sender() -> Actor:
    """Return who sends this request; known on every route that is not open to strangers."""
    actor: Actor = g.actor
    return actor


def declaration_of(view: Callable[..., Any] | None) -> Declaration | None:
    """Return what was declared for a view, ``None`` if nothing was."""
    found: Declaration | None = getattr(view, "declaration", None)
    return found


def require_declarations(app: Flask, prefix: str = "/api/") -> None:
    """Refuse an application one of whose routes below ``prefix`` does not say who may use it.

    Raises:
        RuntimeError: names the routes.
    """
    missing = [
        f"{', '.join(sorted(rule.methods or ()))} {rule.rule}"
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(prefix)
        and declaration_of(app.view_functions[rule.endpoint]) is None
    ]
    if missing:
        raise RuntimeError(
            f"these routes have no permission, give them @endpoint(…): {'; '.join(missing)}"
        )


def _response(result: Any, adapter: TypeAdapter[Any] | None, status: int) -> Response:
    headers: Mapping[str, str] = {}
    if isinstance(result, Answer):
        result, headers, status = result.body, result.headers, result.status or status
    if isinstance(result, Response):
        return result
    if adapter is None:
        response = Response(status=status)
    else:
        response = Response(adapter.dump_json(result, by_alias=True), status, content_type=_JSON)
    response.headers.update(headers)
    if "ETag" in headers and request.method in ("GET", "HEAD"):
        response.make_conditional(request)
    return response
