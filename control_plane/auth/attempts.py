"""Limits sign-in attempts, for each account and for each address, before any hashing."""

import threading
from collections.abc import Callable

from control_plane.errors import RateLimited

_FREE_ATTEMPTS = 5
_FIRST_WAIT_S = 5.0
_LONGEST_WAIT_S = 900.0
_FORGET_AFTER_S = 1800.0
_MAX_KEYS = 10_000


class SignInAttempts:
    """After five failures each further one doubles the wait, up to 15 minutes."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}

    def check(self, *keys: str) -> None:
        """Raise RateLimited while any of ``keys`` has to wait."""
        now = self._monotonic()
        with self._lock:
            wait_s = max(self._wait_s(key, now) for key in keys)
        if wait_s > 0:
            raise RateLimited(retry_after_s=max(1, round(wait_s)))

    def failed(self, *keys: str) -> None:
        """Count a failure."""
        now = self._monotonic()
        with self._lock:
            if len(self._failures) > _MAX_KEYS:
                self._forget(now)
            for key in keys:
                self._failures[key] = (self._failures.get(key, (0, now))[0] + 1, now)

    def succeeded(self, *keys: str) -> None:
        """Forget the failures of ``keys``."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)

    def _wait_s(self, key: str, now: float) -> float:
        count, last = self._failures.get(key, (0, now))
        if count < _FREE_ATTEMPTS or now - last > _FORGET_AFTER_S:
            return 0.0
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(count - _FREE_ATTEMPTS, 20))
        return float(last + wait_s - now)

    def _forget(self, now: float) -> None:
        self._failures = {
            key: (count, last)
            for key, (count, last) in self._failures.items()
            if now - last <= _FORGET_AFTER_S
        }
