"""Who sends a request: a bearer token, or a session cookie with its CSRF token."""

import hmac
from typing import Final
from urllib.parse import urlsplit

from flask import g, request

from control_plane.api.parsing import parse_body
from control_plane.auth.permissions import Actor, Permission, Role, require
from control_plane.auth.tokens import token_hash
from control_plane.bootstrap import ControlPlane
from control_plane.errors import CsrfRejected, NotAuthenticated
from control_plane.storage.accounts import OpenSession

__all__ = ["actor_with", "identify", "parse_body"]

_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")


def origin_address() -> str:
    """Return the peer's address; what a proxy says counts if it is trusted (settings)."""
    return request.remote_addr or "?"


def cookie_name(plane: ControlPlane) -> str:
    """Return the session cookie's name; browsers keep one jar for all ports of a host, so two
    installations on it must not share a name.

    Behind TLS the prefix keeps other hosts of the domain, and pages without TLS, from setting it
    (RFC 6265bis, 4.1.3.2).
    """
    prefix = "__Host-" if request.is_secure else ""
    return f"{prefix}daq_session_{plane.console.settings.http_port}"


def open_session(plane: ControlPlane) -> OpenSession | None:
    """Return the session of the request's cookie, or ``None``."""
    cookie = request.cookies.get(cookie_name(plane))
    if not cookie:
        return None
    return plane.console.accounts.session(token_hash(cookie), plane.console.clock.now())


def identify(plane: ControlPlane) -> Actor:
    """Return the sender of this request; whoever brings wrong papers is noted.

    Raises:
        NotAuthenticated: no valid token and no open session.
        CsrfRejected: a change by cookie without the session's CSRF token or from another origin.
        RateLimited: this sender asks too often, or this address is banned.
    """
    gate = plane.console.gate
    try:
        actor = _sender(plane)
    except (NotAuthenticated, CsrfRejected) as exc:
        gate.check(origin_address())
        papers = request.headers.get("Authorization", "")
        if papers or isinstance(exc, CsrfRejected):
            gate.strike(origin_address(), exc.code, token_hash(papers) if papers else "")
            stranger = Actor(name="?", role=Role.VIEWER, origin=origin_address())
            plane.console.audit.refuse(
                stranger, "request", f"{request.method} {request.path}", exc.code
            )
        raise
    gate.count_request(actor.name)
    return actor


def _sender(plane: ControlPlane) -> Actor:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found = plane.console.tokens.find(token_hash(token.strip()), plane.console.clock.now())
        if found is None:
            raise NotAuthenticated
        return Actor(name=f"token:{found.name}", role=Role(found.role), origin=origin_address())
    session = open_session(plane)
    if session is None:
        raise NotAuthenticated
    if request.method not in _SAFE_METHODS:
        reject_foreign_origin()
        check_csrf_token(session)
    return Actor(name=session.name, role=Role(session.role), origin=origin_address())


def check_csrf_token(session: OpenSession) -> None:
    """Raise CsrfRejected unless the request brings the session's CSRF token."""
    given = request.headers.get("X-CSRF-Token", "")
    if not hmac.compare_digest(given.encode(), session.csrf_token.encode()):
        raise CsrfRejected


def reject_foreign_origin() -> None:
    """Raise CsrfRejected when a browser says that the request comes from another site."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise CsrfRejected
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
