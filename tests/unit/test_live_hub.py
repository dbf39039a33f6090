import json
from datetime import UTC, datetime

import pytest

from control_plane.errors import TooManyClients
from control_plane.live.hub import CLOSE_GOING_AWAY, CLOSE_SLOW, MAX_QUEUED_FRAMES, Client, Hub


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
