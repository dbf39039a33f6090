import json
from datetime import UTC, datetime

import pytest

from control_plane.errors import RateLimited, TooManyClients
from control_plane.live.hub import (
    CLOSE_GOING_AWAY,
    CLOSE_SLOW,
    MAX_QUEUED_BYTES,
    MAX_QUEUED_FRAMES,
    Client,
    Hub,
)


def new_hub(max_clients: int = 10) -> Hub:
    return Hub(max_clients, lambda: datetime(2026, 1, 31, tzinfo=UTC))


def frames(client: Client) -> list[dict[str, object]]:
    return [json.loads(frame) for frame in client.next_frames(0)]


def test_a_listener_gets_an_ack_a_snapshot_and_then_every_change_in_order() -> None:
    hub = new_hub()
    hub.publish("process_status", "a", {"name": "a", "n": 1})
    hub.publish("process_status", "a", {"name": "a", "n": 2})
    client = hub.connect("alice")
    hub.subscribe(client, "process_status", 7)
    hub.publish("process_status", "b", {"name": "b"})
    hub.withdraw("process_status", "a")
    ack, snapshot, delta, removed = frames(client)
    assert (ack["id"], ack["ok"], ack["seq"], ack["epoch"]) == (7, True, 2, hub.epoch)
    assert (snapshot["kind"], snapshot["seq"]) == ("snapshot", 2)
    assert snapshot["data"] == [{"name": "a", "n": 2}]
    assert (delta["type"], delta["seq"], delta["data"]) == (
        "process_status_update",
        3,
        {"name": "b"},
    )
    assert (removed["seq"], removed["data"]) == (4, {"name": "a", "removed": True})


def test_only_subscribed_topics_arrive() -> None:
    hub = new_hub()
    client = hub.connect("alice")
    hub.subscribe(client, "performance", 1)
    hub.publish("process_status", "a", {})
    hub.unsubscribe(client, "performance", 2)
    hub.publish("performance", "a", {})
    assert [f["type"] for f in frames(client)] == ["ack", "performance_metrics", "ack"]


def test_a_listener_that_does_not_keep_up_is_cut_off_and_the_others_are_not() -> None:
    hub = new_hub()
    slow, quick = hub.connect("slow"), hub.connect("quick")
    hub.subscribe(slow, "process_status", 1)
    hub.subscribe(quick, "process_status", 1)
    received = 0
    for n in range(MAX_QUEUED_FRAMES + 10):
        hub.publish("process_status", "a", n)
        received += len(quick.next_frames(0))
    assert slow.close_code == CLOSE_SLOW
    assert quick.close_code is None
    assert received == MAX_QUEUED_FRAMES + 10 + 2


def test_more_listeners_than_allowed_are_refused() -> None:
    hub = new_hub(max_clients=1)
    client = hub.connect("alice")
    with pytest.raises(TooManyClients):
        hub.connect("bob")
    hub.disconnect(client)
    assert hub.connect("bob").user == "bob"


def test_closing_sends_everybody_away() -> None:
    hub = new_hub()
    client = hub.connect("alice")
    hub.close()
    assert client.close_code == CLOSE_GOING_AWAY
    with pytest.raises(TooManyClients):
        hub.connect("bob")


def test_a_listener_is_cut_off_by_the_bytes_that_wait_for_it() -> None:
    hub = new_hub()
    client = hub.connect("alice")
    hub.subscribe(client, "process_status", 1)
    half = "é" * (MAX_QUEUED_BYTES // 4)
    hub.publish("process_status", "a", half)
    hub.publish("process_status", "a", half)
    assert client.close_code is None
    hub.publish("process_status", "a", "small")
    assert client.close_code == CLOSE_SLOW


def test_a_snapshot_alone_may_be_of_any_size() -> None:
    hub = new_hub()
    hub.publish("process_status", "a", "x" * (MAX_QUEUED_BYTES + 1))
    client = hub.connect("alice")
    hub.subscribe(client, "process_status", 1)
    assert client.close_code is None
    assert len(frames(client)) == 2
    hub.publish("process_status", "a", "y")
    assert client.close_code is None


def test_a_topic_gives_a_listener_one_snapshot_a_second() -> None:
    mono = 100.0
    hub = Hub(10, lambda: datetime(2026, 1, 31, tzinfo=UTC), lambda: mono)
    client = hub.connect("alice")
    hub.subscribe(client, "process_status", 1)
    hub.subscribe(client, "performance", 2)
    hub.unsubscribe(client, "process_status", 3)
    with pytest.raises(RateLimited):
        hub.subscribe(client, "process_status", 4)
    mono += 1.0
    hub.subscribe(client, "process_status", 5)


def test_half_a_surrogate_pair_reaches_the_listener_as_an_escape() -> None:
    hub = new_hub()
    client = hub.connect("alice")
    hub.publish("process_status", "a", "\ud800 温度")
    hub.subscribe(client, "process_status", 1)
    _, snapshot = (frame.encode() for frame in client.next_frames(0))
    assert json.loads(snapshot)["data"] == ["\ud800 温度"]
