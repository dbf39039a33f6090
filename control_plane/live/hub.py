"""Carries what changed to everybody who listens. One thread, ``live-hub``, owns every socket and
every write; each frame is made once for all who get the same.

For publishers (any thread, never waits, before the start too)::

    hub.publish("process_status", key, data)   # the new value of key; data stays as it is
    hub.withdraw("process_status", key)        # key exists no more

A topic whose messages are to be made only while somebody listens, each for its own filter, is
plugged in with :meth:`Hub.add_stream`; :mod:`control_plane.live.streams` says how.

How it goes together, from the outside in::

    Hub          what others call                  Seats   who may connect
    Loop         the thread: epoll and clocks      Keeper  who still may, who misbehaved
    Connection   one socket, its queue             Desk    one function for each word of daq.v1
    Group        equal subscriptions, one frame    Board   who listens to what, what is due
    Feed         what came after number n

Whoever does not keep up is not waited for. Nothing is queued for it beyond a limit; when it has
taken that, it gets what changed meanwhile (of states the newest, of a stream with a count of what
was lost). A listener to events that are not kept any more, or one that takes nothing at all for
``Pace.stuck_s``, is sent away with 4413.
"""

import secrets
import socket
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from control_plane.live.board import Board, Clocks, OnListen
from control_plane.live.connection import Visitor
from control_plane.live.keeper import Keeper, OnOffence
from control_plane.live.limits import Pace
from control_plane.live.loop import Loop, Words
from control_plane.live.seats import SeatLimits, Seats
from control_plane.live.streams import Stream
from control_plane.live.topics import Topic


class Hub:
    """Publishing works in any thread, and :meth:`close` even in a signal handler."""

    def __init__(
        self,
        limits: SeatLimits,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        self.epoch = secrets.token_hex(4)
        """Another one means: the server forgot what it sent, take a new snapshot."""
        self.words = Words(times=lambda: {"time": _iso(now())})
        """What the owner says in hello and heartbeats; set before the first client."""
        pace = pace or Pace()
        self._seats = Seats(limits, monotonic)
        clocks = Clocks(now_ms=lambda: _ms(now()), monotonic=monotonic, gather_s=pace.gather_s)
        self._board = Board(self.epoch, lambda *call: self._loop.post(*call), clocks)  # noqa: PLW0108 - built below
        self._loop = Loop(self._board, self.words, pace, monotonic)
        self._keeper = Keeper(self._loop, self._seats, pace.session_s)
        self._loop.on_offence = self._keeper.note_offence

    @property
    def client_count(self) -> int:
        return len(self._seats)

    @property
    def cut_off(self) -> int:
        """Listeners that did not keep up, since the start."""
        return self._loop.cut_off

    @property
    def bans(self) -> int:
        """Clients that were kept out for a while, since the start."""
        return self._seats.bans

    def banned(self) -> list[str]:
        """Return the addresses from which somebody is kept out now."""
        return self._seats.banned()

    @property
    def topics(self) -> Mapping[str, Topic]:
        return self._board.topics

    def add_stream(self, stream: Stream) -> None:
        """Offer one more topic; before the start."""
        self._board.add_stream(stream)

    def tell_of_offences(self, listener: OnOffence) -> None:
        """Have ``listener`` called, in a thread that may wait, with each client that was sent away
        for what no honest client does; before the first client."""
        self._keeper.on_offence = listener

    def tell_of_listeners(self, listener: OnListen) -> None:
        """Have ``listener`` called with each new listener to a stream, in the thread that writes to
        everybody: it must not wait; before the first client."""
        self._board.on_listen = listener

    def publish(self, topic: str, key: str, data: object) -> None:
        """Send the new value of ``key`` to the topic's listeners."""
        self._loop.post(self._board.publish, topic, key, data)

    def withdraw(self, topic: str, key: str) -> None:
        """Tell the listeners that ``key`` exists no more."""
        self._loop.post(self._board.withdraw, topic, key)

    def start(self) -> None:
        self._loop.start()
        self._keeper.start()

    def close(self) -> None:
        """Refuse new clients and send every one away; does not wait."""
        self._seats.close()
        self._loop.close()

    def stop(self) -> None:
        """Send everybody away and end the threads."""
        self.close()
        self._loop.stop()
        self._keeper.stop()

    def take_seat(self, visitor: Visitor) -> None:
        """Keep a place for ``visitor``, until :meth:`leave_seat`.

        Raises:
            TooManyClients, TooManyConnections, ClientBanned.
        """
        self._seats.take(visitor)

    def leave_seat(self, visitor: Visitor) -> None:
        self._seats.leave(visitor)

    def serve(self, sock: socket.socket, visitor: Visitor) -> None:
        """Talk ``daq.v1`` on ``sock``, whose handshake is done; return when that has ended."""
        self._loop.serve(sock, visitor)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
