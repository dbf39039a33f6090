"""The live channel ``/ws`` (subprotocol ``daq.v1``): subscriptions in, snapshots and deltas out."""

import contextlib
import json
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask, g, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed

from control_plane.api.identity import COOKIE, identify, reject_foreign_origin
from control_plane.auth.permissions import Actor
from control_plane.auth.tokens import token_hash
from control_plane.bootstrap import ControlPlane
from control_plane.live.hub import TOPICS, Client
from control_plane.version import VERSION

log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 5
MAX_FRAME_BYTES: Final = 16 * 1024
CLOSE_BAD_FRAME: Final = 4400
CLOSE_SESSION_ENDED: Final = 4401
_SESSION_CHECK_S = 60.0
_SEND_TIMEOUT_S = 10
_MAX_BAD_FRAMES = 5

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
        client: Client = g.live_client
        try:
            _Conversation(ws, client, plane, g.actor, request.cookies.get(COOKIE)).run()
        finally:
            plane.hub.disconnect(client)

    @app.before_request
    def judge_handshake() -> None:
        if request.path == "/ws":
            reject_foreign_origin()
            g.actor = identify(plane)
            g.live_client = plane.hub.connect(g.actor.name)


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
            "time": self._now(),
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
        match frame.get("op"):
            case "subscribe" if topic in TOPICS:
                self._plane.hub.subscribe(self._client, topic, request_id)
            case "unsubscribe" if topic in TOPICS:
                self._plane.hub.unsubscribe(self._client, topic, request_id)
            case "subscribe" | "unsubscribe":
                self._refuse(request_id, "unknown_topic", f"topics are: {', '.join(TOPICS)}")
            case "ping":
                pong = {"id": request_id, "type": "pong", "time": self._now()}
                self._client.push(json.dumps(pong))
            case _:
                self._refuse(request_id, "bad_request", "op is subscribe, unsubscribe or ping")

    def _refuse(self, request_id: object, code: str, message: str) -> None:
        self._bad_frames += 1
        error = {"id": request_id, "type": "error", "ok": False, "code": code, "message": message}
        self._client.push(json.dumps(error))
        if self._bad_frames >= _MAX_BAD_FRAMES:
            self._client.close(CLOSE_BAD_FRAME)

    def _write(self) -> None:
        monotonic = self._plane.console.clock.monotonic
        next_check = monotonic() + _SESSION_CHECK_S
        with contextlib.suppress(ConnectionClosed, OSError):
            while True:
                frames = self._client.next_frames(HEARTBEAT_S)
                for frame in frames:
                    self._ws.send(frame)
                if self._client.close_code is not None:
                    break
                if not frames:
                    self._ws.send(json.dumps(self._heartbeat()))
                if monotonic() >= next_check:
                    next_check = monotonic() + _SESSION_CHECK_S
                    if not self._session_is_open():
                        self._client.close(CLOSE_SESSION_ENDED)
        with contextlib.suppress(ConnectionClosed, OSError):
            self._ws.close(self._client.close_code or 1000)

    def _heartbeat(self) -> dict[str, object]:
        return {"type": "connection_status", "event": "heartbeat", "time": self._now()}

    def _session_is_open(self) -> bool:
        """Ask now and then; watching the panel counts as using it."""
        if self._session_hash is None:
            return True
        now = self._plane.console.clock.now()
        return self._plane.console.accounts.session(self._session_hash, now) is not None

    def _now(self) -> str:
        return self._plane.console.clock.now().isoformat().replace("+00:00", "Z")
