"""How long to wait before the next connection attempt."""

import random

_HEALTHY_S = 60.0
"""A connection that lived this long proves that the trouble before it is over."""


class Backoff:
    """Full-jitter exponential back-off: a random share of ``base_s · 2ⁿ``, at most ``max_s``.

    The randomness keeps many collectors from storming a gateway that has just come back
    (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    def __init__(self, base_s: float, max_s: float, rng: random.Random | None = None) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._rng = rng or random.Random()
        self._failures = 0

    def next_delay_s(self) -> float:
        """Return the pause after one more failure."""
        # 2**32 is far beyond any max_s; without a bound the power overflows a float one day.
        ceiling_s = min(self._max_s, self._base_s * 2 ** min(self._failures, 32))
        self._failures += 1
        return self._rng.uniform(0, ceiling_s)

    def connection_lived(self, seconds: float) -> None:
        """Start over after a connection that was healthy for long enough."""
        if seconds >= _HEALTHY_S:
            self._failures = 0
