"""The live channel ``/ws`` (subprotocol ``daq.v1``): judges a handshake, then hands the socket to
the hub, whose thread does all reading and writing. A request's thread waits until the end."""

import base64
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any, Final

from flask import Blueprint, Flask, Response, g, jsonify, request
from flask_sock import Sock

from control_plane.api.endpoint import endpoint
from control_plane.api.identity import cookie_name, identify, reject_foreign_origin
from control_plane.auth.permissions import Actor, Permission, Role
from control_plane.auth.tokens import token_hash
from control_plane.bootstrap import ControlPlane
from control_plane.errors import UpgradeRequired
from control_plane.live.asyncapi import asyncapi_document
from control_plane.live.connection import Visitor
from control_plane.live.limits import (
    CLOSE_FORBIDDEN,
    CLOSE_SESSION_ENDED,
    MAX_FRAME_BYTES,
    MAX_SUBSCRIPTIONS,
    MESSAGES_BURST,
    MESSAGES_PER_S,
)
from control_plane.version import VERSION

_KEY_BYTES: Final = 16
SUBPROTOCOL: Final = "daq.v1"

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class _NoThread:
    """Stands for simple-websocket's reader: only the hub reads and writes."""

    name = ""

    def __init__(self, target: object) -> None:
        pass

    def start(self) -> None:
        pass


def register_live_channel(app: Flask, plane: ControlPlane) -> None:
    """Add ``/ws`` to ``app``; a request is judged before it is upgraded."""
    app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": [SUBPROTOCOL], "thread_class": _NoThread}
    plane.hub.words.times = lambda: _times(plane)
    plane.hub.words.greeting = lambda _: {"server": VERSION, "limits": _LIMITS}
    plane.hub.tell_of_offences(lambda *offence: _note_offence(plane, *offence))
    app.register_blueprint(_description(plane))
    sock = Sock(app)

    @sock.route("/ws")  # type: ignore[untyped-decorator]
    def live(ws: Any) -> None:
        plane.hub.serve(ws.sock, g.visitor)
        ws.connected = False

    @app.before_request
    def judge_handshake() -> None:
        if request.path == "/ws":
            reject_foreign_origin()
            g.actor = identify(plane)
            _require_upgrade()
            visitor = _visitor(plane)
            plane.hub.take_seat(visitor)
            g.visitor = visitor

    @app.teardown_request
    def free_place(_exc: BaseException | None) -> None:
        """Runs however the request ended, also when it never became a live connection."""
        visitor: Visitor | None = g.pop("visitor", None)
        if visitor is not None:
            plane.hub.leave_seat(visitor)


def without_compression(app: WsgiApp) -> WsgiApp:
    """Hide the browser's offer of permessage-deflate: it costs 214 KB a client and frames that
    are shared cannot be made with it. ``daq.v1`` compresses shared frames itself."""

    def wrapped(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        return app(environ, start_response)

    return wrapped


def _description(plane: ControlPlane) -> Blueprint:
    blueprint = Blueprint("live", __name__, url_prefix="/api/v1")

    @cache
    def document() -> dict[str, Any]:
        return asyncapi_document(plane.hub.topics, VERSION)

    @blueprint.get("/asyncapi.json")
    @endpoint(Permission.VIEW, media=("application/json",))
    def asyncapi() -> Response:
        """Describe the live channel as AsyncAPI 3.0."""
        return jsonify(document())

    return blueprint


def _require_upgrade() -> None:
    """Raise UpgradeRequired unless this is the handshake of RFC 6455, 4.2.1."""
    headers = request.headers
    try:
        key = base64.b64decode(headers.get("Sec-WebSocket-Key", ""), validate=True)
    except ValueError:
        key = b""
    if (
        headers.get("Upgrade", "").lower() != "websocket"
        or "upgrade" not in headers.get("Connection", "").lower()
        or headers.get("Sec-WebSocket-Version") != "13"
        or len(key) != _KEY_BYTES
    ):
        raise UpgradeRequired


_LIMITS: Final = {
    "msg_per_s": int(MESSAGES_PER_S),
    "burst": int(MESSAGES_BURST),
    "subs": MAX_SUBSCRIPTIONS,
    "frame": MAX_FRAME_BYTES,
}


def _visitor(plane: ControlPlane) -> Visitor:
    """Return who asks, with the means to look later whether that still holds."""
    actor, console = g.actor, plane.console
    cookie = request.cookies.get(cookie_name(plane))
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    is_token = scheme.lower() == "bearer"  # A proxy may want a header of its own.
    hashed = token_hash(token.strip() if is_token else cookie or "")

    def verdict() -> int | None:
        """Watching the panel counts as using the session."""
        if is_token:
            found = console.tokens.find(hashed, console.clock.now())
            role = None if found is None else found.role
        else:
            session = console.accounts.session(hashed, console.clock.now())
            role = None if session is None else session.role
        if role is None:
            return CLOSE_SESSION_ENDED
        return None if role == actor.role.value else CLOSE_FORBIDDEN

    return Visitor(
        user=actor.name,
        role=actor.role.value,
        address=actor.origin,
        credential=hashed,
        verdict=verdict,
    )


def _note_offence(
    plane: ControlPlane, visitor: Visitor, reason: str, banned_s: float | None
) -> None:
    """Write down what no honest client does; the address may be shut out for it as a whole."""
    who = Actor(name=visitor.user, role=Role(visitor.role), origin=visitor.address)
    console = plane.console
    console.audit.refuse(who, "live", "/ws", reason)
    if banned_s is not None:
        console.audit.note(
            who, "client.ban", visitor.address, "done", f"/ws {banned_s:.0f} s: {reason}"
        )
    console.gate.strike(visitor.address, "live_channel")


def _times(plane: ControlPlane) -> dict[str, str | None]:
    """Now, and the last look at the plant (``None`` before the first) by the same clock."""
    try:
        observed_at = _iso(plane.monitor.picture().taken_at)
    except RuntimeError:
        observed_at = None
    return {"time": _iso(plane.console.clock.now()), "observed_at": observed_at}


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
