"""Carries what changed to everybody who listens; each frame is made once and shared.

A topic keeps the newest message of each key, so a new listener gets a snapshot and then every
change, without a gap between the two. A listener that does not keep up is cut off: it comes back
and gets a fresh snapshot, and nobody else waits for it.
"""

import json
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from control_plane.errors import RateLimited, TooManyClients

MAX_QUEUED_FRAMES: Final = 2000
MAX_QUEUED_BYTES: Final = 4 << 20
SNAPSHOT_EVERY_S: Final = 1.0
"""A client gets at most one snapshot of a topic in this time."""

CLOSE_GOING_AWAY: Final = 1001
CLOSE_SLOW: Final = 4413


@dataclass(frozen=True, slots=True)
class Topic:
    """One stream of messages; ``type`` is the design document's message type."""

    name: str
    type: str


TOPICS: Final = {
    topic.name: topic
    for topic in (
        Topic("process_status", "process_status_update"),
        Topic("health_checks", "health_check_result"),
        Topic("performance", "performance_metrics"),
        Topic("error_alerts", "error_alert"),
    )
}


@dataclass(slots=True)
class _TopicState:
    sequence: int = 0
    newest: dict[str, object] = field(default_factory=dict)


class Client:
    """The server's end of one listener: a bounded queue of ready frames."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.topics: set[str] = set()
        self.snapshot_mono: dict[str, float] = {}
        self.close_code: int | None = None
        self._frames: deque[str] = deque()
        self._queued_bytes = 0
        self._ready = threading.Condition()

    def push(self, frame: str) -> None:
        """Queue a frame; past the limit the client is to be closed.

        What waits already is judged, so that one snapshot may be of any size.
        """
        with self._ready:
            if self.close_code is None:
                if len(self._frames) < MAX_QUEUED_FRAMES and self._queued_bytes < MAX_QUEUED_BYTES:
                    self._frames.append(frame)
                    self._queued_bytes += len(frame.encode())
                else:
                    self.close_code = CLOSE_SLOW
            self._ready.notify()

    def close(self, code: int) -> None:
        """Let :meth:`next_frames` end; the first code given stands."""
        with self._ready:
            if self.close_code is None:
                self.close_code = code
            self._ready.notify()

    def next_frames(self, timeout_s: float) -> list[str]:
        """Return what is queued, waiting for the first frame; empty after ``timeout_s``."""
        with self._ready:
            self._ready.wait_for(lambda: self._frames or self.close_code is not None, timeout_s)
            frames = list(self._frames)
            self._frames.clear()
            self._queued_bytes = 0
            return frames


class Hub:
    """Usable from any thread. The lock is never held while something is sent."""

    def __init__(
        self,
        max_clients: int,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.epoch = secrets.token_hex(4)
        """Another one means: the server forgot what it sent, take a new snapshot."""
        self._max_clients = max_clients
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._topics = {name: _TopicState() for name in TOPICS}
        self._clients: set[Client] = set()
        self._closed = False
        self.cut_off = 0
        """Listeners that did not keep up, since the start."""

    @property
    def client_count(self) -> int:
        return len(self._clients)

    def connect(self, user: str) -> Client:
        """Raises TooManyClients when full or shutting down."""
        client = Client(user)
        with self._lock:
            if self._closed or len(self._clients) >= self._max_clients:
                raise TooManyClients(limit=self._max_clients)
            self._clients.add(client)
        return client

    def disconnect(self, client: Client) -> None:
        with self._lock:
            if client in self._clients and client.close_code == CLOSE_SLOW:
                self.cut_off += 1
            self._clients.discard(client)

    def subscribe(self, client: Client, topic: str, request_id: object) -> None:
        """Acknowledge, send the snapshot, and from there every change.

        Raises:
            RateLimited: the last snapshot went out too short a time ago.
        """
        mono = self._monotonic()
        with self._lock:
            if mono - client.snapshot_mono.get(topic, -math.inf) < SNAPSHOT_EVERY_S:
                raise RateLimited(retry_after_s=math.ceil(SNAPSHOT_EVERY_S))
            client.snapshot_mono[topic] = mono
            state = self._topics[topic]
            ack = {
                "id": request_id,
                "type": "ack",
                "ok": True,
                "topic": topic,
                "epoch": self.epoch,
                "seq": state.sequence,
            }
            client.push(json.dumps(ack))
            client.push(self._frame(topic, "snapshot", list(state.newest.values())))
            client.topics.add(topic)

    def unsubscribe(self, client: Client, topic: str, request_id: object) -> None:
        with self._lock:
            client.topics.discard(topic)
            client.push(json.dumps({"id": request_id, "type": "ack", "ok": True, "topic": topic}))

    def publish(self, topic: str, key: str, data: object) -> None:
        """Send the new value of ``key`` to the topic's listeners."""
        with self._lock:
            self._topics[topic].newest[key] = data
            self._send(topic, data)

    def withdraw(self, topic: str, key: str) -> None:
        """Tell the listeners that ``key`` exists no more."""
        with self._lock:
            if self._topics[topic].newest.pop(key, None) is not None:
                self._send(topic, {"name": key, "removed": True})

    def close(self) -> None:
        """Refuse new clients and send every one away."""
        with self._lock:
            self._closed = True
            clients = list(self._clients)
        for client in clients:
            client.close(CLOSE_GOING_AWAY)

    def _send(self, topic: str, data: object) -> None:
        self._topics[topic].sequence += 1
        listeners = [client for client in self._clients if topic in client.topics]
        if listeners:
            frame = self._frame(topic, "delta", data)
            for client in listeners:
                client.push(frame)

    def _frame(self, topic: str, kind: str, data: object) -> str:
        message = {
            "type": TOPICS[topic].type,
            "topic": topic,
            "kind": kind,
            "seq": self._topics[topic].sequence,
            "ts": round(self._now().timestamp() * 1000),
            "data": data,
        }
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        try:
            text.encode()
        except UnicodeEncodeError:
            # Half a surrogate pair, from a file name say, must not end everybody's connection.
            return json.dumps(message, separators=(",", ":"))
        return text
