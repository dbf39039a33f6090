"""A Modbus connection against peers that misbehave: never a wrong value, never a long wait."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from collectors.contract.config_modbus import Framing
from collectors.contract.points import Quality
from collectors.modbus_tcp.link import DeviceRefused, Endpoint, ModbusLink, Unit
from collectors.runtime.driver import ConnectionLost, NoAnswer

REGISTERS = [0x1111, 0x2222, 0x3333, 0x4444]
DATA = struct.pack(">4H", *REGISTERS)
UNIT = 7


@dataclass
class Request:
    """What came in, and how to answer it."""

    number: int
    transaction: int
    function: int
    writer: asyncio.StreamWriter

    def frame(
        self,
        pdu: bytes | None = None,
        *,
        transaction: int | None = None,
        protocol: int = 0,
        length: int | None = None,
        unit: int = UNIT,
    ) -> bytes:
        """Return the right answer, or one with some fields replaced."""
        pdu = bytes([self.function, len(DATA)]) + DATA if pdu is None else pdu
        header = struct.pack(
            ">HHHB",
            self.transaction if transaction is None else transaction,
            protocol,
            1 + len(pdu) if length is None else length,
            unit,
        )
        return header + pdu


Behaviour = Callable[[Request], Awaitable[None]]


@dataclass
class Peer:
    """A TCP server that lets a test decide what happens on each request."""

    behaviour: Behaviour
    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    requests: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(12)
                transaction, _, _, _, function = struct.unpack(">HHHBB", head[:8])
                self.requests += 1
                await self.behaviour(Request(self.requests, transaction, function, writer))
        writer.close()


@asynccontextmanager
async def peer_with(behaviour: Behaviour) -> AsyncIterator[Peer]:
    peer = Peer(behaviour)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for writer in peer.writers:
            writer.close()
        await server.wait_closed()


class Asked:
    """A link that always asks the same unit."""

    def __init__(
        self, endpoint: Endpoint, lost: list[ConnectionLost], timeout_s: float, **unit: bool
    ) -> None:
        self.link = ModbusLink(endpoint, lost.append)
        self.unit = Unit(unit_id=UNIT, timeout_s=timeout_s, **unit)
        self.close = self.link.close

    async def open(self) -> None:
        await self.link.open(self.unit.timeout_s)

    async def request(self, table: str, start: int, count: int) -> bytes:
        return await self.link.read(self.unit, table, start, count)


@asynccontextmanager
async def connected(
    behaviour: Behaviour, timeout_s: float = 5.0, framing: Framing = "tcp"
) -> AsyncIterator[tuple["Asked", Peer, list[ConnectionLost]]]:
    lost: list[ConnectionLost] = []
    async with peer_with(behaviour) as peer:
        link = Asked(Endpoint(host="127.0.0.1", port=peer.port, framing=framing), lost, timeout_s)
        await link.open()
        try:
            yield link, peer, lost
        finally:
            link.close()


async def until(condition: Callable[[], bool], timeout_s: float = 2.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def answer_rightly(request: Request) -> None:
    request.writer.write(request.frame())


def lose(behaviour: Behaviour, timeout_s: float = 5.0) -> tuple[ConnectionLost, float]:
    """Read once and return the loss and how long it took; then the link must be unusable."""

    async def scenario() -> tuple[ConnectionLost, float]:
        async with connected(behaviour, timeout_s) as (link, _, _):
            started = time.monotonic()
            with pytest.raises(ConnectionLost) as caught:
                await link.request("holding", 0, 4)
            elapsed_s = time.monotonic() - started
            with pytest.raises(ConnectionLost):
                await link.request("holding", 0, 4)
            return caught.value, elapsed_s

    return asyncio.run(scenario())


@pytest.mark.parametrize("table", ["holding", "input", "coil", "discrete"])
def test_a_right_answer_gives_its_bytes(table: str) -> None:
    count = 4 if table in ("holding", "input") else 60

    async def scenario() -> bytes:
        async with connected(answer_rightly) as (link, _, _):
            return await link.request(table, 0, count)

    assert asyncio.run(scenario()) == DATA


def test_an_answer_cut_at_every_byte_is_read_whole() -> None:
    async def scenario() -> None:
        async def cut(request: Request) -> None:
            frame = request.frame()
            request.writer.write(frame[: request.number])
            await request.writer.drain()
            await asyncio.sleep(0.002)
            request.writer.write(frame[request.number :])

        async with connected(cut) as (link, _, _):
            for _ in range(len(DATA) + 8):
                assert await link.request("holding", 0, 4) == DATA

    asyncio.run(scenario())


def test_an_answer_byte_by_byte_is_read_whole() -> None:
    async def trickle(request: Request) -> None:
        for byte in request.frame():
            request.writer.write(bytes([byte]))
            await request.writer.drain()
            await asyncio.sleep(0)

    async def scenario() -> bytes:
        async with connected(trickle) as (link, _, _):
            return await link.request("holding", 0, 4)

    assert asyncio.run(scenario()) == DATA


async def close_instead(request: Request) -> None:
    request.writer.close()


async def reset_instead(request: Request) -> None:
    sock = request.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.writer.transport.abort()


async def half_then_close(request: Request) -> None:
    request.writer.write(request.frame()[:12])
    await request.writer.drain()
    request.writer.close()


@pytest.mark.parametrize("behaviour", [close_instead, reset_instead, half_then_close])
def test_a_connection_that_breaks_fails_the_request_at_once(behaviour: Behaviour) -> None:
    loss, elapsed_s = lose(behaviour, timeout_s=10.0)
    assert loss.quality is Quality.BAD_COMM
    assert elapsed_s < 1.0


WRONG: dict[str, Callable[[Request], bytes]] = {
    "another transaction": lambda r: r.frame(transaction=(r.transaction + 1) & 0xFFFF),
    "the transaction before": lambda r: r.frame(transaction=(r.transaction - 1) & 0xFFFF),
    "another unit": lambda r: r.frame(unit=UNIT + 1),
    "another protocol": lambda r: r.frame(protocol=1),
    "another function": lambda r: r.frame(bytes([4, 8]) + DATA),
    "a write's answer": lambda r: r.frame(bytes([6, 0, 1, 0, 1])),
    "an unknown function": lambda r: r.frame(bytes([0x55, 1, 2])),
    "too few registers": lambda r: r.frame(bytes([3, 2]) + DATA[:2]),
    "too many registers": lambda r: r.frame(bytes([3, 10]) + DATA + b"\x55\x55"),
    "an odd byte count": lambda r: r.frame(bytes([3, 7]) + DATA[:7]),
    "a byte count too high": lambda r: r.frame(bytes([3, 10]) + DATA),
    "a byte count too low": lambda r: r.frame(bytes([3, 4]) + DATA),
    "no data": lambda r: r.frame(bytes([3])),
    "a length of zero": lambda r: r.frame(length=0),
    "a huge length": lambda r: r.frame(length=0xFFFF),
    "an exception of another function": lambda r: r.frame(bytes([0x84, 2])),
    "a long exception": lambda r: r.frame(bytes([0x83, 2, 0])),
    "an answer twice": lambda r: r.frame() * 2,
    "http": lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": lambda _: bytes(260),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_answer_is_never_a_value(answer: Callable[[Request], bytes]) -> None:
    async def behaviour(request: Request) -> None:
        request.writer.write(answer(request))

    loss, elapsed_s = lose(behaviour)
    assert loss.quality is Quality.BAD_COMM
    assert elapsed_s < 1.0


def test_a_flood_is_thrown_away_and_ends_in_a_timeout() -> None:
    async def flood(request: Request) -> None:
        request.writer.write(b"\xff" * 100_000)

    assert lose(flood, timeout_s=0.2)[1] < 1.0


def test_no_flipped_bit_of_a_header_gives_a_value() -> None:
    """The registers themselves carry no check sum, so only the header is flipped."""

    async def scenario() -> None:
        for position in range(9):
            for bit in range(8):
                flipped = bytearray(9)
                flipped[position] = 1 << bit

                async def behaviour(request: Request, flipped: bytes = bytes(flipped)) -> None:
                    frame = request.frame()
                    head = bytes(a ^ b for a, b in zip(frame, flipped, strict=False))
                    request.writer.write(head + frame[9:])

                async with connected(behaviour, timeout_s=0.05) as (link, _, _):
                    with pytest.raises(ConnectionLost):
                        await link.request("holding", 0, 4)

    asyncio.run(scenario())


def test_a_late_answer_is_not_taken_for_the_next() -> None:
    late: list[bytes] = []

    async def behaviour(request: Request) -> None:
        if request.number == 1:
            late.append(request.frame(bytes([3, 8]) + b"\xee" * 8))
        else:
            request.writer.write(request.frame())

    async def scenario() -> None:
        async with connected(behaviour, timeout_s=0.1) as (link, peer, _):
            with pytest.raises(ConnectionLost) as caught:
                await link.request("holding", 0, 4)
            assert caught.value.quality is Quality.BAD_TIMEOUT
            peer.writers[0].write(late[0])
            await link.open()
            for _ in range(3):
                assert await link.request("holding", 0, 4) == DATA

    asyncio.run(scenario())


def test_an_exception_is_reported_with_its_code_and_the_link_goes_on() -> None:
    async def behaviour(request: Request) -> None:
        is_first = request.number == 1
        request.writer.write(request.frame(bytes([0x83, 11])) if is_first else request.frame())

    async def scenario() -> None:
        async with connected(behaviour) as (link, _, lost):
            with pytest.raises(DeviceRefused) as caught:
                await link.request("holding", 0, 4)
            assert caught.value.code == 11
            assert await link.request("holding", 0, 4) == DATA
            assert lost == []

    asyncio.run(scenario())


def test_a_close_between_requests_is_told_at_once() -> None:
    async def scenario() -> None:
        async with connected(answer_rightly) as (link, peer, lost):
            await link.request("holding", 0, 4)
            peer.writers[0].close()
            await until(lambda: len(lost) == 1)
            with pytest.raises(ConnectionLost):
                await link.request("holding", 0, 4)

    asyncio.run(scenario())


def test_data_between_requests_ends_the_connection() -> None:
    async def scenario() -> None:
        async with connected(answer_rightly) as (link, peer, lost):
            await link.request("holding", 0, 4)
            peer.writers[0].write(b"\0\2\0\0\0\5\7\3\2\x99\x99")
            await until(lambda: len(lost) == 1)

    asyncio.run(scenario())


def test_our_own_close_is_no_loss() -> None:
    async def scenario() -> list[ConnectionLost]:
        async with connected(answer_rightly) as (link, _, lost):
            await link.request("holding", 0, 4)
            link.close()
            await asyncio.sleep(0)
            return lost

    assert asyncio.run(scenario()) == []


def test_a_refused_connection_says_so() -> None:
    async def scenario() -> None:
        async with peer_with(answer_rightly) as peer:
            port = peer.port
        with pytest.raises(ConnectionLost, match="Connection refused"):
            await Asked(Endpoint(host="127.0.0.1", port=port), [], 1.0).open()

    asyncio.run(scenario())


def test_a_host_that_does_not_answer_the_connect_is_a_timeout() -> None:
    async def scenario() -> None:
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for sock in (first, second):
                sock.setblocking(False)
                sock.connect_ex(full.getsockname())
            link = Asked(Endpoint(host="127.0.0.1", port=full.getsockname()[1]), [], 0.1)
            with pytest.raises(ConnectionLost) as caught:
                await link.open()
            assert caught.value.quality is Quality.BAD_TIMEOUT

    asyncio.run(scenario())


def test_a_cancelled_request_leaves_nothing_behind() -> None:
    async def silent_once(request: Request) -> None:
        if request.number > 1:
            request.writer.write(request.frame())

    async def link_is_usable_after_reopening(link: Asked, peer: Peer) -> bool:
        link.close()
        await link.open()
        return await link.request("holding", 0, 4) == DATA

    async def scenario() -> None:
        async with connected(silent_once) as (link, peer, _):
            task = asyncio.create_task(link.request("holding", 0, 4))
            await until(lambda: peer.requests == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await link_is_usable_after_reopening(link, peer)

    asyncio.run(scenario())


def rtu(request: Request, pdu: bytes, unit: int = UNIT) -> bytes:
    """Return a frame with the check sum worked out bit by bit, unlike pymodbus."""
    frame = bytes((unit,)) + pdu
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return frame + struct.pack("<H", crc)


@dataclass
class RtuPeer(Peer):
    """The same for frames with a check sum; every request it gets is of eight bytes."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame = await reader.readexactly(8)
                self.requests += 1
                await self.behaviour(Request(self.requests, 0, frame[1], writer))
        writer.close()


def read_rtu(answers: list[bytes], cut: int = 0) -> bytes | str:
    """Return what a link makes of these answers, or why it gave up."""

    async def scenario() -> bytes | str:
        async def behaviour(request: Request) -> None:
            for answer in answers:
                request.writer.write(answer[:cut] if cut else answer)
                if cut:
                    await request.writer.drain()
                    await asyncio.sleep(0.005)
                    request.writer.write(answer[cut:])

        peer = RtuPeer(behaviour)
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        place = Endpoint(host="127.0.0.1", port=port, framing="rtu_over_tcp")
        link = Asked(place, [], 0.3)
        try:
            await link.open()
            return await link.request("holding", 0, 4)
        except ConnectionLost as lost:
            return lost.reason
        except DeviceRefused as refused:
            return f"exception {refused.code}"
        finally:
            link.close()
            server.close()
            for writer in peer.writers:
                writer.close()

    return asyncio.run(asyncio.wait_for(scenario(), 5))


GOOD_RTU = rtu(Request(1, 0, 3, None), bytes((3, len(DATA))) + DATA)  # type: ignore[arg-type] # unused


@pytest.mark.parametrize("cut", range(len(GOOD_RTU)))
def test_a_frame_with_a_check_sum_is_read_whole_however_it_is_cut(cut: int) -> None:
    assert read_rtu([GOOD_RTU], cut) == DATA


@pytest.mark.parametrize("position", range(len(GOOD_RTU)))
def test_no_flipped_bit_of_a_frame_with_a_check_sum_gives_a_value(position: int) -> None:
    flipped = bytearray(GOOD_RTU)
    flipped[position] ^= 0x10
    assert isinstance(read_rtu([bytes(flipped)]), str)


def test_an_exception_with_a_check_sum_is_reported() -> None:
    assert read_rtu([rtu(Request(1, 0, 3, None), b"\x83\x02")]) == "exception 2"  # type: ignore[arg-type] # unused
    assert isinstance(read_rtu([GOOD_RTU, GOOD_RTU]), str)


def test_a_silent_unit_does_not_cost_a_shared_connection_and_its_late_answer_is_skipped() -> None:
    late: list[bytes] = []

    async def behaviour(request: Request) -> None:
        if request.number == 1:
            late.append(request.frame(bytes([3, 8]) + b"\xee" * 8))
        elif request.number == 2:
            request.writer.write(late[0] + request.frame())
        else:
            request.writer.write(request.frame())

    async def scenario() -> None:
        async with connected(behaviour, timeout_s=0.1) as (link, peer, lost):
            link.unit = Unit(unit_id=UNIT, timeout_s=0.1, keep_link=True)
            with pytest.raises(NoAnswer):
                await link.request("holding", 0, 4)
            link.unit = Unit(unit_id=UNIT, timeout_s=2.0, keep_link=True)
            for _ in range(3):
                assert await link.request("holding", 0, 4) == DATA
            assert (len(peer.writers), lost) == (1, [])

    asyncio.run(scenario())


def test_a_late_answer_while_nobody_asks_is_skipped_too() -> None:
    late: list[bytes] = []

    async def behaviour(request: Request) -> None:
        if request.number == 1:
            late.append(request.frame(bytes([3, 8]) + b"\xee" * 8))
        else:
            request.writer.write(request.frame())

    async def scenario() -> None:
        async with connected(behaviour) as (link, peer, lost):
            link.unit = Unit(unit_id=UNIT, timeout_s=0.1, keep_link=True)
            with pytest.raises(NoAnswer):
                await link.request("holding", 0, 4)
            peer.writers[0].write(late[0])
            await asyncio.sleep(0.02)
            link.unit = Unit(unit_id=UNIT, timeout_s=2.0, keep_link=True)
            assert await link.request("holding", 0, 4) == DATA
            assert lost == []

    asyncio.run(scenario())


def test_an_answer_of_another_unit_is_taken_only_where_that_is_allowed() -> None:
    async def other(request: Request) -> None:
        request.writer.write(request.frame(unit=UNIT + 1))

    async def scenario() -> bytes:
        async with connected(other) as (link, _, _):
            link.unit = Unit(unit_id=UNIT, timeout_s=1.0, accept_any=True)
            return await link.request("holding", 0, 4)

    assert asyncio.run(scenario()) == DATA


WRITES: dict[str, tuple[bytes, Callable[[ModbusLink, Unit], Awaitable[None]]]] = {
    "coil": (b"\x05\x00\x07\xff\x00", lambda k, u: k.write_bits(u, 7, [True], single=True)),
    "coils": (b"\x0f\x00\x07\x00\x02", lambda k, u: k.write_bits(u, 7, [True] * 2, single=False)),
    "register": (b"\x06\x00\x07\x12\x34", lambda k, u: k.write_words(u, 7, [0x1234], single=True)),
    "registers": (b"\x10\x00\x07\x00\x02", lambda k, u: k.write_words(u, 7, [1, 2], single=False)),
    "mask": (b"\x16\x00\x07\xff\xfb\x00\x04", lambda k, u: k.write_mask(u, 7, 0xFFFB, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITES)
def test_a_write_counts_only_with_its_own_echo(name: str) -> None:
    echo, write = WRITES[name]

    async def answer_with(pdu: bytes) -> ConnectionLost | None:
        writers: list[asyncio.StreamWriter] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            head = await reader.readexactly(6)
            await reader.readexactly(struct.unpack(">H", head[4:])[0])
            writer.write(head[:4] + struct.pack(">HB", 1 + len(pdu), UNIT) + pdu)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        place = Endpoint(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        link = ModbusLink(place, lambda _: None)
        await link.open(1.0)
        try:
            await write(link, Unit(unit_id=UNIT, timeout_s=1.0))
        except ConnectionLost as lost:
            return lost
        finally:
            link.close()
            server.close()
            for writer in writers:
                writer.close()
        return None

    assert asyncio.run(answer_with(echo)) is None
    for position in range(1, len(echo)):
        wrong = bytearray(echo)
        wrong[position] ^= 0x01
        lost = asyncio.run(answer_with(bytes(wrong)))
        if name != "coil" or position < 3:  # pymodbus takes any state but 0000 for on
            assert lost is not None, position
