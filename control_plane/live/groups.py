"""Equal subscriptions share one group, so that their frames are made once.

A group knows up to which number its listeners have been told. A listener that takes its bytes too
slowly is left behind: nothing is queued for it, and once it has taken what waits, it gets what
changed since, of states only the newest. So a slow client costs a bounded queue and no one else.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from control_plane.live.connection import Connection
from control_plane.live.feeds import Change, EventFeed, Feed, StateFeed, StreamFeed
from control_plane.live.frames import Burst, delta_texts, snapshot_text
from control_plane.live.limits import MAX_LAG_BYTES
from control_plane.live.streams import Producer, Sink
from control_plane.live.topics import Topic, TopicKind

DEFAULT_RATE_MS: Final = 100
MIN_RATE_MS: Final = 50
MAX_RATE_MS: Final = 5000


class Subscription:
    """One connection's share in a group."""

    __slots__ = ("connection", "group", "is_lagging", "is_told", "sent", "seq")

    def __init__(self, connection: Connection, group: "Group") -> None:
        self.connection = connection
        self.group = group
        self.is_told = False
        """Whether it has been brought to where the group is."""
        self.is_lagging = False
        self.seq = 0
        """While lagging: up to where it has been told."""
        self.sent = 0
        """While lagging: the last number in a frame to it."""


class Group:
    """All who listen to the same."""

    def __init__(self, sub: str, topic: Topic, feed: Feed, matches: "Filter") -> None:
        self.sub = sub
        """Its name in frames; the same for all who share it."""
        self.topic = topic
        self.feed = feed
        self.matches = matches
        self.rate_s = 0.0
        self.identity: Hashable = None
        self.members: dict[Connection, Subscription] = {}
        self.seq = feed.seq
        self.sent = feed.seq
        self.due_mono: float | None = None
        """When what has changed is sent; ``None`` while nothing has."""
        self.flushed_mono = 0.0
        self.unsent_bytes = 0
        """Of a stream: text that is not flushed yet."""
        self.producer: Producer | None = None
        self.sink: Sink | None = None
        self.left_mono = 0.0
        """When the last listener left, of a stream that lingers."""
        self._snapshot: tuple[int, Burst] | None = None

    def flush(self, mono: float) -> None:
        """Tell everybody what has changed since the last time."""
        self.due_mono, self.flushed_mono, self.unsent_bytes = None, mono, 0
        if self.seq == self.feed.seq:
            return
        self._snapshot = None  # Of many processes it is large.
        changes = self.feed.since(self.seq, self.matches)
        if changes is None:
            # More keys were removed, or more was sent, at once than is remembered.
            self._start_over()
        elif changes:
            burst = Burst(delta_texts(self.topic, self.sub, self.sent, changes))
            self._send(burst)
            self.sent = changes[-1].seq
        self.seq = self.feed.seq

    def _send(self, burst: Burst) -> None:
        for each in self.members.values():
            if each.is_lagging:
                continue
            connection = each.connection
            if connection.queued_bytes > MAX_LAG_BYTES:
                each.is_lagging, each.seq, each.sent = True, self.seq, self.sent
            else:
                connection.write(burst.of(connection.mode))

    def _start_over(self) -> None:
        self.sent = self.feed.seq
        burst = self.snapshot()
        for each in self.members.values():
            if each.connection.is_open:
                each.is_lagging = False
                each.connection.write_burst(burst)

    def snapshot(self) -> Burst:
        """Return everything as it is now, for who has been told nothing."""
        seq = self.feed.seq
        if self._snapshot is None or self._snapshot[0] != seq:
            present = [change for change in self.feed.present() if self.matches(change)]
            ts_ms = max((change.ts_ms for change in present), default=0)
            text = snapshot_text(self.topic, self.sub, seq, ts_ms, present)
            self._snapshot = (seq, Burst([text]))
        return self._snapshot[1]

    def tell(self, connection: Connection, changes: list[Change], sent: int) -> None:
        """Send one listener ``changes``; ``sent`` is the last number that it has."""
        if changes:
            connection.write_burst(Burst(delta_texts(self.topic, self.sub, sent, changes)))

    def catch_up(self, subscription: Subscription, mono: float) -> bool:
        """Tell one that lagged behind what it missed; return False if that cannot be."""
        self.flush(mono)
        subscription.is_lagging = False
        changes = self.feed.since(subscription.seq, self.matches)
        if changes is not None:
            self.tell(subscription.connection, changes, subscription.sent)
            return True
        match self.feed:
            case StateFeed():
                subscription.connection.write_burst(self.snapshot())
            case StreamFeed():
                self._tell_what_was_lost(subscription)
            case EventFeed():
                return False
        return True

    def _tell_what_was_lost(self, subscription: Subscription) -> None:
        assert isinstance(self.feed, StreamFeed)
        kept = list(self.feed.present())
        first = kept[0]
        copy = Change(first.seq, first.key, first.data, first.ts_ms)
        copy.skipped = first.skipped + self.feed.lost_since(subscription.seq)
        texts = delta_texts(self.topic, self.sub, subscription.sent, [copy, *kept[1:]])
        subscription.connection.write_burst(Burst(texts))


class Filter:
    """Whether a change is for who asked for ``patterns``."""

    def __init__(self, topic: Topic, patterns: Mapping[str, tuple[str, ...]]) -> None:
        self._wanted = [(topic.filters[word].split("."), each) for word, each in patterns.items()]

    def __call__(self, change: Change) -> bool:
        return all(
            any(fnmatchcase(_at(change.judged, path), pattern) for pattern in patterns)
            for path, patterns in self._wanted
        )


def _at(data: Any, path: Iterable[str]) -> str:
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return "" if data is None else str(data)


def feed_of(topic: Topic) -> Feed:
    """Return an empty feed of the topic's kind."""
    kinds: dict[TopicKind, Callable[[], Feed]] = {
        TopicKind.STATE: StateFeed,
        TopicKind.EVENT: EventFeed,
        TopicKind.STREAM: StreamFeed,
    }
    return kinds[topic.kind]()
