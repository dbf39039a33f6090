"""Whether a device answers, since when it does not, and what is told of that."""

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from collectors.runtime.driver import ConnectionLost, NoAnswer, Traffic

PARKED_AFTER = 3
"""So many requests without an answer in a row, and a unit behind a gateway is asked rarely."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class DeviceState:
    """What the heartbeat tells of one device. Counters run since the process started.

    Attributes:
        place: Among the devices of this process, in the order in which they were started first.
    """

    place: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    is_connected: bool = False
    since: datetime | None = None
    last_connect_time: datetime | None = None
    connects: int = 0
    connection_errors: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None
    next_attempt_mono: float | None = None
    is_parked: bool = False
    late_cycles: int = 0
    skipped_cycles: int = 0


class Reachability:
    """Keeps the part of a device's state that says whether it answers; logs what changes."""

    def __init__(self, device_id: str, state: DeviceState) -> None:
        self._device_id = device_id
        self._state = state
        self._lost_mono: float | None = None
        self._failures = 0
        self._silences = 0
        self._has_answered = False

    @property
    def is_out(self) -> bool:
        """Tell whether there has been no answer since a loss."""
        return self._lost_mono is not None

    def note_answer(self) -> bool:
        """Take an answer. Only that ends an outage: some gateways accept every connection.

        Returns:
            Whether it is the first one of a connection.
        """
        if self._has_answered:
            return False
        self._has_answered = True
        self._silences = 0
        self._state.is_parked = False
        facts: dict[str, object] = {"device": self._device_id}
        if self._lost_mono is not None:
            outage_s = time.monotonic() - self._lost_mono
            facts |= {"outage_s": round(outage_s, 3), "failures": self._failures}
        _log.info("device answers", extra=facts)
        self._failures, self._lost_mono = 0, None
        return True

    def note_lost(self, lost: ConnectionLost) -> None:
        """Take a loss, or another one of the same outage."""
        self._has_answered = False
        self._failures += 1
        self._silences = self._silences + 1 if isinstance(lost, NoAnswer) else 0
        self._note_parked()
        self._state.connection_errors += 1
        self._state.last_error = lost.reason
        self._state.last_error_at = datetime.now(UTC)
        if self._lost_mono is None:
            self._lost_mono = time.monotonic()
        _log.log(
            logging.WARNING if self._failures == 1 else logging.DEBUG,
            "connection lost" if self._state.is_connected else "device cannot be reached",
            extra={"device": self._device_id, "reason": lost.reason, "failures": self._failures},
        )

    def _note_parked(self) -> None:
        is_parked = self._silences >= PARKED_AFTER
        if is_parked and not self._state.is_parked:
            facts = {"device": self._device_id, "silences": self._silences}
            _log.warning("silent unit is parked", extra=facts)
        self._state.is_parked = is_parked
