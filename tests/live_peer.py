"""The other end of a live connection: a hub's thread talks to it over a socket pair."""

import contextlib
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from control_plane.live.connection import Visitor
from control_plane.live.frames import Burst
from control_plane.live.hub import Hub
from control_plane.live.limits import Pace
from control_plane.live.messages import FrameCheck
from control_plane.live.seats import SeatLimits
from control_plane.live.streams import Stream
from control_plane.live.topics import TOPICS, Topic

DEADLINE_S = 10.0


class Peer:
    """Speaks as a browser would; :meth:`frame` waits for what the hub says."""

    def __init__(self, hub: Hub, visitor: Visitor | None = None, **features: bool) -> None:
        self.visitor = visitor or Visitor(user="alice")
        hub.take_seat(self.visitor)
        here, there = socket.socketpair()
        self.sock = here
        self.sock.settimeout(DEADLINE_S)
        self.close_code: int | None = None
        self.close_reason = ""
        self.pings = 0
        self.wire_bytes = 0
        self.answers_pings = True
        self._frames: list[dict[str, Any]] = []
        self._wsproto = Connection(ConnectionType.CLIENT)
        self._text = ""
        self._bytes = b""
        self._id = 0
        self._thread = threading.Thread(target=self._serve, args=(hub, there))
        self._thread.start()
        if features:
            self.ask("hello", features=features)

    def _serve(self, hub: Hub, sock: socket.socket) -> None:
        hub.serve(sock, self.visitor)
        hub.leave_seat(self.visitor)
        sock.close()

    def end(self) -> None:
        self.sock.close()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def send(self, text: str) -> None:
        self.sock.sendall(self._wsproto.send(TextMessage(data=text)))

    def ask(self, op: str, **fields: object) -> dict[str, Any]:
        """Send a request and return its answer."""
        self._id += 1
        self.send(json.dumps({"id": self._id, "op": op, **fields}))
        while True:
            answer = self.frame("ack", "error", "pong")
            if answer["id"] == self._id:
                return answer

    def frame(self, *types: str) -> dict[str, Any]:
        """Return the next frame of one of these types, of any by default."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            for n, frame in enumerate(self._frames):
                if not types or frame["type"] in types:
                    return self._frames.pop(n)
            self._read()
        raise AssertionError(f"no frame of {types}")

    def deltas(self, until: Any) -> list[dict[str, Any]]:
        """Return the frames of a topic up to the one whose data is ``until``."""
        found = []
        while not found or found[-1]["data"] != until:
            found.append(self.topic_frame())
        return found

    def topic_frame(self) -> dict[str, Any]:
        return self.frame(
            "process_status_update", "health_check_result", "performance_metrics", "error_alert",
            "log_stream",
        )  # fmt: skip

    def wait_closed(self) -> int:
        while self.close_code is None:
            self._read()
        return self.close_code

    def _read(self) -> None:
        data = self.sock.recv(1 << 16)
        self.wire_bytes += len(data)
        if not data:
            self.close_code = self.close_code or 1006
            return
        self._wsproto.receive_data(data)
        for event in self._wsproto.events():
            self._hear(event)

    def _hear(self, event: Event) -> None:
        match event:
            case TextMessage():
                self._text += event.data
                if event.message_finished:
                    self._keep(self._text)
                    self._text = ""
            case BytesMessage():
                self._bytes += bytes(event.data)
                if event.message_finished:
                    assert self._bytes[0] == 1
                    self._keep(zlib.decompress(self._bytes[1:], -zlib.MAX_WBITS).decode())
                    self._bytes = b""
            case Ping():
                self.pings += 1
                if self.answers_pings:
                    self.sock.sendall(self._wsproto.send(event.response()))
            case CloseConnection():
                self.close_code, self.close_reason = event.code, event.reason or ""

    def _keep(self, text: str) -> None:
        frame = json.loads(text)
        self._frames.extend(frame if isinstance(frame, list) else [frame])


def seat_limits(clients: int) -> SeatLimits:
    return SeatLimits(clients=clients, per_user=clients, per_address=clients)


@contextlib.contextmanager
def running_hub(
    max_clients: int = 10, stream: Stream | None = None, **pace: float
) -> Iterator[Hub]:
    hub = Hub(
        seat_limits(max_clients), lambda: datetime(2026, 1, 31, tzinfo=UTC), pace=Pace(**pace)
    )
    if stream is not None:
        hub.add_stream(stream)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


@contextlib.contextmanager
def checked_frames(topics: Mapping[str, Topic] = TOPICS) -> Iterator[None]:
    """See that every frame is as described; what the topics tell is free, all around it is not."""
    found: list[str] = []
    judge = FrameCheck({name: replace(topic, data=object) for name, topic in topics.items()})

    def check(text: str) -> None:
        try:
            judge(text)
        except ValueError as exc:
            found.append(f"{text}: {exc}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Burst, "check", staticmethod(check))
        yield
    assert found == []
