"""What no honest client sends over HTTP, against the real server: each is refused, memory stays
bounded and others are served."""

import contextlib
import gzip
import json
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from live_server import ME, Running, serving

from control_plane.auth.permissions import Role
from control_plane.console import build_console
from control_plane.settings import load_settings

VALIDATE = "/api/v1/collectors/line1/config/validate"
CONFIG_BYTES = 4 << 20
COLLECTOR = """
name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "p"
host = "127.0.0.1"
points = [{ name = "a", address = "holding:0" }]
"""
UPLOADS = 24
SLACK_MB = 80
"""What Python and the system keep of what was freed."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    (home / "collectors.d").mkdir()
    (home / "collectors.d" / "line1.toml").write_text(COLLECTOR)
    with serving(home, DAQ_MAX_LIVE_CLIENTS="16") as running:
        yield running


@pytest.fixture(scope="module")
def operator(server: Running) -> str:
    settings = load_settings({"DAQ_HOME": str(server.home), "DAQ_HTTP_PORT": str(server.port)})
    return build_console(settings).account_commands.create_token(ME, "abuser", Role.OPERATOR)


def memory_mb(server: Running) -> float:
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    return sum(each.memory_info().rss for each in processes) / 1e6


def status_of(server: Running, request: bytes, more: Iterable[bytes] = ()) -> int | None:
    """Send bytes and return the status of the answer; ``None`` if the connection just ends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as peer:
        with contextlib.suppress(ConnectionError):
            peer.sendall(request)
            for piece in more:
                peer.sendall(piece)
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while b"\r\n" not in answer and (got := peer.recv(4096)):
                answer += got
    return int(answer.split()[1]) if answer.startswith(b"HTTP/") else None


def post(server: Running, path: str, body: bytes, token: str, **headers: str) -> bytes:
    said = {
        "Host": f"127.0.0.1:{server.port}",
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items() if value)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def test_half_of_a_long_body_in_chunks_never_passes_for_all_of_it(
    server: Running, operator: str
) -> None:
    table = b"device,name,address\n" + b"p,a,holding:0\n" * 400_000
    chunked = b"%x\r\n" % len(table) + table + b"\r\n0\r\n\r\n"
    head = post(
        server,
        "/api/v1/collectors/line1/config/points",
        b"",
        operator,
        Content_Length="",
        Transfer_Encoding="chunked",
        Content_Type="text/csv",
    )
    assert status_of(server, head, [chunked]) in (413, None)
    short = post(server, VALIDATE, b"", operator, Content_Length="", Transfer_Encoding="chunked")
    assert status_of(server, short, [b'c\r\n{"text":"a"}\r\n0\r\n\r\n']) == 200


def endless() -> Iterator[bytes]:
    """A body of 200 MB in chunks that nobody has announced."""
    piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    for _ in range(3200):
        yield piece
    yield b"0\r\n\r\n"


BODIES = {
    "no JSON": (b"\x00\xff{", 400),
    "JSON 100,000 lists deep": (b'{"document":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "JSON 100,000 objects deep": (
        b'{"document":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, 400,
    ),
    "TOML 50,000 lists deep": (
        json.dumps({"text": "a = " + "[" * 50_000 + "]" * 50_000}).encode(), 200,
    ),
    "a number of a million digits": (b'{"document":{"a":' + b"9" * 1_000_000 + b"}}", 400),
    "a table of 150,000 keys": (
        json.dumps({"document": {f"k{n}": 0 for n in range(150_000)}}).encode(), 400,
    ),
    "not UTF-8": (b'{"text":"\xff\xfe"}', 400),
    "packed": (gzip.compress(b'{"text":"' + b"a" * 50_000_000 + b'"}'), 400),
    "5 MB": (b'{"text":"' + b"a" * 5_000_000 + b'"}', 413),
}  # fmt: skip
"""Bodies and what is answered; 200 is the verdict that such a file cannot be used."""


@pytest.mark.parametrize("what", list(BODIES))
def test_a_body_of_bad_make_is_refused_while_others_are_served(
    server: Running, operator: str, what: str
) -> None:
    body, wanted = BODIES[what]
    before_mb = memory_mb(server)
    packed = {"Content_Encoding": "gzip"} if what == "packed" else {}
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(status_of, server, post(server, VALIDATE, body, operator, **packed))
        assert server.get("/healthz") == 200
        assert asking.result(timeout=60) == wanted
    assert memory_mb(server) - before_mb < SLACK_MB


def test_a_body_without_end_is_cut_off(server: Running, operator: str) -> None:
    before_mb = memory_mb(server)
    head = post(server, VALIDATE, b"", operator, Content_Length="", Transfer_Encoding="chunked")
    # What is sent on after the answer may take the answer with it.
    assert status_of(server, head, endless()) in (413, None)
    assert server.get("/healthz") == 200
    assert memory_mb(server) - before_mb < SLACK_MB


HEADS = {
    "a line of 100 KB": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a query of 60 KB": b"GET /healthz?" + b"a=1&" * 15_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "10,000 headers": (
        b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(10_000)) + b"\r\n"
    ),
    "a header of 1 MB": b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "two lengths": (
        b"POST /api/v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
        b"Content-Length: 50\r\n\r\n{}"
    ),
    "a length and chunks": (
        b"POST /api/v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n"
    ),
    "a length below zero": (
        b"POST /api/v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"
    ),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00" + b"\x00" * 500 + b"\r\n\r\n",
    "a method of 10 KB": b"G" * 10_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("what", list(HEADS))
def test_a_head_of_bad_make_is_refused_while_others_are_served(server: Running, what: str) -> None:
    before_mb = memory_mb(server)
    status = status_of(server, HEADS[what])
    assert status is None or 400 <= status < 500 or status == 501, status
    assert server.get("/healthz") == 200
    assert memory_mb(server) - before_mb < SLACK_MB


def test_strangers_who_send_the_largest_bodies_at_once_hold_up_nobody(server: Running) -> None:
    """They are read before anybody looks who sends them, so that must cost little."""
    before_mb = memory_mb(server)
    body = b" " * (CONFIG_BYTES - 10)
    request = post(server, VALIDATE, body, "daq_nobody")
    longest_s = 0.0
    with ThreadPoolExecutor(UPLOADS) as pool:
        asked = [pool.submit(status_of, server, request) for _ in range(UPLOADS)]
        while not all(each.done() for each in asked):
            began = time.monotonic()
            assert server.get("/healthz") == 200
            longest_s = max(longest_s, time.monotonic() - began)
    assert {each.result() for each in asked} == {401}
    assert longest_s < 5
    assert memory_mb(server) - before_mb < UPLOADS * CONFIG_BYTES * 2 / 1e6 + SLACK_MB
