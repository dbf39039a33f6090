"""Topics whose messages are made only while somebody listens."""

import threading
from collections.abc import Iterator, Mapping

import pytest
from live_peer import Peer, checked_frames, running_hub

from control_plane.errors import BadRequest
from control_plane.live import board
from control_plane.live.hub import Hub
from control_plane.live.streams import Sink
from control_plane.live.topics import Topic, TopicKind


class Lines:
    """A stream of lines; remembers what it was asked to make."""

    topic = Topic(name="log_streams", type="log_stream", kind=TopicKind.STREAM)

    def __init__(self) -> None:
        self.open_now: dict[str, Sink] = {}
        self.opened = 0

    def normal_form(self, wanted: Mapping[str, object], tail: int) -> tuple[str, int]:
        name = wanted.get("name")
        if not isinstance(name, str):
            raise BadRequest(reason="filter.name: the name of a process")
        return name, tail

    def open(self, wanted: object, sink: Sink) -> "Making":
        assert isinstance(wanted, tuple)
        name, tail = wanted
        self.opened += 1
        self.open_now[name] = sink
        if tail:
            sink.send({"lines": [f"old {n}" for n in range(tail)]}, weight=tail)
        return Making(self, name)


class Making:
    def __init__(self, lines: Lines, name: str) -> None:
        self._lines, self._name = lines, name

    def close(self) -> None:
        del self._lines.open_now[self._name]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def stream_hub(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(board, "LINGER_S", 0.3)
    with (
        checked_frames({lines.topic.name: lines.topic}),
        running_hub(stream=lines, tick_s=0.02) as hub,
    ):
        yield hub


def test_a_producer_is_shared_by_equal_filters_and_ends_after_the_last_listener(
    stream_hub: Hub, lines: Lines
) -> None:
    first, second = Peer(stream_hub), Peer(stream_hub)
    assert "log_streams" in first.frame("connection_status")["topics"]
    ack = first.ask("subscribe", topic="log_streams", filter={"name": "a"}, tail=2)
    assert first.topic_frame()["data"] in ([], [{"lines": ["old 0", "old 1"]}])
    lines.open_now["a"].send({"lines": ["new"]})
    assert first.deltas({"lines": ["new"]})
    assert second.ask("subscribe", topic="log_streams", filter={"name": "a"}, tail=2)["ok"]
    assert second.topic_frame()["data"] == [{"lines": ["old 0", "old 1"]}, {"lines": ["new"]}]
    assert lines.opened == 1
    first.end()
    second.ask("ping")
    lines.open_now["a"].send({"lines": ["more"]})
    second.end()
    third = Peer(stream_hub)
    again = third.ask(
        "subscribe", topic="log_streams", filter={"name": "a"}, tail=2, since=2, epoch=ack["epoch"]
    )
    assert (again["recovered"], again["sub"]) == (True, ack["sub"])
    assert third.topic_frame()["data"] == {"lines": ["more"]}
    third.end()
    done = threading.Event()
    while lines.open_now:
        done.wait(0.01)
    bad = Peer(stream_hub)
    error = bad.ask("subscribe", topic="log_streams", filter={})
    assert (error["code"], "filter.name" in error["message"]) == ("bad_request", True)
    bad.end()


def test_lines_that_a_listener_did_not_take_are_counted(stream_hub: Hub, lines: Lines) -> None:
    slow, quick = Peer(stream_hub), Peer(stream_hub)
    for peer in (slow, quick):
        peer.ask("subscribe", topic="log_streams", filter={"name": "a"})
        peer.topic_frame()
    total = 400
    for n in range(total):
        lines.open_now["a"].send({"n": n, "text": "x" * 10_000}, weight=7)
        assert quick.deltas({"n": n, "text": "x" * 10_000})[0].get("skipped") is None
    seen = skipped = 0
    while True:
        delta = slow.topic_frame()
        seen, skipped = seen + 1, skipped + delta.get("skipped", 0)
        if delta["data"]["n"] == total - 1:
            break
    assert skipped > 0
    assert seen * 7 + skipped == total * 7
    slow.end()
    quick.end()
