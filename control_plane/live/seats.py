"""Who may connect: so many at once, of them so many of one user and one address, and for a while
nobody who was sent away again and again for what no honest client does."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from control_plane.errors import ClientBanned, TooManyClients, TooManyConnections
from control_plane.live.connection import Visitor

OFFENCES: Final = 3
"""So many within ``WINDOW_S`` earn a ban."""
WINDOW_S: Final = 60.0
BAN_S: Final = 60.0
_MAX_KNOWN: Final = 1000

_Who = tuple[str, str]
"""User and address: nobody can have another user banned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatLimits:
    """How many may listen at once."""

    clients: int
    per_user: int
    per_address: int


@dataclass(slots=True)
class _Record:
    offences: deque[float]
    banned_until_mono: float = 0.0


class Seats:
    """Usable from any thread."""

    def __init__(self, limits: SeatLimits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._taken: set[Visitor] = set()
        self._users: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._records: dict[_Who, _Record] = {}
        self._closed = False
        self.bans = 0
        """Since the start."""

    def __len__(self) -> int:
        return len(self._taken)

    def close(self) -> None:
        """Give no more seats; does not take the lock, for a signal handler may interrupt who has
        it."""
        self._closed = True

    def take(self, visitor: Visitor) -> None:
        """Keep a place for ``visitor`` until :meth:`leave`.

        Raises:
            TooManyClients: all are taken, or the hub is shutting down.
            TooManyConnections: this user or address has as many as one may have.
            ClientBanned: sent away too often lately.
        """
        limits = self._limits
        with self._lock:
            if self._closed or len(self._taken) >= limits.clients:
                raise TooManyClients(limit=limits.clients)
            self._refuse_banned(visitor)
            if self._users[visitor.user] >= limits.per_user:
                raise TooManyConnections(limit=limits.per_user, retry_after_s=5)
            if self._addresses[visitor.address] >= limits.per_address:
                raise TooManyConnections(limit=limits.per_address, retry_after_s=5)
            self._taken.add(visitor)
            self._users[visitor.user] += 1
            self._addresses[visitor.address] += 1

    def leave(self, visitor: Visitor) -> None:
        with self._lock:
            if visitor in self._taken:
                self._taken.discard(visitor)
                _count_down(self._users, visitor.user)
                _count_down(self._addresses, visitor.address)

    def banned(self) -> list[str]:
        """Return the addresses from which somebody is kept out now."""
        now = self._monotonic()
        with self._lock:
            found = {who[1] for who, r in self._records.items() if r.banned_until_mono > now}
        return sorted(found)

    def note_offence(self, visitor: Visitor) -> float | None:
        """Count one; return for how many seconds that earns a ban, if it does."""
        now, who = self._monotonic(), (visitor.user, visitor.address)
        with self._lock:
            record = self._records.pop(who, None) or _Record(deque(maxlen=OFFENCES))
            self._records[who] = record
            if len(self._records) > _MAX_KNOWN:
                del self._records[next(iter(self._records))]
            record.offences.append(now)
            if len(record.offences) < OFFENCES or now - record.offences[0] > WINDOW_S:
                return None
            record.offences.clear()
            record.banned_until_mono = now + BAN_S
            self.bans += 1
            return BAN_S

    def _refuse_banned(self, visitor: Visitor) -> None:
        record = self._records.get((visitor.user, visitor.address))
        left_s = record.banned_until_mono - self._monotonic() if record else 0.0
        if left_s > 0:
            raise ClientBanned(retry_after_s=max(1, round(left_s)))


def _count_down(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
