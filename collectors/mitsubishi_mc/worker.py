"""One thread that runs one blocking call after the other for an event loop.

A thread pool does the same at twice the cost, and a call of it that hangs, in a name lookup say,
keeps the process from ending.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


class Worker:
    """Runs calls from the first one until :meth:`end`."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run ``function`` in the thread and return or raise what it does."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def run() -> None:
            settle: Callable[[Any], None]
            outcome: Any
            try:
                settle, outcome = future.set_result, function(*arguments)
            except BaseException as exc:  # noqa: BLE001 - it is the caller's
                settle, outcome = future.set_exception, exc
            # A loop that has ended waits for nothing.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, future, settle, outcome)

        self._submit(run)
        return await future

    def end(self, function: Callable[[], None]) -> None:
        """Run ``function`` after the calls under way, then let the thread end; does not wait."""
        self._submit(function)
        self._calls.put(None)

    def _submit(self, run: Callable[[], None]) -> None:
        if self._thread.ident is None:
            self._thread.start()
        self._calls.put(run)

    def _run(self) -> None:
        while (run := self._calls.get()) is not None:
            run()


def _settle(future: "asyncio.Future[Any]", settle: Callable[[Any], None], outcome: Any) -> None:
    if not future.done():
        settle(outcome)
