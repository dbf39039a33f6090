"""Looks now and then whether those who listen still may: their session may have ended, their
token been revoked, their role changed. In a thread of its own, because a database can be slow."""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final

from control_plane.live.connection import Connection
from control_plane.live.limits import CLOSE_INTERNAL_ERROR

log = logging.getLogger(__name__)

_MAX_UNKNOWN: Final = 3
"""So many looks in a row may fail before nobody listens on unproven."""


class Keeper:
    """Asks each distinct session and token once a round, and has those closed that ended."""

    def __init__(
        self,
        connections: Callable[[], Iterable[Connection]],
        close: Callable[[Connection, int], None],
        every_s: float,
    ) -> None:
        self._connections = connections
        self._close = close
        self._every_s = every_s
        self._unknown: dict[str, int] = {}
        """How often in a row a credential could not be judged."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-keeper")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Judge everybody once."""
        by_credential: dict[str, list[Connection]] = {}
        for connection in self._connections():
            by_credential.setdefault(connection.visitor.credential, []).append(connection)
        self._unknown = {key: n for key, n in self._unknown.items() if key in by_credential}
        for credential, connections in by_credential.items():
            code = self._judge(credential, connections[0])
            if code is not None:
                for connection in connections:
                    self._close(connection, code)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.look()

    def _judge(self, credential: str, connection: Connection) -> int | None:
        try:
            code = connection.visitor.verdict()
        except Exception:
            unknown = self._unknown[credential] = self._unknown.get(credential, 0) + 1
            if unknown < _MAX_UNKNOWN:
                return None
            log.exception("live connection failed", extra={"user": connection.visitor.user})
            return CLOSE_INTERNAL_ERROR
        self._unknown.pop(credential, None)
        return code
