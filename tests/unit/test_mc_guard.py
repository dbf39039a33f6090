"""pymcprotocol behind its guard, against peers that misbehave: never a wrong value."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from collectors.contract.addresses_mc import McSeries
from collectors.mitsubishi_mc.frames import Access, Code, Coding, Device, EndCode, FrameError
from collectors.mitsubishi_mc.guard import GuardedType3E, GuardedType4E

WORDS = struct.pack("<4H", 1, 2, 3, 4)
BROKEN = (OSError, FrameError)
D0 = Device("D", 0)
BINARY = Coding("Q", "binary")


def answer(data: bytes = WORDS, *, end_code: int = 0, length: int | None = None) -> bytes:
    length = 2 + len(data) if length is None else length
    return bytes.fromhex("d00000ffff0300") + struct.pack("<HH", length, end_code) + data


Behaviour = Callable[[int, bytes, socket.socket], None]
"""Called with the number of the request, its bytes and the connection."""


@dataclass
class Peer:
    """A TCP server in a thread that lets a test decide what happens on each request."""

    behaviour: Behaviour
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    connections: list[socket.socket] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := connection.recv(4096):
                self.requests.append(request)
                self.behaviour(len(self.requests), request, connection)


@contextmanager
def peer_with(behaviour: Behaviour) -> Iterator[Peer]:
    peer = Peer(behaviour)
    thread = threading.Thread(target=peer.accept, name="peer")
    thread.start()
    try:
        yield peer
    finally:
        peer.listener.shutdown(socket.SHUT_RDWR)
        peer.listener.close()
        for connection in peer.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        thread.join(5)


def plc_for(peer: Peer, timeout_s: float = 5.0, series: McSeries = "Q") -> GuardedType3E:
    plc = GuardedType3E(Access(coding=Coding(series, "binary"), timeout_s=timeout_s))
    plc.connect("127.0.0.1", peer.port)
    return plc


@contextmanager
def connected(
    behaviour: Behaviour, timeout_s: float = 5.0, series: McSeries = "Q"
) -> Iterator[tuple[GuardedType3E, Peer]]:
    with peer_with(behaviour) as peer:
        plc = plc_for(peer, timeout_s, series)
        try:
            yield plc, peer
        finally:
            plc.close()


def sends(reply: bytes) -> Behaviour:
    return lambda _number, _request, connection: connection.sendall(reply)


def fails(behaviour: Behaviour, timeout_s: float = 5.0) -> tuple[Exception, float]:
    """Read once and return the error and how long it took; then the socket must be closed."""
    with connected(behaviour, timeout_s) as (plc, _):
        started = time.monotonic()
        with pytest.raises(BROKEN) as caught:
            plc.read_words(D0, 4)
        elapsed_s = time.monotonic() - started
        with pytest.raises(ConnectionError):
            plc.read_words(D0, 4)
        return caught.value, elapsed_s


def test_network_and_station_can_be_zero() -> None:
    reply = bytearray(answer(WORDS[:2]))
    reply[3] = 0
    with peer_with(sends(bytes(reply))) as peer:
        plc = GuardedType3E(Access(coding=BINARY, station=0))
        plc.connect("127.0.0.1", peer.port)
        assert plc.read_words(D0, 1) == WORDS[:2]
        plc.close()
        assert peer.requests[0][2:4] == b"\0\0"


def test_an_answer_cut_at_every_byte_is_read_whole() -> None:
    whole = answer()

    def cut(number: int, _request: bytes, connection: socket.socket) -> None:
        connection.sendall(whole[:number])
        time.sleep(0.002)
        connection.sendall(whole[number:])

    with connected(cut) as (plc, _):
        for _ in range(len(whole) - 1):
            assert plc.read_words(D0, 4) == WORDS


def test_the_librarys_own_commands_survive_a_cut_answer() -> None:
    """Stock pymcprotocol returns [1, 2, 0, 0] here, and [3, 4, 0, 0] for the next call."""

    def cut(_number: int, _request: bytes, connection: socket.socket) -> None:
        connection.sendall(answer()[:15])
        time.sleep(0.01)
        connection.sendall(answer()[15:])

    with connected(cut) as (plc, _):
        for _ in range(2):
            assert plc.batchread_wordunits("D0", 4) == [1, 2, 3, 4]


def test_the_longest_answer_is_read_whole() -> None:
    data = bytes(range(256)) * 7 + bytes(128)
    with connected(sends(answer(data))) as (plc, _):
        assert plc.read_words(D0, 960) == data


def close_instead(_number: int, _request: bytes, connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset_instead(_number: int, _request: bytes, connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def half_then_close(_number: int, _request: bytes, connection: socket.socket) -> None:
    connection.sendall(answer()[:14])
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("behaviour", [close_instead, reset_instead, half_then_close])
def test_a_connection_that_breaks_is_an_error_at_once(behaviour: Behaviour) -> None:
    """Stock pymcprotocol returns [0, 0, 0, 0] for the first of these."""
    error, elapsed_s = fails(behaviour, timeout_s=10.0)
    assert isinstance(error, ConnectionError)
    assert elapsed_s < 1.0


WRONG = {
    "a 4E subheader": b"\xd4\x00" + answer()[2:],
    "a request's subheader": b"\x50\x00" + answer()[2:],
    "another network": answer()[:2] + b"\x01" + answer()[3:],
    "another station": answer()[:3] + b"\x01" + answer()[4:],
    "another module": answer()[:4] + b"\xe0\x03\x00" + answer()[7:],
    "a short answer": answer(WORDS[:6]),
    "a long answer": answer(WORDS + b"\x55\x55"),
    "no data": answer(b""),
    "a length of one": answer(length=1),
    "a huge length": answer(length=0xFFFF),
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "ascii code": b"D00000FF03FF00000C000012340002",
    "zeros": bytes(64),
}


@pytest.mark.parametrize("reply", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_answer_is_never_a_value(reply: bytes) -> None:
    error, elapsed_s = fails(sends(reply))
    assert isinstance(error, FrameError)
    assert elapsed_s < 1.0


FORMS: dict[str, tuple[type[GuardedType3E], Code, bytes]] = {
    "3E binary": (GuardedType3E, "binary", answer()),
    "3E ASCII": (GuardedType3E, "ascii", b"D00000FF03FF00001400000001000200030004"),
    "4E binary": (
        GuardedType4E,
        "binary",
        bytes.fromhex("d40001000000") + answer()[2:],
    ),
    "4E ASCII": (
        GuardedType4E,
        "ascii",
        b"D4000001000000FF03FF00001400000001000200030004",
    ),
}


@pytest.mark.parametrize(("kind", "code", "whole"), FORMS.values(), ids=FORMS)
def test_no_flipped_bit_of_a_header_gives_a_wrong_value(
    kind: type[GuardedType3E], code: Code, whole: bytes
) -> None:
    """Behind the header come end code and data, which carry no check sum.

    Two reserved bytes of 4E frames are not looked at, and ASCII digits may be small letters.
    """
    scale = 2 if code == "ascii" else 1
    header_bytes = len(whole) - 2 * scale - len(WORDS) * scale
    replies = [whole]
    for position in range(header_bytes):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            replies.append(bytes(flipped))
    with peer_with(lambda _number, _request, c: c.sendall(replies[0])) as peer:
        values = 0
        while replies:
            timeout_s = 5.0 if replies[0] is whole else 0.05
            plc = kind(Access(coding=Coding("Q", code), timeout_s=timeout_s))
            plc.connect("127.0.0.1", peer.port)
            with contextlib.suppress(*BROKEN, EndCode):
                assert plc.read_words(D0, 4) == WORDS
                values += 1
            plc.close()
            replies.pop(0)
    assert 1 <= values <= 1 + 8 * 2 * scale


def test_a_late_answer_is_not_taken_for_the_next() -> None:
    """Stock pymcprotocol is off by one for ever after this."""

    def late_first(number: int, _request: bytes, connection: socket.socket) -> None:
        if number == 1:
            time.sleep(0.15)
            connection.sendall(answer(b"\xee" * 8))
        else:
            connection.sendall(answer())

    with peer_with(late_first) as peer:
        plc = plc_for(peer, timeout_s=0.1)
        with pytest.raises(TimeoutError):
            plc.read_words(D0, 4)
        plc = plc_for(peer, timeout_s=1.0)
        for _ in range(3):
            assert plc.read_words(D0, 4) == WORDS
        plc.close()


def test_an_answer_that_trickles_does_not_outlive_the_time_out() -> None:
    def trickle(_number: int, _request: bytes, connection: socket.socket) -> None:
        for byte in answer():
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    error, elapsed_s = fails(trickle, timeout_s=0.2)
    assert isinstance(error, TimeoutError)
    assert elapsed_s < 0.5


def test_an_answer_that_comes_twice_ends_the_connection() -> None:
    with connected(sends(answer() * 2)) as (plc, _):
        assert plc.read_words(D0, 4) == WORDS
        with pytest.raises(FrameError, match="without a request"):
            plc.read_words(D0, 4)


def test_an_end_code_keeps_the_connection() -> None:
    def refuse_first(number: int, _request: bytes, connection: socket.socket) -> None:
        refusal = answer(bytes.fromhex("00ffff030001040000"), end_code=0xC056)
        connection.sendall(refusal if number == 1 else answer())

    with connected(refuse_first) as (plc, _):
        with pytest.raises(EndCode) as caught:
            plc.read_words(D0, 4)
        assert caught.value.code == 0xC056
        assert plc.read_words(D0, 4) == WORDS


def test_abort_ends_a_call_in_another_thread() -> None:
    def silent(_number: int, _request: bytes, _connection: socket.socket) -> None:
        return

    with connected(silent, timeout_s=30.0) as (plc, peer):
        errors: list[BaseException] = []

        def call() -> None:
            try:
                plc.read_words(D0, 4)
            except BROKEN as exc:
                errors.append(exc)

        thread = threading.Thread(target=call)
        thread.start()
        deadline = time.monotonic() + 2
        while not peer.requests and time.monotonic() < deadline:
            time.sleep(0.001)
        plc.abort()
        thread.join(1.0)
        assert not thread.is_alive()
        assert len(errors) == 1


def test_abort_ends_a_connect_in_another_thread() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        plc = GuardedType3E(Access(coding=BINARY, timeout_s=30.0))
        errors: list[BaseException] = []

        def call() -> None:
            try:
                plc.connect("127.0.0.1", full.getsockname()[1])
            except OSError as exc:
                errors.append(exc)

        thread = threading.Thread(target=call)
        thread.start()
        deadline = time.monotonic() + 2
        while plc._sock is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        plc.abort()
        thread.join(1.0)
        assert not thread.is_alive()
        assert len(errors) == 1


def test_a_refused_connection_leaves_no_socket_open() -> None:
    with peer_with(close_instead) as peer:
        port = peer.port
    plc = GuardedType3E(Access(coding=BINARY, timeout_s=1.0))
    with pytest.raises(ConnectionRefusedError):
        plc.connect("127.0.0.1", port)
    with pytest.raises(ConnectionError):
        plc.fileno()
