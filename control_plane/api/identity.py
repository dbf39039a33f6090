"""Who sends a request: a bearer token, or a session cookie with its CSRF token."""

from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import g, request
from pydantic import BaseModel, ValidationError

from control_plane.auth.permissions import Actor, Permission, Role, require
from control_plane.auth.tokens import token_hash
from control_plane.bootstrap import ControlPlane
from control_plane.errors import BadRequest, CsrfRejected, NotAuthenticated
from control_plane.storage.accounts import OpenSession

Body = TypeVar("Body", bound=BaseModel)

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def origin_address() -> str:
    """Return the peer's address; headers that a client can forge do not count."""
    return request.remote_addr or "?"


def cookie_name(plane: ControlPlane) -> str:
    """Return the session cookie's name; browsers keep one jar for all ports of a host, so two
    installations on it must not share a name."""
    return f"daq_session_{plane.console.settings.http_port}"


def open_session(plane: ControlPlane) -> OpenSession | None:
    """Return the session of the request's cookie, or ``None``."""
    cookie = request.cookies.get(cookie_name(plane))
    if not cookie:
        return None
    return plane.console.accounts.session(token_hash(cookie), plane.console.clock.now())


def identify(plane: ControlPlane) -> Actor:
    """Return the sender of this request.

    Raises:
        NotAuthenticated: no valid token and no open session.
        CsrfRejected: a change by cookie without the session's CSRF token or from another origin.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found = plane.console.accounts.token(token_hash(token.strip()))
        if found is None:
            raise NotAuthenticated
        return Actor(name=f"token:{found[0]}", role=Role(found[1]), origin=origin_address())
    session = open_session(plane)
    if session is None:
        raise NotAuthenticated
    if request.method not in _SAFE_METHODS:
        reject_foreign_origin()
        if request.headers.get("X-CSRF-Token") != session.csrf_token:
            raise CsrfRejected
    return Actor(name=session.name, role=Role(session.role), origin=origin_address())


def reject_foreign_origin() -> None:
    """Raise CsrfRejected when a browser says that the request comes from another site."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    try:
        site = urlsplit(origin).netloc
    except ValueError:
        raise CsrfRejected from None
    if site != request.host:
        raise CsrfRejected


def actor_with(permission: Permission) -> Actor:
    """Return the sender of this request if the role allows ``permission``; raises NotPermitted."""
    actor: Actor = g.actor
    require(actor, permission)
    return actor


def parse_body(model: type[Body]) -> Body:
    """Read the JSON body of a request; raises BadRequest naming the field and the reason."""
    if request.mimetype != "application/json":
        raise BadRequest(reason="the body must be application/json")
    try:
        data: Any = request.get_data()
        return model.model_validate_json(data)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise BadRequest(reason=f"{where}: {first['msg']}") from None
