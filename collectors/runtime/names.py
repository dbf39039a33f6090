"""An event loop in which a name or an address that leads nowhere holds up nobody else.

asyncio looks names up in a pool of a few threads, and a name server that is away keeps each of them
for half a minute. A few dead devices that are tried again each second would then keep all others
from connecting, and the spool, which uses the same pool, from being written.

And it tries the addresses of a name one after the other: where the first one says nothing, such as
an IPv6 address in a network without IPv6, the time is up before the second one is asked.
"""

import asyncio
import contextlib
import errno
import socket
import threading
from typing import Any

_Key = tuple[Any, ...]
_NEXT_ADDRESS_S = 0.25
"""RFC 8305, 5: "Connection Attempt Delay"."""


class NamesLoop(asyncio.SelectorEventLoop):
    """Looks each name up in a thread of its own, only once at a time, and tries all it finds."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[_Key, asyncio.Future[Any]] = {}

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("sock") is None:
            kwargs.setdefault("happy_eyeballs_delay", _NEXT_ADDRESS_S)
        return await super().create_connection(*args, **kwargs)

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        key = (host, port, family, type, proto, flags)
        pending = self._lookups.get(key)
        if pending is None:
            pending = self.create_future()
            thread = threading.Thread(
                target=self._look_up, args=(key,), name=f"name {host!r}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as exc:
                # Too many threads on this machine now; the next attempt is another one.
                raise OSError(errno.EAGAIN, str(exc)) from exc
            self._lookups[key] = pending
        # Whoever waits no longer leaves the lookup to those who still do.
        found = await asyncio.shield(pending)
        if isinstance(found, OSError):
            raise found
        return found

    def _look_up(self, key: _Key) -> None:
        outcome: Any
        try:
            outcome = self.resolve(*key)
        except OSError as exc:
            outcome = exc
        except UnicodeError as exc:
            outcome = OSError(f"{key[0]!r} is no host name: {exc}")
        # A loop that has ended waits for nothing.
        with contextlib.suppress(RuntimeError):
            self.call_soon_threadsafe(self._settle, key, outcome)

    def _settle(self, key: _Key, outcome: Any) -> None:
        self._lookups.pop(key).set_result(outcome)

    resolve = staticmethod(socket.getaddrinfo)
