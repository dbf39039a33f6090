"""Names that nobody can look up, beside names that everybody can."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from collectors.mitsubishi_mc.frames import Access, Coding
from collectors.mitsubishi_mc.guard import GuardedType3E
from collectors.runtime.names import NamesLoop


class SlowNames(NamesLoop):
    """A loop whose name server does not answer for ``hung`` until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = threading.Event()
        self.asked: list[str] = []
        self.two: list[tuple[object, ...]] = []
        """The addresses of ``two``."""

    def resolve(self, host: str, *rest: object) -> object:  # type: ignore[override] # a spy
        self.asked.append(host)
        if host == "two":
            return self.two
        if host == "hung":
            self.answer.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return socket.getaddrinfo(host, *rest)  # type: ignore[arg-type] # as given


@pytest.fixture
def loop() -> Iterator[SlowNames]:
    loop = SlowNames()
    yield loop
    loop.answer.set()
    loop.close()


async def connect(host: str, port: int, timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()
    await writer.wait_closed()


def test_a_name_that_hangs_is_asked_once_and_delays_no_other(loop: SlowNames) -> None:
    async def scenario() -> float:
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        hung = [asyncio.create_task(connect("hung", 1, 0.3)) for _ in range(50)]
        await asyncio.sleep(0)
        started = time.monotonic()
        await connect("localhost", port, 5)
        await asyncio.to_thread(time.monotonic)
        took_s = time.monotonic() - started
        results = await asyncio.gather(*hung, return_exceptions=True)
        assert {type(result) for result in results} == {TimeoutError}
        with pytest.raises(TimeoutError):
            await connect("hung", 1, 0.05)
        server.close()
        return took_s

    assert loop.run_until_complete(scenario()) < 0.25
    assert loop.asked.count("hung") == 1


def test_a_name_that_is_unknown_says_so_and_is_asked_again_the_next_time(loop: SlowNames) -> None:
    loop.answer.set()

    async def scenario() -> None:
        for _ in range(2):
            with pytest.raises(socket.gaierror, match="Temporary failure"):
                await connect("hung", 1, 5)

    loop.run_until_complete(scenario())
    assert loop.asked.count("hung") == 2


def test_a_machine_without_threads_to_spare_fails_one_attempt_only(
    loop: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(OSError, match="can't start new thread"):
                await loop.getaddrinfo("localhost", 1)
        assert await asyncio.wait_for(loop.getaddrinfo("localhost", 1), 5)

    loop.run_until_complete(scenario())


def test_a_text_that_is_no_name_is_an_error_of_the_connection(loop: SlowNames) -> None:
    async def scenario() -> None:
        with pytest.raises(OSError, match="no host name"):
            await connect("a" * 64 + ".example", 1, 5)

    loop.run_until_complete(scenario())


def addresses_of(*ports: int) -> list[tuple[object, ...]]:
    return [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
        for port in ports
    ]


def test_an_address_that_says_nothing_does_not_use_up_the_time_for_the_next(
    loop: SlowNames,
) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        with full_port() as hole:
            loop.two = addresses_of(hole, server.sockets[0].getsockname()[1])
            await connect("two", 1, 0.9)
        server.close()

    loop.run_until_complete(scenario())


def test_a_plc_too_is_found_at_its_second_address() -> None:
    with full_port() as hole, socket.create_server(("127.0.0.1", 0)) as plc:
        addresses = addresses_of(hole, plc.getsockname()[1])
        client = GuardedType3E(Access(coding=Coding("Q", "binary"), timeout_s=0.8))
        client.connect_to(addresses)
        assert client.fileno() >= 0
        client.close()


@contextmanager
def full_port() -> Iterator[int]:
    """A port that leaves every connection attempt unanswered: its queue is full."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def test_the_end_of_the_loop_does_not_wait_for_a_name(loop: SlowNames) -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await connect("hung", 1, 0.05)

    started = time.monotonic()
    loop.run_until_complete(scenario())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert time.monotonic() - started < 5
