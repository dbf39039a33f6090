"""Logs what stops working when it changes, not each time it is tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """What does not work now, and since when."""

    reason: str
    since_mono: float


class Troubles:
    """What does not work now, by event; ``facts`` are in every line that is logged."""

    def __init__(
        self, facts: Mapping[str, object], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._facts = facts
        self._monotonic = monotonic
        self._known: dict[str, _Trouble] = {}

    @property
    def first(self) -> str | None:
        """The reason of the trouble that has lasted longest."""
        return next((trouble.reason for trouble in self._known.values()), None)

    def note(self, event: str, exc: Exception) -> None:
        """Log ``event`` if it or its reason is new."""
        known = self._known.get(event)
        reason = reason_of(exc)
        if known is None or known.reason != reason:
            since_mono = self._monotonic() if known is None else known.since_mono
            self._known[event] = _Trouble(reason=reason, since_mono=since_mono)
            _log.error(event, extra={**self._facts, "reason": reason}, exc_info=exc)

    def over(self, event: str) -> None:
        """Log that ``event`` has ended, if it had begun."""
        trouble = self._known.pop(event, None)
        if trouble is not None:
            duration_s = round(self._monotonic() - trouble.since_mono, 1)
            _log.info(
                "trouble is over",
                extra={**self._facts, "trouble": event, "duration_s": duration_s},
            )

    @contextmanager
    def noting(self, event: str, *errors: type[Exception]) -> Iterator[None]:
        """Note ``errors`` of the body instead of raising them."""
        try:
            yield
        except errors as exc:
            self.note(event, exc)
        else:
            self.over(event)


def reason_of(exc: Exception) -> str:
    """Return the error in one line."""
    return f"{type(exc).__name__}: {exc}"
