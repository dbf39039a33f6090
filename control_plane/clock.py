"""Time, passed in where it is needed so that tests decide what time it is."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_RELATIVE = re.compile(r"-(\d{1,6})([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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


def time_of(text: str, now: datetime) -> datetime:
    """Return the time that a person means by ``now``, ``-15m`` or ``2026-01-31T08:00:00Z``.

    Raises:
        ValueError, OverflowError: none of these.
    """
    if text == "now":
        return now
    if relative := _RELATIVE.fullmatch(text):
        return now - timedelta(seconds=int(relative[1]) * _UNITS_S[relative[2]])
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
