"""How a topic is plugged in whose messages are made only while somebody listens.

The owner of such a topic gives a :class:`Stream` to :meth:`Hub.add_stream` before the hub starts.
From then on, for each *distinct* filter that somebody subscribes to:

1. ``normal_form(filter, tail)`` is asked for what the client wrote. Equal results share one
   producer and one sequence of frames, so it sorts what has no order.
2. ``open(wanted, sink)`` starts a producer. It runs in the thread that writes to everybody:
   it must not read, wait or take a lock that others hold for long; it starts work elsewhere.
3. The producer calls ``sink.send(data, weight)`` from any thread. ``weight`` is what is counted
   when it gets lost, such as the number of lines. The first messages are the tail, if wanted:
   the hub keeps the newest ones (``RETAINED_BYTES``) and gives them to who joins later or
   comes back.
4. ``close()`` is called once, ``LINGER_S`` after the last listener has left, so that somebody who
   only reconnects loses nothing; again in the writer's thread. What the producer sends after
   that goes nowhere.

What a listener could not take, or the hub could not keep up with, is counted by weight and told
as ``skipped`` in the next frame. A producer's own caps are its own affair, as is telling of them
inside ``data``.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Final, Protocol

from control_plane.live.topics import Topic

LINGER_S: Final = 10.0
"""So long a producer outlives its last listener."""
RETAINED_BYTES: Final = 256 * 1024
"""JSON text of the newest messages that is kept for each producer."""
MAX_WAITING: Final = 256
"""Messages of one producer that may wait for the hub; more are dropped and counted."""
MAX_PRODUCERS: Final = 128
"""Distinct filters of all streams together that may run at once."""


class Producer(Protocol):
    """What makes the messages of one distinct filter."""

    def close(self) -> None:
        """Make no more messages. Must not wait."""


class Stream(Protocol):
    """The owner of a topic of kind ``STREAM``."""

    @property
    def topic(self) -> Topic: ...

    def normal_form(self, wanted: Mapping[str, object], tail: int) -> Hashable:
        """Return what ``wanted`` means; equal for subscriptions that get the same.

        Raises:
            BadRequest: tells what is wrong, and where.
        """

    def open(self, wanted: Hashable, sink: "Sink") -> Producer:
        """Start to make the messages of ``wanted``, a result of :meth:`normal_form`.

        Raises:
            ControlPlaneError: it cannot be; the subscriber is told.
        """


class Sink:
    """Where a producer's messages go; usable from any thread."""

    def __init__(self, take: Callable[[object, int, int], None]) -> None:
        self._take = take
        self._skipped = 0
        self._sent = 0
        self.taken = 0
        """Messages that the hub has worked off; counted by the hub's thread."""
        self.is_closed = False

    def send(self, data: object, weight: int = 1) -> None:
        """Send ``data`` (JSON values, not changed afterwards) to everybody who listens.

        One thread at a time calls this for one sink.
        """
        if self.is_closed:
            return
        if self._sent - self.taken >= MAX_WAITING:
            self._skipped += weight
            return
        skipped, self._skipped = self._skipped, 0
        self._sent += 1
        self._take(data, weight, skipped)
