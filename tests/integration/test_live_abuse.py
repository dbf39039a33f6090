"""What no honest client does on the live channel, against the real server: each is refused, memory
stays bounded and others are served."""

import contextlib
import json
import socket
import sqlite3
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from live_server import ME, Running, close_code, frame, serving
from simple_websocket import Client

from control_plane.auth.permissions import Role
from control_plane.console import build_console
from control_plane.settings import load_settings

PER_USER = 8
MAX_GROWTH_MB = 20
TEXT, CONTINUED, BINARY, CLOSE, PING = 0x81, 0x80, 0x82, 0x88, 0x89
UNFINISHED, DEFLATED = 0x01, 0xC1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = {"DAQ_MAX_LIVE_CLIENTS": "40", "DAQ_MAX_LIVE_PER_USER": str(PER_USER)}
    with serving(
        tmp_path_factory.mktemp("home"), **limits, DAQ_MAX_LIVE_PER_ADDRESS="20"
    ) as running:
        yield running


@pytest.fixture
def token(server: Running, request: pytest.FixtureRequest) -> str:
    """A token of its own for each test, so that a ban of one is not that of another."""
    return new_token(server, request.node.name)


def new_token(server: Running, name: str) -> str:
    settings = load_settings({"DAQ_HOME": str(server.home), "DAQ_HTTP_PORT": str(server.port)})
    return build_console(settings).account_commands.create_token(ME, name, Role.VIEWER)


def masked(head: int, payload: bytes) -> bytes:
    """Return a client's frame (RFC 6455, 5.2), masked with zeros."""
    if len(payload) < 126:
        size = bytes((0x80 | len(payload),))
    elif len(payload) < 1 << 16:
        size = struct.pack("!BH", 0x80 | 126, len(payload))
    else:
        size = struct.pack("!BQ", 0x80 | 127, len(payload))
    return bytes((head,)) + size + b"\0\0\0\0" + payload


def closed_with(peer: socket.socket) -> int | None:
    """Read to the end; return the code of the close frame, ``None`` if there was none."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while more := peer.recv(1 << 16):
            data += more
    at = 0
    while at + 2 <= len(data):
        head, size = data[at], data[at + 1]
        at += 2
        if size == 126:
            size, at = struct.unpack_from("!H", data, at)[0], at + 2
        elif size == 127:
            size, at = struct.unpack_from("!Q", data, at)[0], at + 8
        if head == CLOSE:
            return int(struct.unpack_from("!H", data, at)[0])
        at += size
    return None


def push(peer: socket.socket, data: bytes, times: int = 1) -> None:
    """Send as much of it as the server takes."""
    with contextlib.suppress(OSError):
        for _ in range(times):
            peer.sendall(data)


@contextlib.contextmanager
def undisturbed(server: Running) -> Iterator[None]:
    """Somebody else is served meanwhile, and memory does not grow."""
    worker = max(psutil.Process(server.pid).children(), key=lambda p: p.memory_info().rss)
    before = worker.memory_info().rss
    other = Client(
        f"ws://127.0.0.1:{server.port}/ws",
        subprotocols=["daq.v1"],
        headers={"Authorization": f"Bearer {server.token}"},
    )
    other.send(json.dumps({"id": 1, "op": "subscribe", "topic": "process_status"}))
    assert frame(other, "process_status_update")["kind"] == "snapshot"
    yield
    began = time.monotonic()
    other.send(json.dumps({"id": "still", "op": "ping"}))
    assert frame(other, "pong")["id"] == "still"
    assert time.monotonic() - began < 2
    other.close()
    assert (worker.memory_info().rss - before) / 1e6 < MAX_GROWTH_MB


def bomb() -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(b"a" * 60_000_000) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]


ABUSES = {
    "no json": (5 * masked(TEXT, b"x"), 1, {4400}),
    "deep json": (masked(TEXT, b"[" * 16_000) * 5, 1, {4400}),
    "deep objects": (masked(TEXT, b'{"a":' * 3_000) * 5, 1, {4400}),
    "a number without end": (masked(TEXT, b'{"id":' + b"9" * 16_000 + b"}") * 5, 1, {4400}),
    "a binary frame": (masked(BINARY, b"x"), 1, {4400}),
    "text that is no utf-8": (masked(TEXT, b"\xff\xfe"), 1, {1007}),
    "a frame without a mask": (b"\x81\x01x", 1, {1002}),
    "an unknown opcode": (masked(0x83, b"x"), 1, {1002}),
    "a long ping": (masked(PING, b"x" * 126), 1, {1002}),
    "a continued nothing": (masked(CONTINUED, b"x"), 1, {1002}),
    "17 KB": (masked(TEXT, b" " * 17 * 1024), 1, {1009}),
    "200 MB in one frame": (masked(TEXT, b" " * (1 << 20))[:10] + b" " * (1 << 20), 200, {1009}),
    "200 MB of fragments": (masked(UNFINISHED, b"") + masked(0, b" " * 8192) * 128, 200, {1009}),
    "fragments of nothing": (masked(UNFINISHED, b"") + masked(0, b"") * 50_000, 1, {1009, 4429}),
    "a size of 2**63": (bytes((TEXT, 0xFF)) + b"\xff" * 8 + b"\0\0\0\0xx", 1, {1002}),
    "a deflate bomb": (masked(DEFLATED, bomb()), 1, {1002}),
    "a flood of messages": (masked(TEXT, b'{"op":"ping"}') * 20_000, 1, {4429}),
    "a flood of pings": (masked(PING, b"") * 20_000, 1, {4429}),
}


@pytest.mark.parametrize("what", ABUSES)
def test_abuse_is_refused_while_others_are_served(server: Running, token: str, what: str) -> None:
    data, times, codes = ABUSES[what]
    with undisturbed(server), server.open(Authorization=f"Bearer {token}") as peer:
        push(peer, data, times)
        # Who is cut off amid sending may have its own data reset before it reads why.
        assert closed_with(peer) in codes | ({None} if len(data) * times > 1 << 20 else set())


def test_a_page_of_another_site_gets_no_connection(server: Running) -> None:
    cookie = server.sign_in("bob")
    mine = f"http://127.0.0.1:{server.port}"
    said = {"Authorization": "", "Cookie": cookie}
    assert server.upgrade(**said, Origin=mine) == 101
    for origin in ("http://evil.example", "null", f"{mine}.evil.example", "http://127.0.0.1:1"):
        assert server.upgrade(**said, Origin=origin) == 403
    assert server.upgrade(Authorization="") == 401
    assert server.upgrade(Authorization="Bearer wrong") == 401


def test_one_user_and_one_address_cannot_take_all_places(server: Running) -> None:
    tokens = [new_token(server, f"user {n}") for n in range(3)]
    with contextlib.ExitStack() as stack:
        for each in tokens[:2]:
            for _ in range(PER_USER):
                stack.enter_context(server.open(Authorization=f"Bearer {each}"))
            assert server.upgrade(Authorization=f"Bearer {each}") == 429
        for _ in range(20 - 2 * PER_USER):
            stack.enter_context(server.open(Authorization=f"Bearer {tokens[2]}"))
        assert server.upgrade(Authorization=f"Bearer {tokens[2]}") == 429
    deadline = time.monotonic() + 10
    while server.upgrade(Authorization=f"Bearer {tokens[2]}") != 101:
        assert time.monotonic() < deadline


def test_who_misbehaves_again_and_again_is_kept_out_and_that_is_on_record(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as server:
        other = f"Bearer {server.other_token}"
        for _ in range(3):
            with server.open(Authorization=other) as peer:
                push(peer, masked(BINARY, b"x"))
                assert closed_with(peer) == 4400
        assert server.upgrade(Authorization=other) == 429
        assert server.upgrade() == 101
        deadline = time.monotonic() + 10
        while len(rows := live_audit(server)) < 4:
            assert time.monotonic() < deadline, rows
    assert sorted(rows) == [
        ("client.ban", "token:other", "127.0.0.1", "/ws 60 s: a frame is text"),
        *[("live", "token:other", "/ws", "a frame is text")] * 3,
    ]


def live_audit(server: Running) -> list[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(server.home / "state.db")) as db:
        return db.execute(
            "SELECT action, actor, target, detail FROM audit WHERE action IN ('live', 'client.ban')"
        ).fetchall()


def test_a_revoked_token_and_a_changed_role_end_the_connection(server: Running) -> None:
    token = new_token(server, "revoked")
    ws = server.live(Authorization=f"Bearer {token}")
    bob = server.live(Cookie=server.sign_in("bob"))
    frame(ws, "hello")
    with contextlib.closing(sqlite3.connect(server.home / "state.db")) as db:
        db.execute("DELETE FROM api_tokens WHERE name = 'revoked'")
        db.execute("UPDATE users SET role = 'viewer' WHERE name = 'bob'")
        db.commit()
    assert close_code(ws) == 4401
    assert close_code(bob) == 4403


def test_a_stop_tells_everybody_within_three_seconds(tmp_path: Path) -> None:

    with serving(tmp_path) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(server.open()) for _ in range(20)]
        for each in peers:
            push(each, masked(TEXT, b'{"op": "subscribe", "topic": "process_status"}'))
        began = time.monotonic()
        psutil.Process(server.pid).terminate()
        assert {closed_with(peer) for peer in peers} == {1001}
        assert time.monotonic() - began < 3
