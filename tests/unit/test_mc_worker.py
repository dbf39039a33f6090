"""One thread for each PLC: calls in order, errors to the caller, and a quick end."""

import asyncio
import threading
import time

import pytest

from collectors.mitsubishi_mc.worker import Worker


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def ends(name: str) -> bool:
    deadline = time.monotonic() + 5
    while name in threads() and time.monotonic() < deadline:
        time.sleep(0.001)
    return name not in threads()


def test_calls_run_in_one_thread_and_in_order() -> None:
    async def run() -> None:
        worker = Worker("mc-order")
        seen: list[tuple[int, int]] = []

        def note(number: int) -> int:
            seen.append((number, threading.get_ident()))
            return -number

        results = await asyncio.gather(*(worker.call(note, number) for number in range(50)))
        assert results == [-number for number in range(50)]
        assert [number for number, _ in seen] == list(range(50))
        assert len({ident for _, ident in seen}) == 1
        assert seen[0][1] != threading.get_ident()
        worker.end(lambda: None)

    asyncio.run(run())
    assert ends("mc-order")


def test_an_error_is_the_callers() -> None:
    async def run() -> None:
        worker = Worker("mc-error")
        for error in (OSError("broken"), TimeoutError("late"), SystemExit(3)):

            def fail(error: BaseException = error) -> None:
                raise error

            with pytest.raises(type(error)) as caught:
                await worker.call(fail)
            assert caught.value is error
        worker.end(lambda: None)

    asyncio.run(run())
    assert ends("mc-error")


def test_a_call_that_nobody_waits_for_any_more_does_no_harm() -> None:
    release = threading.Event()

    async def run() -> None:
        worker = Worker("mc-cancelled")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.call(release.wait, 5), 0.05)
        release.set()
        assert await worker.call(lambda: 7) == 7
        worker.end(lambda: None)

    asyncio.run(run())
    assert ends("mc-cancelled")


def test_a_loop_that_has_ended_is_not_told() -> None:
    release = threading.Event()
    ended: list[bool] = []
    worker = Worker("mc-late")

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.call(release.wait, 5), 0.01)

    asyncio.run(run())
    release.set()
    worker.end(lambda: ended.append(True))
    assert ends("mc-late")
    assert ended == [True]


def test_a_hung_call_does_not_keep_the_process() -> None:
    """Only a thread that is no daemon does."""
    release = threading.Event()

    async def run() -> None:
        worker = Worker("mc-hung")
        call = asyncio.ensure_future(worker.call(release.wait, 5))
        await asyncio.sleep(0)
        hung = next(thread for thread in threading.enumerate() if thread.name == "mc-hung")
        assert hung.daemon
        release.set()
        assert await call
        worker.end(lambda: None)

    asyncio.run(run())
    assert ends("mc-hung")
