"""The live channel ``/ws`` (subprotocol ``daq.v1``): subscriptions in, snapshots and deltas out."""

import contextlib
import json
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from flask import Flask, g, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from control_plane.api.identity import cookie_name, identify, reject_foreign_origin
from control_plane.auth.permissions import Actor
from control_plane.auth.tokens import token_hash
from control_plane.bootstrap import ControlPlane
from control_plane.errors import RateLimited
from control_plane.live.hub import TOPICS, Client
from control_plane.version import VERSION

log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 5
MAX_FRAME_BYTES: Final = 16 * 1024
CLOSE_INTERNAL_ERROR: Final = 1011
CLOSE_BAD_FRAME: Final = 4400
CLOSE_SESSION_ENDED: Final = 4401
_SESSION_CHECK_S = 60.0
_SEND_TIMEOUT_S = 10
_CLOSE_REPLY_S = 2.0
_MAX_BAD_FRAMES = 5
_MAX_ID_CHARS = 64
_GONE = (ConnectionClosed, LocalProtocolError, OSError)
"""What sending to a peer that has gone can raise."""

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def register_live_channel(app: Flask, plane: ControlPlane) -> None:
    """Add ``/ws`` to ``app``; a request is judged before it is upgraded."""
    app.config["SOCK_SERVER_OPTIONS"] = {
        "subprotocols": ["daq.v1"],
        "max_message_size": MAX_FRAME_BYTES,
        "ping_interval": 25,
    }
    sock = Sock(app)

    @sock.route("/ws")  # type: ignore[untyped-decorator]
    def live(ws: Any) -> None:
        cookie = request.cookies.get(cookie_name(plane))
        _Conversation(ws, g.live_client, plane, g.actor, cookie).run()

    @app.before_request
    def judge_handshake() -> None:
        if request.path == "/ws":
            reject_foreign_origin()
            g.actor = identify(plane)
            g.live_client = plane.hub.connect(g.actor.name)

    @app.teardown_request
    def free_place(_exc: BaseException | None) -> None:
        """Runs however the request ended, also when it never became a live connection."""
        client: Client | None = g.pop("live_client", None)
        if client is not None:
            plane.hub.disconnect(client)


def without_compression(app: WsgiApp) -> WsgiApp:
    """Hide the browser's offer of permessage-deflate: it costs 214 KB a client and, with more
    than one sending thread, corrupts the stream."""

    def wrapped(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        return app(environ, start_response)

    return wrapped


class _Conversation:
    """One connection: this thread reads, a second one is the only one that sends messages."""

    def __init__(
        self, ws: Any, client: Client, plane: ControlPlane, actor: Actor, cookie: str | None
    ) -> None:
        self._ws = ws
        self._client = client
        self._plane = plane
        self._actor = actor
        self._session_hash = token_hash(cookie) if cookie else None
        self._bad_frames = 0
        self._reader_ended = threading.Event()

    def run(self) -> None:
        """Serve until either side closes."""
        # A peer that stops reading fills the kernel's buffer; then a send must not last for ever.
        timeout = struct.pack("ll", _SEND_TIMEOUT_S, 0)
        self._ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        writer = threading.Thread(target=self._write, name="live-writer")
        self._client.push(json.dumps(self._hello()))
        writer.start()
        try:
            while True:
                self._answer(self._ws.receive())
        except ConnectionClosed:
            pass
        finally:
            self._reader_ended.set()
            self._client.close(1000)
            writer.join()

    def _hello(self) -> dict[str, object]:
        return {
            "type": "connection_status",
            "event": "hello",
            "proto": 1,
            "server": VERSION,
            "epoch": self._plane.hub.epoch,
            "user": self._actor.name,
            "role": self._actor.role.value,
            **self._times(),
            "topics": list(TOPICS),
            "heartbeat_s": HEARTBEAT_S,
        }

    def _answer(self, text: str | bytes) -> None:
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            frame = None
        if not isinstance(frame, dict) or isinstance(text, bytes):
            self._refuse(None, "bad_request", "a frame is one JSON object")
            return
        request_id, topic = frame.get("id"), frame.get("topic")
        if not _is_id(request_id):
            self._refuse(None, "bad_request", f"id is a number or up to {_MAX_ID_CHARS} characters")
            return
        # What is no string can be no key either: a list cannot even be looked up.
        topic = topic if isinstance(topic, str) else ""
        match frame.get("op"):
            case "subscribe" if topic in TOPICS:
                self._subscribe(topic, request_id)
            case "unsubscribe" if topic in TOPICS:
                self._plane.hub.unsubscribe(self._client, topic, request_id)
            case "subscribe" | "unsubscribe":
                self._refuse(request_id, "unknown_topic", f"topics are: {', '.join(TOPICS)}")
            case "ping":
                pong = {"id": request_id, "type": "pong", **self._times()}
                self._client.push(json.dumps(pong))
            case _:
                self._refuse(request_id, "bad_request", "op is subscribe, unsubscribe or ping")

    def _subscribe(self, topic: str, request_id: object) -> None:
        try:
            self._plane.hub.subscribe(self._client, topic, request_id)
        except RateLimited as exc:
            # No bad frame: a client that has lost a message may ask again in good faith.
            self._push_error(request_id, exc.code, exc.message())

    def _refuse(self, request_id: object, code: str, message: str) -> None:
        self._bad_frames += 1
        self._push_error(request_id, code, message)
        if self._bad_frames >= _MAX_BAD_FRAMES:
            self._client.close(CLOSE_BAD_FRAME)

    def _push_error(self, request_id: object, code: str, message: str) -> None:
        error = {"id": request_id, "type": "error", "ok": False, "code": code, "message": message}
        self._client.push(json.dumps(error))

    def _write(self) -> None:
        """Send until the end, whatever ends it, and let the reader go then."""
        try:
            self._send_frames()
        except _GONE:
            pass
        except Exception:
            log.exception("live connection failed", extra={"user": self._actor.name})
            self._client.close(CLOSE_INTERNAL_ERROR)
        with contextlib.suppress(*_GONE):
            self._ws.close(self._client.close_code or 1000)
        if not self._reader_ended.wait(_CLOSE_REPLY_S):
            # The peer does not answer the close; the reader would hold its place meanwhile.
            with contextlib.suppress(OSError):
                self._ws.sock.shutdown(socket.SHUT_RD)

    def _send_frames(self) -> None:
        monotonic = self._plane.console.clock.monotonic
        next_check = monotonic() + _SESSION_CHECK_S
        next_heartbeat = monotonic() + HEARTBEAT_S
        while True:
            for frame in self._client.next_frames(max(0.0, next_heartbeat - monotonic())):
                self._ws.send(frame)
            if self._client.close_code is not None:
                return
            if monotonic() >= next_heartbeat:
                # Also amid other frames: it alone tells when the whole plant was last seen.
                next_heartbeat = monotonic() + HEARTBEAT_S
                self._ws.send(json.dumps(self._heartbeat()))
            if monotonic() >= next_check:
                next_check = monotonic() + _SESSION_CHECK_S
                if not self._session_is_open():
                    self._client.close(CLOSE_SESSION_ENDED)

    def _heartbeat(self) -> dict[str, object]:
        return {"type": "connection_status", "event": "heartbeat", **self._times()}

    def _session_is_open(self) -> bool:
        """Ask now and then; watching the panel counts as using it."""
        if self._session_hash is None:
            return True
        now = self._plane.console.clock.now()
        return self._plane.console.accounts.session(self._session_hash, now) is not None

    def _times(self) -> dict[str, str | None]:
        """Now, and the last look at the plant (``None`` before the first) by the same clock."""
        try:
            observed_at = _iso(self._plane.monitor.picture().taken_at)
        except RuntimeError:
            observed_at = None
        return {"time": _iso(self._plane.console.clock.now()), "observed_at": observed_at}


def _is_id(value: object) -> bool:
    """Whether ``value`` may be echoed: short, and the same number in every language."""
    if isinstance(value, str):
        return len(value) <= _MAX_ID_CHARS
    return value is None or (type(value) is int and abs(value) < 2**53)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
