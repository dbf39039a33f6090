"""Limits sign-in attempts before any hashing.

Counted are the failures of a user name from one address, and those of an address with whatever
name. A name alone is not locked: anybody could then keep its owner out.
"""

import threading
from collections.abc import Callable

from control_plane.errors import RateLimited

_FREE_OF_PAIR = 5
_FREE_OF_ADDRESS = 20
_FIRST_WAIT_S = 5.0
_LONGEST_WAIT_S = 900.0
_FORGET_AFTER_S = 1800.0
_MAX_KEYS = 10_000

_Key = tuple[str | None, str]


class SignInAttempts:
    """After five failures (an address: twenty) each further one doubles the wait, up to 15 min."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # Ordered by the last failure, so that the first entry is the one to forget.
        self._failures: dict[_Key, tuple[int, float]] = {}

    def begin(self, user: str, address: str) -> None:
        """Count an attempt as failed until it has succeeded.

        Counted beforehand, so that many guesses at once are not all free.

        Raises:
            RateLimited: this user at this address, or this address, has to wait.
        """
        now = self._monotonic()
        with self._lock:
            wait_s = max(
                self._wait_s((user, address), _FREE_OF_PAIR, now),
                self._wait_s((None, address), _FREE_OF_ADDRESS, now),
            )
            if wait_s > 0:
                raise RateLimited(retry_after_s=max(1, round(wait_s)))
            self._add((user, address), now)
            self._add((None, address), now)

    def succeeded(self, user: str, address: str) -> None:
        """Forget the user's failures at this address; those with other names stay counted."""
        with self._lock:
            own, _ = self._failures.pop((user, address), (0, 0.0))
            count, last = self._failures.get((None, address), (0, 0.0))
            if count > own:
                self._failures[None, address] = (count - own, last)
            else:
                self._failures.pop((None, address), None)

    def _add(self, key: _Key, now: float) -> None:
        count, last = self._failures.pop(key, (0, now))
        self._failures[key] = (1 if now - last > _FORGET_AFTER_S else count + 1, now)
        while len(self._failures) > _MAX_KEYS:
            del self._failures[next(iter(self._failures))]

    def _wait_s(self, key: _Key, free: int, now: float) -> float:
        count, last = self._failures.get(key, (0, now))
        if count < free or now - last > _FORGET_AFTER_S:
            return 0.0
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(count - free, 20))
        return float(last + wait_s - now)
