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

    def next_delay_s(self, spent_s: float = 0.0) -> float:
        """Return the pause after one more failure.

        Args:
            spent_s: How long the attempt took. Waiting for a silent device is a pause already, so
                that from one attempt to the next it is ``max_s`` at most, but there is always some
                randomness left: ``base_s``.
        """
        # 2**32 is far beyond any max_s; without a bound the power overflows a float one day.
        ceiling_s = min(self._max_s, self._base_s * 2 ** min(self._failures, 32))
        self._failures += 1
        return self._rng.uniform(0, max(ceiling_s - spent_s, min(self._base_s, ceiling_s)))

    def connection_lived(self, seconds: float) -> None:
        """Start over after a connection that was healthy for long enough."""
        if seconds >= _HEALTHY_S:
            self._failures = 0
