"""Laws of what the live channel keeps: whoever follows, with any pauses, ends up with the truth."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

from control_plane.live import feeds
from control_plane.live.feeds import Change, EventFeed, Feed, StateFeed, StreamFeed
from control_plane.live.frames import Burst, Mode, text_frame

KEYS = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS),
        st.tuples(st.just("remove"), KEYS),
        st.tuples(st.just("look"), st.integers(0, 2)),
    ),
    max_size=60,
)


def everything(_: Change) -> bool:
    return True


@dataclass
class Listener:
    """Follows a feed as a client does: a snapshot, and then what came after the number it has."""

    seq: int | None = None
    known: dict[str, object] = field(default_factory=dict)
    heard: list[int] = field(default_factory=list)

    def look(self, feed: Feed) -> None:
        changes = None if self.seq is None else feed.since(self.seq, everything)
        if changes is None:
            self.known = {change.key: change.data for change in feed.present()}
            self.heard = list(range(1, feed.seq + 1))
        for change in changes or ():
            self.heard.append(change.seq)
            if change.removed:
                self.known.pop(change.key, None)
            else:
                self.known[change.key] = change.data
        self.seq = feed.seq


def follow(feed: StateFeed | EventFeed, steps: list[tuple[str, object]]) -> list[Listener]:
    truth: dict[str, object] = {}
    listeners = [Listener() for _ in range(3)]
    for number, (what, which) in enumerate(steps):
        match what, which:
            case "put", str(key):
                feed.put(key, number, 0)
                truth[key] = number
            case "remove", str(key):
                assert feed.remove(key, 0) == (truth.pop(key, None) is not None)
            case "look", int(who):
                listeners[who].look(feed)
    for listener in listeners:
        listener.look(feed)
        assert listener.known == truth
    return listeners


@given(STEPS)
def test_who_follows_states_with_any_pauses_knows_what_is_there(
    steps: list[tuple[str, object]],
) -> None:
    follow(StateFeed(), steps)


@given(STEPS)
def test_who_follows_events_hears_each_once_and_in_order(steps: list[tuple[str, object]]) -> None:
    feed = EventFeed()
    for listener in follow(feed, steps):
        assert listener.heard == list(range(1, feed.seq + 1))


def test_what_is_forgotten_is_never_taken_for_all_there_was() -> None:
    states, events = StateFeed(), EventFeed()
    for n in range(feeds.MAX_TOMBSTONES + 10):
        states.put(f"k{n}", n, 0)
        states.remove(f"k{n}", 0)
    assert states.since(2, everything) is None
    assert states.since(states.seq + 1, everything) is None
    for n in range(feeds.MAX_EVENTS + 10):
        events.put("k", n, 0)
    assert events.since(9, everything) is None
    assert len(events.since(10, everything) or ()) == feeds.MAX_EVENTS


@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 9), st.integers(0, 9))))
def test_each_line_of_a_stream_is_either_kept_or_counted(
    sent: list[tuple[int, int, int]],
) -> None:
    feed = StreamFeed()
    for size, weight, skipped in sent:
        feed.add(feed.make("x" * size, weight, skipped, 0))
    kept = sum(change.weight + change.skipped for change in feed.present())
    assert kept + feed.lost_since(0) == sum(weight + skipped for _, weight, skipped in sent)


@given(st.text(max_size=300), st.sampled_from([0, 125, 126, 65_535, 65_536]))
def test_a_frame_is_read_as_it_was_written(text: str, pad: int) -> None:
    peer = Connection(ConnectionType.CLIENT)
    peer.receive_data(text_frame(text + "." * pad))
    events = list(peer.events())
    assert all(isinstance(event, TextMessage) for event in events)
    assert "".join(event.data for event in events) == text + "." * pad


@given(st.lists(st.text(max_size=50), min_size=1, max_size=5))
def test_one_burst_holds_the_same_messages_in_each_mode(texts: list[str]) -> None:
    burst = Burst([feeds.encode({"text": each}) for each in texts])
    plain, batch = Connection(ConnectionType.CLIENT), Connection(ConnectionType.CLIENT)
    plain.receive_data(burst.of(Mode.PLAIN))
    batch.receive_data(burst.of(Mode.BATCH))
    one_by_one = [event.data for event in plain.events() if isinstance(event, TextMessage)]
    (together,) = [event.data for event in batch.events() if isinstance(event, TextMessage)]
    assert len(one_by_one) == len(texts)
    assert together == (one_by_one[0] if len(texts) == 1 else f"[{','.join(one_by_one)}]")
