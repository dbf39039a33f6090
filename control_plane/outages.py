"""What fails again and again is said once, and once more when it works again."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_FORGOTTEN_S: Final = 600.0
"""A failure so long after the one before is a new outage: nobody tried in between."""


@dataclass(slots=True)
class _Outage:
    since_mono: float
    newest_mono: float
    failures: int = 0
    places: set[str] = field(default_factory=set)


class Outages:
    """Writes one line to ``log`` at an outage and one at its end; usable from any thread."""

    def __init__(
        self, log: logging.Logger, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._open: dict[str, _Outage] = {}

    def failed(
        self,
        what: str,
        where: str,
        message: str,
        exc_info: BaseException | None = None,
        **facts: object,
    ) -> None:
        """Note that ``what`` failed at a place; said if it is new, with its traceback if given."""
        mono = self._monotonic()
        with self._lock:
            outage = self._open.get(what)
            is_new = outage is None or mono - outage.newest_mono > _FORGOTTEN_S
            if outage is None or is_new:
                outage = self._open[what] = _Outage(mono, mono)
            outage.failures += 1
            outage.newest_mono = mono
            outage.places.add(where)
        level = logging.ERROR if exc_info is not None else logging.WARNING
        self._log.log(
            level if is_new else logging.DEBUG,
            message,
            exc_info=exc_info if is_new else None,
            extra={"what": what, **facts},
        )

    def works(self, where: str) -> None:
        """Note that a place works; that ends whatever failed there. Cheap when nothing did."""
        if not self._open:
            return
        with self._lock:
            ended = {what: each for what, each in self._open.items() if where in each.places}
            for what in ended:
                del self._open[what]
        for what, outage in ended.items():
            facts = {
                "what": what,
                "lasted_s": round(self._monotonic() - outage.since_mono, 1),
                "failures": outage.failures,
            }
            self._log.info("works again", extra=facts)
