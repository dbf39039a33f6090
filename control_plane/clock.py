"""Time, passed in where it is needed so that tests decide what time it is."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the wall clock, aware UTC; for display and storage."""

    def monotonic(self) -> float:
        """Return seconds that never jump; for ages, durations and deadlines."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
