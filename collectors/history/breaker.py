"""How long to leave alone what has just failed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LONGEST_OBEYED_S = 300.0
"""A store may ask for a longer pause than ours, but not for days."""
_MOST_DOUBLINGS = 10


class Breaker:
    """Closed while all is well; each failure opens it for a longer, random pause; for one thread.

    After the pause one attempt is allowed: its success closes the breaker, its failure opens it
    again. The pause is random between nothing and twice the one before ("full jitter"), so that
    many who lost one server do not all come back to it at the same moment.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._monotonic = monotonic
        self._rng = rng or random.Random()
        self._failures = 0
        self._until_mono = 0.0

    @property
    def is_open(self) -> bool:
        """The last attempt has failed."""
        return self._failures > 0

    @property
    def is_due(self) -> bool:
        """An attempt is allowed now."""
        return not self.is_open or self._monotonic() >= self._until_mono

    def pause_s(self) -> float:
        """Return how long no attempt is allowed yet."""
        return max(0.0, self._until_mono - self._monotonic()) if self.is_open else 0.0

    def failed(self, retry_after_s: float | None = None) -> None:
        """Open, for at least ``retry_after_s``."""
        longest_s = min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
        asked_s = min(retry_after_s or 0.0, LONGEST_OBEYED_S)
        self._failures = min(self._failures + 1, _MOST_DOUBLINGS)
        self._until_mono = self._monotonic() + asked_s + self._rng.uniform(0.0, longest_s)

    def succeeded(self) -> None:
        self._failures = 0
