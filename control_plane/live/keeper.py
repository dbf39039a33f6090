"""Looks after those who listen, in a thread that may wait for a database: whether they still may
(a session ends, a token is revoked, a role changes), and who misbehaved."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from control_plane.live.connection import Connection, Visitor
from control_plane.live.limits import CLOSE_INTERNAL_ERROR
from control_plane.live.seats import Seats

log = logging.getLogger(__name__)

OnOffence = Callable[[Visitor, str, float | None], None]
"""Told who, what for, and for how many seconds this visitor is kept out, if so."""

Offence = tuple[Visitor, str, float | None]

_MAX_UNKNOWN: Final = 3
"""So many looks in a row may fail before nobody listens on unproven."""
_MAX_OFFENCES_WAITING: Final = 1000


class Dismisses(Protocol):
    """Whoever owns the connections."""

    def connections(self) -> list[Connection]: ...
    def post(self, call: Callable[..., None], *args: object) -> None: ...
    def dismiss(self, connection: Connection, code: int) -> None: ...


class Keeper:
    """Asks each distinct session and token once a round, and has those closed that ended."""

    def __init__(self, owner: Dismisses, seats: Seats, every_s: float) -> None:
        self.on_offence: OnOffence = lambda _visitor, _reason, _banned_s: None
        self._owner = owner
        self._seats = seats
        self._every_s = every_s
        self._unknown: dict[str, int] = {}
        """How often in a row a credential could not be judged."""
        self._offences: queue.Queue[Offence | None] = queue.Queue(_MAX_OFFENCES_WAITING)
        self._thread = threading.Thread(target=self._run, name="live-keeper")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Note what is left, and end."""
        if self._thread.ident is not None:
            self._offences.put(None)
            self._thread.join()

    def note_offence(self, connection: Connection) -> None:
        """Count it at once, so that a ban holds at once; telling of it may take its time."""
        banned_s = self._seats.note_offence(connection.visitor)
        try:
            self._offences.put_nowait((connection.visitor, connection.close_reason, banned_s))
        except queue.Full:
            log.warning("live offences are noted too slowly")

    def look(self) -> None:
        """Judge everybody once."""
        by_credential: dict[str, list[Connection]] = {}
        for connection in self._owner.connections():
            by_credential.setdefault(connection.visitor.credential, []).append(connection)
        self._unknown = {key: n for key, n in self._unknown.items() if key in by_credential}
        for credential, connections in by_credential.items():
            code = self._judge(credential, connections[0].visitor)
            for connection in connections if code is not None else ():
                self._owner.post(self._owner.dismiss, connection, code)

    def _run(self) -> None:
        look_mono = time.monotonic() + self._every_s
        while True:
            try:
                offence = self._offences.get(timeout=max(0.0, look_mono - time.monotonic()))
                if offence is None:
                    return
                self._note(offence)
            except queue.Empty:
                pass
            if time.monotonic() >= look_mono:
                look_mono = time.monotonic() + self._every_s
                self.look()

    def _judge(self, credential: str, visitor: Visitor) -> int | None:
        try:
            code = visitor.verdict()
        except Exception:
            unknown = self._unknown[credential] = self._unknown.get(credential, 0) + 1
            if unknown < _MAX_UNKNOWN:
                return None
            log.exception("live connection failed", extra={"user": visitor.user})
            return CLOSE_INTERNAL_ERROR
        self._unknown.pop(credential, None)
        return code

    def _note(self, offence: Offence) -> None:
        try:
            self.on_offence(*offence)
        except Exception:
            # It is still refused; only the note of it is missing.
            log.exception("a live offence cannot be noted", extra={"user": offence[0].user})
