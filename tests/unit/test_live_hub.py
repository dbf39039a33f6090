"""The hub, its thread and real sockets; only time is short."""

import json
import threading
from collections.abc import Iterator

import pytest
from live_peer import Peer, checked_frames, running_hub

from control_plane.errors import TooManyClients
from control_plane.live.connection import Visitor
from control_plane.live.hub import Hub

STATUS = "process_status"


@pytest.fixture(autouse=True)
def every_frame_is_as_described() -> Iterator[None]:
    with checked_frames():
        yield


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def test_a_listener_gets_an_ack_a_snapshot_and_then_every_change_in_order(hub: Hub) -> None:
    hub.publish(STATUS, "a", {"name": "a", "n": 1})
    hub.publish(STATUS, "a", {"name": "a", "n": 2})
    peer = Peer(hub)
    hello = peer.frame("connection_status")
    assert (hello["event"], hello["epoch"], hello["user"]) == ("hello", hub.epoch, "alice")
    ack = peer.ask("subscribe", topic=STATUS)
    assert (ack["ok"], ack["seq"], ack["epoch"], ack["recovered"]) == (True, 2, hub.epoch, False)
    snapshot = peer.topic_frame()
    assert (snapshot["kind"], snapshot["seq"], snapshot["sub"]) == ("snapshot", 2, ack["sub"])
    assert snapshot["data"] == [{"name": "a", "n": 2}]
    hub.publish(STATUS, "b", {"name": "b"})
    hub.withdraw(STATUS, "a")
    delta, removed = peer.deltas({"name": "a", "removed": True})
    assert (delta["type"], delta["kind"], delta["seq"], delta["prev"], delta["data"]) == (
        "process_status_update",
        "delta",
        3,
        2,
        {"name": "b"},
    )
    assert (removed["seq"], removed["prev"]) == (4, 3)
    peer.end()


def test_only_subscribed_topics_arrive(hub: Hub) -> None:
    peer = Peer(hub)
    peer.ask("subscribe", topic="performance")
    peer.topic_frame()
    hub.publish(STATUS, "a", {})
    hub.publish("performance", "a", {"n": 1})
    assert peer.topic_frame()["type"] == "performance_metrics"
    peer.ask("unsubscribe", topic="performance")
    hub.publish("performance", "a", {"n": 2})
    peer.ask("subscribe", topic="error_alerts")
    assert peer.topic_frame()["type"] == "error_alert"
    peer.end()


def test_a_value_that_was_overtaken_is_not_sent_and_the_chain_has_no_gap(hub: Hub) -> None:
    peer = Peer(hub)
    peer.ask("subscribe", topic=STATUS, rate_ms=50)
    position = peer.topic_frame()["seq"]
    for n in range(500):
        hub.publish(STATUS, "busy", {"n": n})
        hub.publish(STATUS, f"key-{n % 3}", {"n": n})
    seen = 0
    while True:
        delta = peer.topic_frame()
        assert delta["prev"] <= position < delta["seq"]
        position, seen = delta["seq"], seen + 1
        if position == 1000:
            break
    assert seen < 100
    peer.end()


def test_every_event_arrives_once_and_in_order(hub: Hub) -> None:
    peer = Peer(hub, batch=True)
    peer.ask("subscribe", topic="error_alerts")
    peer.topic_frame()
    for n in range(1000):
        hub.publish("error_alerts", "same", n)
    deltas = peer.deltas(999)
    assert [delta["data"] for delta in deltas] == list(range(1000))
    assert [delta["prev"] for delta in deltas] == list(range(1000))
    peer.end()


def test_a_filter_lets_pass_what_matches_and_the_chain_has_no_gap(hub: Hub) -> None:
    for name in ("modbus-1", "opcua-1", "modbus-2"):
        hub.publish(STATUS, name, {"name": name, "node": "local"})
    peer = Peer(hub)
    ack = peer.ask("subscribe", topic=STATUS, filter={"name": ["modbus-*", "x"], "node": ["l*"]})
    assert [each["name"] for each in peer.topic_frame()["data"]] == ["modbus-1", "modbus-2"]
    hub.withdraw(STATUS, "opcua-1")
    hub.publish(STATUS, "modbus-3", {"name": "modbus-3", "node": "other"})
    hub.withdraw(STATUS, "modbus-1")
    removed = peer.topic_frame()
    assert (removed["data"]["name"], removed["prev"]) == ("modbus-1", ack["seq"])
    changed = peer.ask("update", sub=ack["sub"], filter={"name": ["modbus-2"]})
    assert changed["sub"] != ack["sub"]
    assert [each["name"] for each in peer.topic_frame()["data"]] == ["modbus-2"]
    peer.end()


def test_equal_subscriptions_share_their_frames(hub: Hub) -> None:
    peers = [Peer(hub) for _ in range(3)]
    for peer, names in zip(peers, (["a", "b"], ["b", "a", "a"], ["b"]), strict=True):
        peer.ask("subscribe", topic=STATUS, filter={"name": names})
    hub.publish(STATUS, "b", {"name": "b"})
    subs = []
    for peer in peers:
        peer.topic_frame()
        subs.append(peer.topic_frame()["sub"])
        peer.end()
    assert subs[0] == subs[1] != subs[2]


def test_who_joins_others_is_told_nothing_before_its_ack_and_nothing_twice(hub: Hub) -> None:
    first, second = Peer(hub), Peer(hub)
    place = first.ask("subscribe", topic=STATUS, rate_ms=5000)
    first.topic_frame()
    hub.publish(STATUS, "a", {"name": "a"})  # Gathered for another 5 s.
    second.frame("connection_status")
    request = {"op": "subscribe", "topic": STATUS, "rate_ms": 5000}
    second.send(json.dumps({**request, "since": place["seq"], "epoch": place["epoch"]}))
    assert second.frame()["type"] == "ack"
    hub.publish(STATUS, "b", {"name": "b"})
    second.ask("get", sub=place["sub"])
    frames = [second.topic_frame() for _ in range(3)]
    assert [frame["seq"] for frame in frames] == [1, 2, 2]
    first.end()
    second.end()


@pytest.mark.parametrize("topic", [STATUS, "error_alerts"])
def test_who_comes_back_gets_what_it_missed_and_no_snapshot(hub: Hub, topic: str) -> None:
    for name in ("gone", "changed", "same"):
        hub.publish(topic, name, {"name": name})
    first = Peer(hub)
    ack = first.ask("subscribe", topic=topic)
    first.end()
    hub.withdraw(topic, "gone")
    hub.publish(topic, "changed", {"name": "changed", "n": 2})
    for by_hello in (True, False):
        second = Peer(hub)
        if by_hello:
            place = {"epoch": hub.epoch, "seq": {topic: ack["seq"]}}
            assert second.ask("hello", resume=place)["recovered"] is True
            again = second.ask("subscribe", topic=topic)
        else:
            again = second.ask("subscribe", topic=topic, since=ack["seq"], epoch=ack["epoch"])
        assert again["recovered"] is True
        missed = second.deltas({"name": "changed", "n": 2})
        assert [delta["data"] for delta in missed] == [
            {"name": "gone", "removed": True},
            {"name": "changed", "n": 2},
        ]
        assert [delta["prev"] for delta in missed] == [3, 4]
        second.end()


@pytest.mark.parametrize(("since", "epoch"), [(3, "another"), (4_000, None), (3, None)])
def test_who_was_elsewhere_before_gets_a_snapshot(hub: Hub, since: int, epoch: str | None) -> None:
    hub.publish(STATUS, "a", {"name": "a"})
    peer = Peer(hub)
    epoch = epoch or (hub.epoch if since > 1000 else None)
    ack = peer.ask("subscribe", topic=STATUS, since=since, epoch=epoch)
    assert ack["recovered"] is False
    assert peer.topic_frame()["kind"] == "snapshot"
    peer.end()


def test_a_reader_that_lags_gets_the_newest_states_later_and_harms_nobody(hub: Hub) -> None:
    slow, quick = Peer(hub), Peer(hub)
    for peer in (slow, quick):
        peer.ask("subscribe", topic=STATUS, rate_ms=50)
        peer.topic_frame()
    text = "x" * 20_000
    for n in range(50):
        hub.publish(STATUS, f"key-{n % 5}", {"n": n, "text": text})
        while quick.topic_frame()["data"]["n"] != n:
            pass
    position, seen = 0, []
    while not seen or seen[-1] != 49:
        delta = slow.topic_frame()
        assert delta["prev"] <= position < delta["seq"]
        position = delta["seq"]
        seen.append(delta["data"]["n"])
    assert set(range(45, 50)) <= set(seen)
    assert len(seen) < 45
    assert hub.cut_off == 0
    slow.end()
    quick.end()


def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    with running_hub(stuck_s=0.3, close_s=0.1) as hub:
        stuck, quick = Peer(hub), Peer(hub)
        for peer in (stuck, quick):
            peer.ask("subscribe", topic=STATUS, rate_ms=50)
        n = 0
        while hub.client_count == 2:
            n += 1
            hub.publish(STATUS, "a", {"n": n, "text": "x" * 50_000})
            while quick.topic_frame()["data"] in ([],):
                pass
        assert hub.cut_off == 1
        assert quick.close_code is None
        stuck.end()
        quick.end()


def test_a_reader_of_events_that_are_not_kept_any_more_is_cut_off(hub: Hub) -> None:
    peer = Peer(hub)
    peer.ask("subscribe", topic="error_alerts")
    for n in range(3000):
        hub.publish("error_alerts", "a", {"n": n, "text": "x" * 1000})
    assert peer.wait_closed() == 4413
    assert hub.cut_off == 1
    peer.end()


@pytest.mark.parametrize("features", [{}, {"batch": True}, {"zip": True}])
def test_each_way_to_send_carries_the_same(hub: Hub, features: dict[str, bool]) -> None:
    for n in range(100):
        hub.publish(STATUS, f"k{n}", {"name": f"k{n}", "text": "温度 " * 20})
    peer = Peer(hub, **features)
    peer.ask("subscribe", topic=STATUS)
    snapshot = peer.topic_frame()
    assert [each["name"] for each in snapshot["data"]] == [f"k{n}" for n in range(100)]
    assert peer.wire_bytes < 4000 if features.get("zip") else peer.wire_bytes > 10_000
    peer.end()


def test_more_listeners_than_allowed_are_refused() -> None:
    with running_hub(max_clients=1) as hub:
        peer = Peer(hub)
        with pytest.raises(TooManyClients):
            hub.take_seat(Visitor(user="bob"))
        peer.end()
        hub.take_seat(Visitor(user="bob"))


def test_closing_sends_everybody_away_and_asks_each_to_come_back_at_another_time() -> None:
    with running_hub(max_clients=30) as hub:
        peers = [Peer(hub) for _ in range(20)]
        for peer in peers:
            peer.ask("ping")
        hub.close()
        waits = set()
        for peer in peers:
            assert peer.wait_closed() == 1001
            waits.add(json.loads(peer.close_reason)["retry_ms"])
            peer.end()
        assert len(waits) > 10
        assert max(waits) <= 400
        with pytest.raises(TooManyClients):
            hub.take_seat(Visitor(user="bob"))


def test_nothing_follows_a_close() -> None:
    with running_hub(close_s=0.3) as hub:
        peer = Peer(hub)
        peer.ask("subscribe", topic="error_alerts")
        peer.topic_frame()
        hub.close()
        assert peer.wait_closed() == 1001
        for n in range(10):
            hub.publish("error_alerts", "a", n)
        assert peer.sock.recv(1000) == b""
        peer.end()


def test_one_who_says_nothing_is_sent_away() -> None:
    with running_hub(hello_s=0.1) as hub:
        peer = Peer(hub)
        assert peer.wait_closed() == 4408
        peer.end()


def test_one_who_answers_no_ping_is_sent_away_and_one_who_does_stays() -> None:
    with running_hub(ping_s=0.1, tick_s=0.02) as hub:
        silent, alive = Peer(hub), Peer(hub)
        silent.answers_pings = False
        for peer in (silent, alive):
            peer.ask("ping")
        done = threading.Event()

        def listen() -> None:
            while alive.pings < 6:
                alive._read()
            done.set()

        thread = threading.Thread(target=listen)
        thread.start()
        assert silent.wait_closed() == 1008
        assert done.wait(5)
        thread.join()
        assert alive.close_code is None
        silent.end()
        alive.end()


def test_a_session_that_ended_ends_its_connections_and_no_others() -> None:
    verdicts: dict[str, int | None] = {"bob": None}
    with running_hub(session_s=0.05) as hub:
        bob = Visitor(user="bob", credential="b", verdict=lambda: verdicts["bob"])
        peers = [Peer(hub, bob), Peer(hub, Visitor(user="alice", credential="a"))]
        for peer in peers:
            peer.ask("ping")
        verdicts["bob"] = 4401
        assert peers[0].wait_closed() == 4401
        assert peers[1].ask("ping")["type"] == "pong"
        for peer in peers:
            peer.end()


def test_half_a_surrogate_pair_and_a_number_that_is_none_reach_the_listener(hub: Hub) -> None:
    peer = Peer(hub)
    hub.publish(STATUS, "a", {"name": "\ud800 温度", "value": float("nan")})
    hub.publish(STATUS, "b", {"made of": object()})
    peer.ask("subscribe", topic=STATUS)
    assert peer.topic_frame()["data"] == [{"name": "\ud800 温度", "value": None}, None]
    peer.end()
