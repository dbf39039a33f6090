"""The two clocks of a process, together, so that a test can move them."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """``wall_ns`` is ns since the Unix epoch and can step; ``monotonic`` is for durations, in s."""

    wall_ns: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic


SYSTEM = Clocks()
