"""Carries what changed to everybody who listens. One thread, ``live-hub``, owns every socket and
every write; each frame is made once for all who get the same.

For publishers (any thread, never waits, before the start too)::

    hub.publish("process_status", key, data)   # the new value of key; data stays as it is
    hub.withdraw("process_status", key)        # key exists no more

A topic whose messages are to be made only while somebody listens, each for its own filter, is
plugged in with :meth:`Hub.add_stream`; :mod:`control_plane.live.streams` says how.

How it goes together, from the outside in::

    Hub          thread, epoll, clocks             Desk    one function for each word of daq.v1
    Connection   one socket, its queue             Board   who listens to what, what is due
    Group        equal subscriptions, one frame    Feed    what came after number n

Whoever does not keep up is not waited for. Nothing is queued for it beyond a limit; when it has
taken that, it gets what changed meanwhile (of states the newest, of a stream with a count of what
was lost). A listener to events that are not kept any more, or one that takes nothing at all for
``Pace.stuck_s``, is sent away with 4413.
"""

import json
import logging
import math
import os
import random
import secrets
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from control_plane.errors import TooManyClients
from control_plane.live.board import Board, Clocks
from control_plane.live.connection import Connection, Visitor
from control_plane.live.desk import Desk
from control_plane.live.frames import PING, json_frame
from control_plane.live.keeper import Keeper
from control_plane.live.limits import (
    CLOSE_GOING_AWAY,
    CLOSE_HELLO_TIMEOUT,
    CLOSE_INTERNAL_ERROR,
    CLOSE_POLICY,
    CLOSE_SLOW,
    Pace,
)
from control_plane.live.streams import Stream

log = logging.getLogger(__name__)

_EVENTS_AT_ONCE: Final = 64
"""Sockets looked at before what is due is sent again."""
_JOINS_AT_ONCE: Final = 16
_SPREAD_MS: Final = 20
"""After a restart so many ms for each client are asked for before it comes back."""
_MAX_SPREAD_MS: Final = 5000

Call = tuple[Callable[..., None], tuple[Any, ...]]


class Hub:
    """Publishing works in any thread, and :meth:`close` even in a signal handler."""

    def __init__(
        self,
        max_clients: int,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        self.epoch = secrets.token_hex(4)
        """Another one means: the server forgot what it sent, take a new snapshot."""
        self.pace = pace or Pace()
        self.cut_off = 0
        """Listeners that did not keep up, since the start."""
        self.greeting: Callable[[Visitor], dict[str, object]] = lambda _: {}
        """What hello says beside what the hub knows itself; set before the start."""
        self.times: Callable[[], Mapping[str, object]] = lambda: {"time": _iso(now())}
        """What heartbeats and pongs say; set before the start."""
        self._max_clients = max_clients
        self._monotonic = monotonic
        self._board = Board(
            self.epoch,
            self._post,
            Clocks(now_ms=lambda: _ms(now()), monotonic=monotonic, gather_s=self.pace.gather_s),
        )
        self._desk = Desk(self._board, lambda: self.times())  # noqa: PLW0108 - set later
        self._lock = threading.Lock()
        self._seats: set[Visitor] = set()
        self._inbox: deque[Call] = deque()
        self._arrivals: deque[Connection] = deque()
        self._connections: dict[int, Connection] = {}
        self._trouble: deque[Connection] = deque()
        self._awake = False
        self._closing = False
        self._ended = False
        self._wake_fd: int | None = None
        self._poll = select.epoll()
        self._keeper = Keeper(
            lambda: list(self._connections.values()),
            lambda connection, code: self._post(self._dismiss, connection, code),
            self.pace.session_s,
        )
        self._thread = threading.Thread(target=self._run, name="live-hub")
        self._next_tick = 0.0
        self._next_heartbeat = 0.0
        self._due_mono: float | None = None

    @property
    def client_count(self) -> int:
        return len(self._seats)

    def add_stream(self, stream: Stream) -> None:
        """Offer one more topic; before the start."""
        self._board.add_stream(stream)

    @property
    def topics(self) -> list[str]:
        return list(self._board.topics)

    def publish(self, topic: str, key: str, data: object) -> None:
        """Send the new value of ``key`` to the topic's listeners."""
        self._post(self._publish, topic, key, data)

    def withdraw(self, topic: str, key: str) -> None:
        """Tell the listeners that ``key`` exists no more."""
        self._post(self._withdraw, topic, key)

    def start(self) -> None:
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake_fd, select.EPOLLIN)
        self._thread.start()
        self._keeper.start()
        self._wake()

    def close(self) -> None:
        """Refuse new clients and send every one away; does not wait."""
        self._closing = True
        self._wake()

    def stop(self) -> None:
        """Send everybody away and end the thread."""
        self.close()
        if self._wake_fd is not None:
            self._keeper.stop()
            self._thread.join()
            wake_fd, self._wake_fd = self._wake_fd, None
            os.close(wake_fd)
        self._poll.close()

    def take_seat(self, visitor: Visitor) -> None:
        """Keep a place for ``visitor``, until :meth:`leave_seat`.

        Raises:
            TooManyClients: all are taken, or the hub is shutting down.
        """
        with self._lock:
            if self._closing or len(self._seats) >= self._max_clients:
                raise TooManyClients(limit=self._max_clients)
            self._seats.add(visitor)

    def leave_seat(self, visitor: Visitor) -> None:
        with self._lock:
            self._seats.discard(visitor)

    def serve(self, sock: socket.socket, visitor: Visitor) -> None:
        """Talk ``daq.v1`` on ``sock``, whose handshake is done; return when that has ended."""
        connection = Connection(sock, visitor, self._monotonic(), self._trouble)
        self._arrivals.append(connection)
        self._wake()
        if self._ended:
            connection.ended.set()
        connection.ended.wait()

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        """Have ``call`` done by the hub's thread."""
        self._inbox.append((call, args))
        self._wake()

    def _wake(self) -> None:
        # The flag is taken down before the inbox is worked off, so nothing is overlooked.
        if not self._awake and self._wake_fd is not None:
            self._awake = True
            os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        closing_by = math.inf
        wait_s = 0.0
        while True:
            try:
                self._turn(wait_s)
                wait_s = self._until_next()
            except Exception:
                # Whatever it was, everybody else's messages must go on.
                log.exception("live hub failed in a turn")
                wait_s = 0.05
            mono = self._monotonic()
            if self._closing and closing_by == math.inf:
                closing_by = mono + self.pace.close_s
                self._send_all_away(mono)
            if self._closing and (not self._connections or mono >= closing_by):
                break
        self._ended = True
        for connection in [*self._connections.values(), *self._arrivals]:
            self._let_go(connection, hard=False)
        self._board.end_all()

    def _turn(self, wait_s: float) -> None:
        events = self._poll.poll(wait_s, _EVENTS_AT_ONCE)
        mono = self._monotonic()
        for fd, mask in events:
            if fd == self._wake_fd:
                os.eventfd_read(fd)
            elif (connection := self._connections.get(fd)) is not None:
                self._attend(connection, mask, mono)
        self._awake = False
        for _ in range(len(self._inbox)):
            call, args = self._inbox.popleft()
            call(*args)
        self._due_mono = self._board.flush_due(mono)
        for _ in range(min(_JOINS_AT_ONCE, len(self._arrivals))):
            self._welcome(self._arrivals.popleft(), mono)
        if mono >= self._next_tick:
            self._next_tick = mono + self.pace.tick_s
            self._tick(mono)
        while self._trouble:
            self._settle(self._trouble.popleft())

    def _until_next(self) -> float:
        if self._arrivals or self._inbox:
            return 0.0
        until = self._next_tick if self._due_mono is None else min(self._next_tick, self._due_mono)
        return max(0.0, until - self._monotonic())

    def _publish(self, topic: str, key: str, data: object) -> None:
        self._board.publish(topic, key, data, self._monotonic())

    def _withdraw(self, topic: str, key: str) -> None:
        self._board.withdraw(topic, key, self._monotonic())

    def _dismiss(self, connection: Connection, code: int) -> None:
        connection.close(code, self._monotonic())
        self._settle(connection)

    def _welcome(self, connection: Connection, mono: float) -> None:
        self._connections[connection.fd] = connection
        self._poll.register(connection.fd, select.EPOLLIN)
        connection.next_ping_mono = mono + self.pace.ping_s * random.uniform(0.5, 1.0)
        visitor = connection.visitor
        connection.write_json(
            {
                "type": "connection_status",
                "event": "hello",
                "proto": 1,
                "epoch": self.epoch,
                "user": visitor.user,
                "role": visitor.role,
                "topics": [t for t in self.topics if visitor.topics is None or t in visitor.topics],
                "heartbeat_s": self.pace.heartbeat_s,
                **self.greeting(visitor),
                **self.times(),
            }
        )

    def _attend(self, connection: Connection, mask: int, mono: float) -> None:
        """Read what came, write what waits."""
        try:
            if mask & select.EPOLLOUT and connection.flush(mono):
                self._catch_up(connection, mono)
            if mask & ~select.EPOLLOUT:
                for text in connection.read(mono):
                    if connection.is_open:
                        self._desk.answer(connection, text, mono)
        except Exception:
            # One peer's trouble must not become everybody's.
            log.exception("live connection failed", extra={"user": connection.visitor.user})
            connection.close(CLOSE_INTERNAL_ERROR, mono)
        self._settle(connection)

    def _catch_up(self, connection: Connection, mono: float) -> None:
        for each in list(connection.subscriptions.values()):
            if not each.is_lagging or connection.queued_bytes:
                continue
            if not each.group.catch_up(each, mono):
                self._cut_off(connection, mono)
                return

    def _cut_off(self, connection: Connection, mono: float) -> None:
        self.cut_off += 1
        connection.close(CLOSE_SLOW, mono, "does not take what is sent")

    def _settle(self, connection: Connection) -> None:
        """Let go of a connection that has ended; else wait for what it waits for."""
        if connection.is_gone:
            self._let_go(connection, hard=connection.close_code == CLOSE_SLOW)
        elif connection.waits_to_write != bool(connection.queued_bytes):
            connection.waits_to_write = bool(connection.queued_bytes)
            connection.progress_mono = self._monotonic()
            mask = select.EPOLLIN | (select.EPOLLOUT if connection.waits_to_write else 0)
            self._poll.modify(connection.fd, mask)

    def _let_go(self, connection: Connection, *, hard: bool) -> None:
        if connection.ended.is_set():
            return
        mono = self._monotonic()
        for each in list(connection.subscriptions.values()):
            self._board.leave(each, mono)
        if self._connections.pop(connection.fd, None) is not None:
            self._poll.unregister(connection.fd)
        connection.hang_up(hard=hard)
        connection.ended.set()

    def _tick(self, mono: float) -> None:
        """What depends on time alone."""
        beat = mono >= self._next_heartbeat
        if beat:
            self._next_heartbeat = mono + self.pace.heartbeat_s
            times = self.times()
            frame = json_frame({"type": "connection_status", "event": "heartbeat", **times})
        for connection in list(self._connections.values()):
            if beat and connection.is_open and not connection.is_lagging:
                connection.write(frame)
            self._judge(connection, mono)
            self._settle(connection)
        self._board.end_lingering(mono)

    def _judge(self, connection: Connection, mono: float) -> None:
        """Send away who is silent, stuck or gone."""
        pace = self.pace
        if connection.close_code is not None:
            if mono - connection.close_mono >= pace.close_s:
                connection.is_gone = True
        elif connection.queued_bytes and mono - connection.progress_mono >= pace.stuck_s:
            self._cut_off(connection, mono)
        elif not connection.greeted and mono - connection.opened_mono >= pace.hello_s:
            connection.close(CLOSE_HELLO_TIMEOUT, mono, "say hello or subscribe")
        elif mono >= connection.next_ping_mono:
            connection.next_ping_mono = mono + pace.ping_s
            if connection.pings_unanswered >= 2:
                connection.close(CLOSE_POLICY, mono, "Ping/Pong timeout")
                return
            connection.pings_unanswered += 1
            connection.write(PING)

    def _send_all_away(self, mono: float) -> None:
        spread_ms = min(_MAX_SPREAD_MS, _SPREAD_MS * len(self._connections))
        while self._arrivals:
            self._welcome(self._arrivals.popleft(), mono)
        for connection in list(self._connections.values()):
            # They are asked to come back one after the other.
            reason = json.dumps({"retry_ms": random.randint(0, spread_ms)})
            connection.close(CLOSE_GOING_AWAY, mono, reason)
            self._settle(connection)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
