"""The hub's thread: waits for sockets and clocks, and does everything that has come up."""

import json
import logging
import math
import os
import random
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from control_plane.live.board import Board
from control_plane.live.connection import Connection, Visitor
from control_plane.live.desk import Desk
from control_plane.live.frames import PING, json_frame
from control_plane.live.limits import (
    CLOSE_GOING_AWAY,
    CLOSE_HELLO_TIMEOUT,
    CLOSE_INTERNAL_ERROR,
    CLOSE_POLICY,
    CLOSE_SLOW,
    Pace,
)

log = logging.getLogger(__name__)

_EVENTS_AT_ONCE: Final = 64
"""Sockets looked at before what is due is sent again."""
_JOINS_AT_ONCE: Final = 16
_SPREAD_MS: Final = 20
"""After a restart so many ms for each client are asked for before it comes back."""
_MAX_SPREAD_MS: Final = 5000
_MISSED_PINGS: Final = 2

Call = tuple[Callable[..., None], tuple[Any, ...]]


@dataclass(slots=True, kw_only=True)
class Words:
    """What the owner of the hub has to say."""

    times: Callable[[], Mapping[str, object]]
    """With heartbeats and pongs: what time it is, and when the plant was last seen."""
    greeting: Callable[[Visitor], Mapping[str, object]] = lambda _: {}
    """With hello, beside what the hub knows itself."""


class Loop:
    """Owns every connection. Others only :meth:`post`, :meth:`serve` and :meth:`close`."""

    def __init__(
        self, board: Board, words: Words, pace: Pace, monotonic: Callable[[], float]
    ) -> None:
        self.cut_off = 0
        self.on_offence: Callable[[Connection], None] = lambda _: None
        """Told of each connection that was closed for what no honest client does."""
        self._board = board
        self._words = words
        self._pace = pace
        self._monotonic = monotonic
        self._desk = Desk(board, lambda: words.times())  # noqa: PLW0108 - may be set later
        self._connections: dict[int, Connection] = {}
        self._inbox: deque[Call] = deque()
        self._arrivals: deque[Connection] = deque()
        self._trouble: deque[Connection] = deque()
        self._awake = False
        self._closing = False
        self._ended = False
        self._wake_fd: int | None = None
        self._poll: select.epoll | None = None
        self._thread = threading.Thread(target=self._run, name="live-hub")
        self._next_tick = 0.0
        self._next_heartbeat = 0.0
        self._due_mono: float | None = None

    def start(self) -> None:
        self._poll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake_fd, select.EPOLLIN)
        self._thread.start()

    def close(self) -> None:
        """Send everybody away; does not wait, and may be called in a signal handler."""
        self._closing = True
        self._awake = False
        self._wake()

    def stop(self) -> None:
        """Wait for the end of :meth:`close`."""
        if self._poll is None or self._wake_fd is None:
            return
        self._thread.join()
        wake_fd, self._wake_fd = self._wake_fd, None
        os.close(wake_fd)
        self._poll.close()

    def post(self, call: Callable[..., None], *args: Any) -> None:
        """Have ``call`` done in the hub's thread; from any thread."""
        self._inbox.append((call, args))
        self._wake()

    def connections(self) -> list[Connection]:
        """Return who is there; from any thread."""
        return list(self._connections.values())

    def dismiss(self, connection: Connection, code: int) -> None:
        """Close a connection; in the hub's thread."""
        connection.close(code, self._monotonic())
        self._settle(connection)

    def serve(self, sock: socket.socket, visitor: Visitor) -> None:
        """Serve one peer and return when that has ended; in a thread of its own."""
        connection = Connection(sock, visitor, self._monotonic(), self._trouble)
        self._arrivals.append(connection)
        self._wake()
        if self._ended:
            connection.ended.set()
        connection.ended.wait()

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
                closing_by = mono + self._pace.close_s
                self._send_all_away(mono)
            if self._closing and (not self._connections or mono >= closing_by):
                break
        self._ended = True
        for connection in [*self._connections.values(), *self._arrivals]:
            self._let_go(connection, hard=False)
        self._board.end_all()

    def _turn(self, wait_s: float) -> None:
        assert self._poll is not None
        events = self._poll.poll(wait_s, _EVENTS_AT_ONCE)
        mono = self._monotonic()
        self._awake = False
        # First: who asks after something was published is to see it.
        for _ in range(len(self._inbox)):
            call, args = self._inbox.popleft()
            call(*args)
        for fd, mask in events:
            if fd == self._wake_fd:
                os.eventfd_read(fd)
            elif (connection := self._connections.get(fd)) is not None:
                self._attend(connection, mask, mono)
        self._due_mono = self._board.flush_due(self._monotonic())
        for _ in range(min(_JOINS_AT_ONCE, len(self._arrivals))):
            self._admit(self._arrivals.popleft(), mono)
        if mono >= self._next_tick:
            self._next_tick = mono + self._pace.tick_s
            self._tick(mono)
        while self._trouble:
            self._settle(self._trouble.popleft())

    def _until_next(self) -> float:
        if self._arrivals or self._inbox:
            return 0.0
        until = self._next_tick if self._due_mono is None else min(self._next_tick, self._due_mono)
        return max(0.0, until - self._monotonic())

    def _admit(self, connection: Connection, mono: float) -> None:
        try:
            self._welcome(connection, mono)
        except Exception:
            # Its thread waits for the end, whatever happens.
            log.exception("live connection failed", extra={"user": connection.visitor.user})
            self._let_go(connection, hard=True)

    def _welcome(self, connection: Connection, mono: float) -> None:
        assert self._poll is not None
        self._poll.register(connection.fd, select.EPOLLIN)
        self._connections[connection.fd] = connection
        connection.next_ping_mono = mono + self._pace.ping_s * random.uniform(0.5, 1.0)
        visitor, topics = connection.visitor, self._board.topics
        connection.write_json(
            {
                "type": "connection_status",
                "event": "hello",
                "proto": 1,
                "epoch": self._board.epoch,
                "user": visitor.user,
                "role": visitor.role,
                "topics": [t for t in topics if visitor.topics is None or t in visitor.topics],
                "heartbeat_s": self._pace.heartbeat_s,
                **self._words.greeting(visitor),
                **self._words.times(),
            }
        )

    def _attend(self, connection: Connection, mask: int, mono: float) -> None:
        """Read what came, write what waits."""
        try:
            if mask & select.EPOLLOUT and connection.flush(mono) and connection.is_open:
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
            assert self._poll is not None
            connection.waits_to_write = bool(connection.queued_bytes)
            connection.progress_mono = self._monotonic()
            mask = select.EPOLLIN | (select.EPOLLOUT if connection.waits_to_write else 0)
            self._poll.modify(connection.fd, mask)

    def _let_go(self, connection: Connection, *, hard: bool) -> None:
        if connection.ended.is_set():
            return
        for each in list(connection.subscriptions.values()):
            self._board.leave(each, self._monotonic())
        if self._connections.pop(connection.fd, None) is not None and self._poll is not None:
            self._poll.unregister(connection.fd)
        if connection.is_offender:
            self.on_offence(connection)
        connection.hang_up(hard=hard)
        connection.ended.set()

    def _tick(self, mono: float) -> None:
        """What depends on time alone."""
        beat = mono >= self._next_heartbeat
        if beat:
            self._next_heartbeat = mono + self._pace.heartbeat_s
            times = self._words.times()
            frame = json_frame({"type": "connection_status", "event": "heartbeat", **times})
        for connection in self.connections():
            if beat and connection.is_open and not connection.is_lagging:
                connection.write(frame)
            self._judge(connection, mono)
            self._settle(connection)
        self._board.end_lingering(mono)

    def _judge(self, connection: Connection, mono: float) -> None:
        """Send away who is silent, stuck or gone."""
        pace = self._pace
        if connection.close_code is not None:
            if mono - connection.close_mono >= pace.close_s:
                connection.is_gone = True
        elif connection.queued_bytes and mono - connection.progress_mono >= pace.stuck_s:
            self._cut_off(connection, mono)
        elif not connection.greeted and mono - connection.opened_mono >= pace.hello_s:
            connection.close(CLOSE_HELLO_TIMEOUT, mono, "say hello or subscribe")
        elif mono >= connection.next_ping_mono:
            connection.next_ping_mono = mono + pace.ping_s
            if connection.pings_unanswered >= _MISSED_PINGS:
                connection.close(CLOSE_POLICY, mono, "Ping/Pong timeout")
                return
            connection.pings_unanswered += 1
            connection.write(PING)

    def _send_all_away(self, mono: float) -> None:
        spread_ms = min(_MAX_SPREAD_MS, _SPREAD_MS * len(self._connections))
        while self._arrivals:
            self._admit(self._arrivals.popleft(), mono)
        for connection in self.connections():
            # They are asked to come back one after the other.
            reason = json.dumps({"retry_ms": random.randint(0, spread_ms)})
            connection.close(CLOSE_GOING_AWAY, mono, reason)
            self._settle(connection)
