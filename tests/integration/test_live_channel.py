"""The live channel and slow requests, on the real server: gunicorn with one worker."""

import contextlib
import http.client
import json
import sqlite3
import time
from collections.abc import Iterator

import pytest
from live_server import Running, close_code, frame, serving

MAX_LIVE_CLIENTS = 3
THREADS = MAX_LIVE_CLIENTS + 16


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    with serving(home, DAQ_MAX_LIVE_CLIENTS=str(MAX_LIVE_CLIENTS)) as running:
        yield running


def test_requests_that_never_become_live_connections_hold_no_place(server: Running) -> None:
    for _ in range(20 * MAX_LIVE_CLIENTS):
        assert server.get("/ws", Authorization=f"Bearer {server.token}") == 426
        assert server.upgrade(Sec_WebSocket_Key="short") == 426
    clients = [server.live() for _ in range(MAX_LIVE_CLIENTS)]
    assert server.upgrade() == 503
    for client in clients:
        client.close()
    server.live().close()


def test_frames_that_make_no_sense_get_an_error_each_and_five_end_it(server: Running) -> None:
    ws = server.live()
    bad = [
        {"op": "subscribe", "topic": "?", "id": 7},
        {"op": "subscribe", "topic": {}, "id": "x"},
        {"op": "ping", "id": "x" * 65},
        {"op": "ping", "id": ["x"]},
        {"op": "ping", "id": 10**300},
    ]
    answers = []
    for each in bad:
        ws.send(json.dumps(each))
        answers.append(frame(ws, "error"))
    assert [(a["id"], a["code"]) for a in answers] == [
        (7, "unknown_topic"),
        ("x", "bad_request"),
        (None, "bad_request"),
        (None, "bad_request"),
        (None, "bad_request"),
    ]
    assert close_code(ws) == 4400


def test_one_who_asks_for_snapshot_after_snapshot_is_refused_and_the_connection_stays(
    server: Running,
) -> None:
    ws = server.live()
    for n in range(12):
        ws.send(json.dumps({"op": "subscribe", "topic": "performance", "id": n}))
    for n in range(8):
        assert frame(ws, "ack")["id"] == n
    for n in range(8, 12):
        error = frame(ws, "error")
        assert (error["id"], error["code"]) == (n, "rate_limited")
        assert 0 < error["retry_ms"] <= 1000
    ws.send(json.dumps({"op": "ping", "id": "still here"}))
    assert frame(ws, "pong")["id"] == "still here"
    ws.close()


def test_hello_and_heartbeat_tell_when_the_plant_was_last_seen(server: Running) -> None:
    ws = server.live()
    for event in ("hello", "heartbeat"):
        told = frame(ws, event)
        assert told["observed_at"].endswith("Z")
        assert told["observed_at"] <= told["time"]
    ws.close()


def test_a_connection_whose_session_cannot_be_checked_is_closed_with_1011(
    server: Running,
) -> None:
    cookie = server.sign_in("bob")
    assert cookie.startswith(f"daq_session_{server.port}=")
    ws = server.live(Cookie=cookie)
    frame(ws, "hello")
    with contextlib.closing(sqlite3.connect(server.home / "state.db")) as db:
        db.execute("ALTER TABLE sessions RENAME TO away")
        try:
            assert close_code(ws) == 1011
        finally:
            db.execute("ALTER TABLE away RENAME TO sessions")
    deadline = time.monotonic() + 10  # another thread writes the log
    while "live connection failed" not in (server.home / "server.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    clients = [server.live() for _ in range(MAX_LIVE_CLIENTS)]
    for client in clients:
        client.close()


def test_a_peer_that_does_not_answer_the_close_holds_its_place_for_a_moment_only(
    server: Running,
) -> None:
    no_json = b"\x81\x81\0\0\0\0x"  # a text frame, masked with zeros (RFC 6455, 5.2)
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_LIVE_CLIENTS):
            peer = server.open(Authorization=f"Bearer {server.other_token}")
            stack.enter_context(peer).sendall(5 * no_json)
        server.live().close()


HEAD = "GET / HTTP/1.1\r\nA: "
BODY = (
    "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: 100\r\n\r\n{"
)


@pytest.mark.parametrize("text", [HEAD, BODY], ids=["head", "body"])
def test_half_sent_requests_on_all_threads_hold_up_the_server_only_for_a_moment(
    server: Running, text: str
) -> None:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(server.half_sent(text)) for _ in range(THREADS)]
        assert server.get("/healthz") == 200
        # Each of them was ended.
        for peer in peers:
            with contextlib.suppress(ConnectionError):
                while peer.recv(1000):
                    pass


def test_a_request_that_comes_byte_by_byte_is_ended(server: Running) -> None:
    with server.half_sent(HEAD) as peer:
        deadline = time.monotonic() + 10
        peer.settimeout(0.1)
        while time.monotonic() < deadline:
            try:
                peer.sendall(b"a")
                if peer.recv(1000) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    raise AssertionError("still open")


def test_silent_live_connections_and_idle_kept_ones_outlast_the_reading_time(
    server: Running,
) -> None:
    ws = server.live()
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(kept):
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        peer = kept.sock
        for _ in range(6):  # 3 s of heartbeats, twice the reading time
            frame(ws, "heartbeat")
        kept.request("GET", "/healthz")
        assert kept.getresponse().status == 200
        assert kept.sock is peer
    ws.send(json.dumps({"op": "ping", "id": 1}))
    assert frame(ws, "pong")["id"] == 1
    ws.close()


def test_a_body_above_the_limit_is_refused(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        body = b" " * (1 << 20) + b"{}"
        connection.request("POST", "/api/v1/session", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 413


def test_a_header_that_a_proxy_wants_is_not_taken_for_a_token(server: Running) -> None:
    ws = server.live(Cookie=server.sign_in("bob"), Authorization="Basic Ym9iOng=")
    for _ in range(4):  # Twice as long as a session goes unasked.
        frame(ws, "heartbeat")
    ws.send(json.dumps({"op": "ping", "id": 1}))
    assert frame(ws, "pong")["id"] == 1
    ws.close()
