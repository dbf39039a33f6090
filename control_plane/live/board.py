"""All topics, who listens to them, and what is still to be told. Only the hub's thread is here."""

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from control_plane.errors import BadRequest, ControlPlaneError, RateLimited
from control_plane.live.connection import Connection, Visitor
from control_plane.live.feeds import MAX_EVENTS, EventFeed, Feed, StateFeed, StreamFeed
from control_plane.live.groups import Filter, Group, Subscription, feed_of
from control_plane.live.limits import MAX_GROUPS, MAX_LAG_BYTES, MAX_SUBSCRIPTIONS
from control_plane.live.requests import Subscribe, Update, patterns_of
from control_plane.live.streams import LINGER_S, MAX_PRODUCERS, RETAINED_BYTES, Sink, Stream
from control_plane.live.topics import TOPICS, Topic, TopicKind

log = logging.getLogger(__name__)

Post = Callable[..., None]
OnListen = Callable[[Visitor, Hashable], None]
"""Told who listens to a stream, and to what: its name and the normal form of the filter."""
Wanted = Subscribe | Update


class Refused(Exception):
    """A request that cannot be granted; ``code`` is one of the protocol's words."""

    def __init__(self, code: str, reason: str, retry_ms: int | None = None) -> None:
        self.code = code
        self.reason = reason
        self.retry_ms = retry_ms
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What time it is, and how long changes of state wait for others."""

    now_ms: Callable[[], int]
    monotonic: Callable[[], float]
    gather_s: float


class Board:
    """Feeds by topic, groups by what they listen to."""

    def __init__(self, epoch: str, post: Post, clocks: Clocks) -> None:
        self.epoch = epoch
        self.on_listen: OnListen = lambda _visitor, _wanted: None
        self.topics: dict[str, Topic] = dict(TOPICS)
        self._post = post
        """Has a function called in the hub's thread."""
        self._now_ms = clocks.now_ms
        self._now_mono = clocks.monotonic
        self._gather_s = clocks.gather_s
        self._feeds: dict[str, Feed] = {name: feed_of(topic) for name, topic in TOPICS.items()}
        self._streams: dict[str, Stream] = {}
        self._groups: dict[Hashable, Group] = {}
        self._by_topic: dict[str, dict[str, Group]] = {name: {} for name in TOPICS}
        self._due: dict[str, Group] = {}
        self._lingering: dict[str, Group] = {}
        self._made = 0

    def add_stream(self, stream: Stream) -> None:
        """Offer one more topic; before the hub starts."""
        topic = stream.topic
        self.topics[topic.name] = topic
        self._streams[topic.name] = stream
        self._by_topic[topic.name] = {}

    def publish(self, topic: str, key: str, data: object) -> None:
        feed = self._feeds[topic]
        assert isinstance(feed, StateFeed | EventFeed)
        feed.put(key, data, self._now_ms())
        self._mark(topic)

    def withdraw(self, topic: str, key: str) -> None:
        feed = self._feeds[topic]
        assert isinstance(feed, StateFeed | EventFeed)
        if feed.remove(key, self._now_ms()):
            self._mark(topic)

    def flush_due(self, mono: float) -> float | None:
        """Tell everybody what is due; return when there will be more to tell."""
        soonest = None
        for group in list(self._due.values()):
            due = group.due_mono
            if due is not None and due <= mono:
                del self._due[group.sub]
                group.flush(mono)
            elif due is not None and (soonest is None or due < soonest):
                soonest = due
        return soonest

    def join(self, connection: Connection, topic: Topic, wanted: Wanted, mono: float) -> Group:
        """Return the group of those who listen to the same; the caller makes it a member.

        Raises:
            Refused.
        """
        if connection.queued_bytes > MAX_LAG_BYTES:
            raise Refused("rate_limited", "what was sent has not been taken yet", 1000)
        try:
            group = self._group(topic, wanted)
        except BadRequest as exc:
            raise Refused("bad_request", exc.message()) from exc
        except RateLimited as exc:
            raise Refused("rate_limited", exc.message(), 1000) from exc
        except ControlPlaneError as exc:
            raise Refused(exc.code, exc.message()) from exc
        # Before it is a member: nothing may come to it before its acknowledgement, or come twice.
        group.flush(mono)
        self._due.pop(group.sub, None)
        if group.sub not in connection.subscriptions:
            if len(connection.subscriptions) >= MAX_SUBSCRIPTIONS:
                self._forget_if_left(group, mono)
                raise Refused("too_many_subs", f"at most {MAX_SUBSCRIPTIONS} subscriptions")
            subscription = Subscription(connection, group)
            group.members[connection] = connection.subscriptions[group.sub] = subscription
            if group.producer is not None:
                self.on_listen(connection.visitor, group.identity)
        self._lingering.pop(group.sub, None)
        return group

    def leave(self, subscription: Subscription, mono: float) -> None:
        connection, group = subscription.connection, subscription.group
        del connection.subscriptions[group.sub], group.members[connection]
        self._forget_if_left(group, mono)

    def end_lingering(self, mono: float) -> None:
        """End producers that nobody came back to."""
        for group in list(self._lingering.values()):
            if mono - group.left_mono >= LINGER_S:
                self._forget(group)

    def end_all(self) -> None:
        """End every producer."""
        for group in list(self._groups.values()):
            self._forget(group)

    def epoch_of(self, group: Group) -> str:
        """Return what a client must know to go on where it was; streams begin anew more often."""
        return self.epoch if group.producer is None else f"{self.epoch}.{group.sub}"

    def _mark(self, topic: str) -> None:
        mono = self._now_mono()
        gather_s = self._gather_s if self.topics[topic].kind is TopicKind.STATE else 0.0
        for group in self._by_topic[topic].values():
            if group.feed.seq - group.seq >= MAX_EVENTS // 4 and gather_s == 0.0:
                group.flush(mono)  # Before there are more than are kept.
            elif group.due_mono is None:
                group.due_mono = max(mono + gather_s, group.flushed_mono + group.rate_s)
                self._due[group.sub] = group

    def _group(self, topic: Topic, wanted: Wanted) -> Group:
        if topic.kind is TopicKind.STREAM:
            form = self._streams[topic.name].normal_form(wanted.filter, wanted.tail)
            identity: Hashable = (topic.name, form)
            return self._groups.get(identity) or self._open(topic, identity, form)
        patterns = patterns_of(wanted.filter, topic.filters)
        rate_ms = wanted.rate_ms if topic.kind is TopicKind.STATE else 0
        identity = (topic.name, rate_ms, tuple(patterns.items()))
        found = self._groups.get(identity)
        if found is None:
            found = self._add(identity, topic, self._feeds[topic.name], Filter(topic, patterns))
            found.rate_s = rate_ms / 1000
        return found

    def _open(self, topic: Topic, identity: Hashable, form: Hashable) -> Group:
        running = sum(group.producer is not None for group in self._groups.values())
        if running >= MAX_PRODUCERS:
            raise Refused("too_many_subs", "too many different streams are open", 5000)
        group = self._add(identity, topic, StreamFeed(), Filter(topic, {}))

        def take(data: object, weight: int, skipped: int) -> None:
            self._post(self._take, group, data, weight, skipped)

        group.sink = Sink(take)
        try:
            group.producer = self._streams[topic.name].open(form, group.sink)
        except Exception:
            self._forget(group)
            raise
        return group

    def _take(self, group: Group, data: object, weight: int, skipped: int) -> None:
        assert isinstance(group.feed, StreamFeed)
        assert group.sink is not None
        group.sink.taken += 1
        if group.sink.is_closed:
            return
        change = group.feed.make(data, weight, skipped, self._now_ms())
        if group.unsent_bytes + len(change.text) > RETAINED_BYTES // 4:
            group.flush(self._now_mono())  # Before there is more than is kept.
        group.feed.add(change)
        group.unsent_bytes += len(change.text)
        group.due_mono = 0.0
        self._due[group.sub] = group

    def _add(self, identity: Hashable, topic: Topic, feed: Feed, matches: Filter) -> Group:
        if len(self._groups) >= MAX_GROUPS:
            raise Refused("too_many_subs", "too many different subscriptions are open", 5000)
        self._made += 1
        group = Group(f"s{self._made}", topic, feed, matches)
        group.identity = identity
        self._groups[identity] = self._by_topic[topic.name][group.sub] = group
        return group

    def _forget_if_left(self, group: Group, mono: float) -> None:
        if group.members:
            return
        if group.producer is None:
            self._forget(group)
        else:
            group.left_mono = mono
            self._lingering[group.sub] = group

    def _forget(self, group: Group) -> None:
        self._groups.pop(group.identity, None)
        self._by_topic[group.topic.name].pop(group.sub, None)
        self._due.pop(group.sub, None)
        self._lingering.pop(group.sub, None)
        if group.sink is not None:
            group.sink.is_closed = True
        if group.producer is not None:
            try:
                group.producer.close()
            except Exception:
                # It is another's code; nobody else's messages may end for it.
                log.exception("a live producer failed to end", extra={"topic": group.topic.name})
