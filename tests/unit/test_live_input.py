"""Whatever a client sends, the hub's thread goes on."""

import json
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st
from live_peer import Peer, checked_frames, running_hub
from wsproto import ConnectionType
from wsproto.connection import Connection as Client
from wsproto.events import TextMessage

from control_plane.live.board import Board, Clocks
from control_plane.live.connection import Connection, Visitor
from control_plane.live.desk import Desk
from control_plane.live.requests import BadFrame, read_request

OPS = st.sampled_from(["hello", "subscribe", "update", "unsubscribe", "get", "ping", "auth", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["id", "topic", "sub", "filter", "rate_ms", "tail", "since", "epoch", "features", "resume", "t"]
)
TOPICS = st.sampled_from(["process_status", "error_alerts", "none"])
REQUESTS = st.builds(
    lambda op, topic, rest: {"op": op, "topic": topic, **rest},
    OPS,
    TOPICS,
    st.dictionaries(WORDS, VALUES, max_size=4),
)


@contextmanager
def connected() -> Iterator[tuple[Connection, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield Connection(here, Visitor(user="alice"), 0.0, deque()), there


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=10))
def test_bytes_of_any_kind_are_messages_or_the_end(chunks: list[bytes]) -> None:
    with connected() as (connection, peer):
        for mono, chunk in enumerate(chunks):
            peer.sendall(chunk)
            messages = connection.read(float(mono))
            assert all(isinstance(message, str) for message in messages)
            if connection.is_gone:
                break


@given(st.lists(st.text(max_size=200), max_size=8), st.integers(1, 50))
def test_messages_arrive_whole_however_they_are_cut(texts: list[str], step: int) -> None:
    client = Client(ConnectionType.CLIENT)
    data = b"".join(client.send(TextMessage(data=text)) for text in texts)
    with connected() as (connection, peer):
        found = []
        for at in range(0, len(data), step):
            peer.sendall(data[at : at + step])
            found += connection.read(0.0)
        assert found == texts


@given(st.text(max_size=300))
def test_text_of_any_kind_is_a_request_or_a_mistake(text: str) -> None:
    reason = "none"
    try:
        read_request(text)
    except BadFrame as exc:
        reason = exc.reason
    assert reason


@given(st.lists(REQUESTS, max_size=12))
def test_requests_of_any_kind_get_answers_as_described(requests: list[dict[str, object]]) -> None:
    clocks = Clocks(now_ms=lambda: 0, monotonic=lambda: 0.0, gather_s=0.0)
    board = Board("epoch", lambda call, *args: call(*args), clocks)
    board.publish("process_status", "a", {"name": "a"})
    desk = Desk(board, lambda: {"time": "2026-01-31T00:00:00Z"})
    with checked_frames(), connected() as (connection, _):
        for mono, request in enumerate(requests):
            if connection.is_open:
                desk.answer(connection, json.dumps(request), float(mono))
        assert not connection.is_gone
        for each in list(connection.subscriptions.values()):
            board.leave(each, 99.0)
    board.end_all()


def test_a_client_that_vanishes_amid_a_message_leaves_nothing() -> None:
    with running_hub(max_clients=1) as hub:
        for _ in range(5):
            peer = Peer(hub)
            peer.ask("subscribe", topic="process_status")
            peer.sock.sendall(b"\x81\xfe\x10")
            peer.end()
        assert hub.client_count == 0
