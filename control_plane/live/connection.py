"""The server's end of one WebSocket, as the hub's thread sees it: it never waits.

Reading is wsproto's (masks, fragments, UTF-8, control frames); what is written are ready frames.
All of it, answers to pings and closes included, goes through :meth:`Connection.write`, so no frame
can ever start amid another.
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wsproto import ConnectionType
from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import ProtocolError

from control_plane.live import frames
from control_plane.live.frames import Burst, Mode
from control_plane.live.limits import (
    CLOSE_BAD_FRAME,
    CLOSE_NORMAL,
    CLOSE_PROTOCOL_ERROR,
    CLOSE_RATE,
    CLOSE_TOO_BIG,
    MAX_FRAME_BYTES,
    OFFENCES,
    SEND_BUFFER_BYTES,
    Allowance,
)

if TYPE_CHECKING:
    from control_plane.live.groups import Subscription

_READ_BYTES: Final = 16 * 1024
_MAX_DISCARDED_BYTES: Final = 1 << 20
"""Read from a peer that was sent away and does not hear."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing drops what was not sent, so that the kernel does not keep it for minutes."""
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NO_STATUS: Final = 1005
_TLS_RECORD_BYTES: Final = 16 * 1024
"""RFC 8446, 5.1. More at once, and nobody would know that a slow peer takes any of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visitor:
    """Who listens.

    Attributes:
        topics: What this person may hear; ``None`` for everything.
        credential: Equal for those who came with the same session or token; never shown.
        verdict: Asked now and then, from another thread, whether the session or token still
            holds: a close code if not. It may raise what it likes: then that is not known.
    """

    user: str
    role: str = ""
    address: str = ""
    topics: frozenset[str] | None = None
    credential: str = ""
    verdict: Callable[[], int | None] = lambda: None


class Connection:
    """One peer. Only the hub's thread calls this, but for ``ended``."""

    def __init__(
        self,
        sock: socket.socket,
        visitor: Visitor,
        mono: float,
        trouble: "deque[Connection]",
    ) -> None:
        """``trouble`` is where it lists itself when a write could not be done at once."""
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # A socket pair of a test has no such options.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.fd = sock.fileno()
        self.visitor = visitor
        self.mode = Mode.PLAIN
        self.greeted = False
        self.subscriptions: dict[str, Subscription] = {}
        self.resume: dict[str, int] = {}
        """Numbers that the client had, by topic, told in its hello."""
        self.allowance = Allowance(mono)
        self.opened_mono = mono
        self.next_ping_mono = 0.0
        self.pings_unanswered = 0
        self.queued_bytes = 0
        self.progress_mono = mono
        """When it last took something of what was queued."""
        self.close_code: int | None = None
        self.close_mono = 0.0
        self.close_reason = ""
        self.is_offender = False
        """Closed for what no honest client does."""
        self.is_gone = False
        """Nothing more can be sent or read."""
        self.ended = threading.Event()
        """Set when the hub has let go of the socket."""
        self.waits_to_write = False
        """Whether the hub is told when the peer takes more."""
        self._trouble = trouble
        self._send = _send_record(sock) if isinstance(sock, ssl.SSLSocket) else sock.send
        self._queue: deque[bytes | memoryview] = deque()
        self._protocol = Protocol(ConnectionType.SERVER)
        self._parts: list[str] = []
        self._part_bytes = 0
        self._discarded = 0

    @property
    def is_open(self) -> bool:
        return self.close_code is None and not self.is_gone

    @property
    def is_lagging(self) -> bool:
        return any(each.is_lagging for each in self.subscriptions.values())

    def write(self, frame: bytes) -> None:
        """Send ``frame`` now, or as soon as the peer takes it."""
        if self._queue:
            self._queue.append(frame)
            self.queued_bytes += len(frame)
            return
        try:
            sent = self._send(frame)
        except _NOT_NOW:
            sent = 0
        except OSError:
            self.is_gone = True
            self._trouble.append(self)
            return
        if sent < len(frame):
            self._queue.append(memoryview(frame)[sent:])
            self.queued_bytes = len(frame) - sent
            self._trouble.append(self)

    def write_json(self, value: dict[str, object]) -> None:
        self.write(frames.json_frame(value))

    def write_burst(self, burst: Burst) -> None:
        self.write(burst.of(self.mode))

    def flush(self, mono: float) -> bool:
        """Send of the queue what the peer takes; return whether the queue is empty."""
        while self._queue:
            head = self._queue[0]
            try:
                sent = self._send(head)
            except _NOT_NOW:
                return False
            except OSError:
                self.is_gone = True
                return False
            self.progress_mono = mono
            self.queued_bytes -= sent
            if sent < len(head):
                self._queue[0] = memoryview(head)[sent:]
                return False
            self._queue.popleft()
        return True

    def close(self, code: int, mono: float, reason: str = "") -> None:
        """Say goodbye; the first code stands. The peer's answer ends the connection."""
        if self.close_code is not None:
            return
        self.close_code, self.close_mono, self.close_reason = code, mono, reason
        self.is_offender = code in OFFENCES
        for each in self.subscriptions.values():
            each.is_lagging = True  # Nothing may follow a close frame (RFC 6455, 5.5.1).
        if not self.is_gone:
            self.write(frames.close_frame(code, reason))

    def read(self, mono: float) -> list[str]:
        """Return the messages that have come; what breaks the protocol closes the connection."""
        try:
            data = self.sock.recv(_READ_BYTES)
            while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
                # What TLS has already taken from the socket would not wake the hub again.
                data += self.sock.recv(self.sock.pending())
        except _NOT_NOW:
            return []
        except OSError:
            data = b""
        if not data:
            self.is_gone = True
            return []
        if self.close_code is not None:
            return self._read_answer(data)
        if not self.allowance.bytes.take(len(data), mono):
            self.close(CLOSE_RATE, mono, "too many bytes")
            return []
        return self._messages(data, mono)

    def hang_up(self, *, hard: bool) -> None:
        """Let go of the socket; its owner closes it."""
        self.is_gone = True
        self._queue.clear()
        self.queued_bytes = 0
        with contextlib.suppress(OSError):
            if hard:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.sock.shutdown(socket.SHUT_RDWR)

    def _read_answer(self, data: bytes) -> list[str]:
        """Wait for the peer's close, not for ever."""
        self._discarded += len(data)
        with contextlib.suppress(ProtocolError):
            self._protocol.receive_data(data)
            if any(isinstance(event, CloseConnection) for event in self._protocol.events()):
                self.is_gone = self.queued_bytes == 0
                return []
        if self._discarded > _MAX_DISCARDED_BYTES:
            self.is_gone = True
        return []

    def _messages(self, data: bytes, mono: float) -> list[str]:
        found: list[str] = []
        try:
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                self._take(event, found, mono)
                if self.close_code is not None:
                    break
        except ProtocolError:
            self.close(CLOSE_PROTOCOL_ERROR, mono, "not the WebSocket protocol")
        return found

    def _take(self, event: Event, found: list[str], mono: float) -> None:
        match event:
            case TextMessage():
                self._take_text(event, found, mono)
            case BytesMessage():
                self.close(CLOSE_BAD_FRAME, mono, "a frame is text")
            case Ping():
                if self.allowance.messages.take(0.25, mono):
                    self.write(frames.pong_frame(bytes(event.payload)))
                else:
                    self.close(CLOSE_RATE, mono, "too many pings")
            case Pong():
                self.pings_unanswered = 0
            case CloseConnection():
                self._answer_close(event, mono)

    def _take_text(self, event: TextMessage, found: list[str], mono: float) -> None:
        self._part_bytes += len(event.data.encode()) + 1  # Empty fragments count, too.
        if self._part_bytes > MAX_FRAME_BYTES:
            self.close(CLOSE_TOO_BIG, mono, f"more than {MAX_FRAME_BYTES} bytes")
            return
        self._parts.append(event.data)
        if event.message_finished:
            found.append("".join(self._parts))
            self._parts.clear()
            self._part_bytes = 0

    def _answer_close(self, event: CloseConnection, mono: float) -> None:
        """The peer leaves, or wsproto cannot read what it sends: then the code says why."""
        code = CLOSE_NORMAL if event.code == _NO_STATUS else int(event.code)
        self.close(code, mono, event.reason or "")
        if self._protocol.state is ConnectionState.REMOTE_CLOSING:
            self.is_offender = False  # It was the peer who chose the code.
            self.is_gone = self.queued_bytes == 0


def _send_record(sock: ssl.SSLSocket) -> Callable[[bytes | memoryview], int]:
    def send(data: bytes | memoryview) -> int:
        return sock.send(memoryview(data)[:_TLS_RECORD_BYTES])

    return send
