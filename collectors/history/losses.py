"""What a spool could not keep: counted, told once in the log, and left in the spool for readers.

A loss is written in front of the next record that can be kept, as samples, their times and the
reason, so every store learns of it in order. Nothing is lost twice: if that record is dropped
itself before a store has read it, its losses are carried on.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from collectors.history.clocks import Clocks

_log = logging.getLogger(__name__)

_FORMAT = 3
_HEAD = struct.Struct("=BI")

SIZE = "size"
"""Dropped as the oldest, for the bound in bytes or a full disk."""
AGE = "age"
DISK = "disk"
"""Came while nothing could be written."""
FULL = "full"
"""Came while the spool was full and was to keep what it had."""
VALUE = "value"
"""Have no place in a spool: a number of more than 64 bits, a text that is no Unicode."""
DELETED = "deleted"
"""Were in a segment that somebody else has deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Samples that are lost; times are when they were put, ns since the Unix epoch."""

    reason: str
    samples: int
    first_ns: int
    last_ns: int

    def joined_with(self, other: Loss) -> Loss:
        """Return both as one, of the same reason."""
        return Loss(
            reason=self.reason,
            samples=self.samples + other.samples,
            first_ns=min(self.first_ns, other.first_ns),
            last_ns=max(self.last_ns, other.last_ns),
        )


def with_losses(body: bytes, losses: Iterable[Loss]) -> bytes:
    """Return the body of a record with losses in front of its samples."""
    told = json.dumps([asdict(loss) for loss in losses]).encode()
    return _HEAD.pack(_FORMAT, len(told)) + told + body


def split_losses(body: bytes) -> tuple[tuple[Loss, ...], bytes]:
    """Return the losses in front of a body, and the body without them.

    Raises:
        ValueError: the losses are damaged.
    """
    if body[:1] != bytes((_FORMAT,)):
        return (), body
    try:
        end = _HEAD.size + _HEAD.unpack_from(body)[1]
        found = json.loads(body[_HEAD.size : end])
        return tuple(Loss(**loss) for loss in found), body[end:]
    except (struct.error, TypeError, ValueError) as exc:
        raise ValueError(f"damaged losses: {exc}") from exc


class Losses:
    """Counts what is lost, for the thread of the spool's writer.

    Attributes:
        samples: Lost since the process started.
    """

    def __init__(self, facts: dict[str, str | int], clocks: Clocks) -> None:
        self._facts = facts
        self._wall_ns, self._monotonic = clocks.wall_ns, clocks.monotonic
        self._untold: dict[str, Loss] = {}
        self._failing: tuple[float, Loss] | None = None
        self.samples = 0

    def untold(self) -> tuple[Loss, ...]:
        """Return what is not in the spool yet, one loss for each reason."""
        return tuple(self._untold.values())

    def told(self) -> None:
        """The losses are in the spool now."""
        self._untold.clear()

    def carry(self, losses: Iterable[Loss]) -> None:
        """Tell again what was counted before, as the record that told it is lost."""
        for loss in losses:
            known = self._untold.get(loss.reason)
            self._untold[loss.reason] = known.joined_with(loss) if known else loss

    def add(self, reason: str, samples: int) -> None:
        """Count samples that are lost now."""
        now_ns = self._wall_ns()
        self._add(Loss(reason=reason, samples=samples, first_ns=now_ns, last_ns=now_ns))

    def dropped(self, loss: Loss) -> None:
        """Count and log samples that had to make room."""
        self._add(loss)
        _log.error(
            "spool is full; dropped its oldest samples",
            extra=self._facts | {"bound": loss.reason} | _told(loss),
        )

    def deleted(self, samples: int) -> None:
        """Count and log samples whose segment somebody else has deleted."""
        self.add(DELETED, samples)
        facts = self._facts | {"samples": samples}
        _log.error("the segment being written has been deleted", extra=facts)

    def failed(self, exc: OSError, reason: str, samples: int) -> None:
        """Count samples that could not be written; log the first."""
        now_ns = self._wall_ns()
        loss = Loss(reason=reason, samples=samples, first_ns=now_ns, last_ns=now_ns)
        if samples:
            self._add(loss)
        if self._failing is None:
            self._failing = (self._monotonic(), loss)
            facts = self._facts | {"reason": str(exc)}
            _log.error("spool cannot be written; samples are lost", extra=facts)
        else:
            since_mono, known = self._failing
            self._failing = (since_mono, known.joined_with(loss))

    def recovered(self) -> None:
        """Log that writing works again, if it did not."""
        if self._failing is None:
            return
        (since_mono, loss), self._failing = self._failing, None
        duration_s = round(self._monotonic() - since_mono, 1)
        facts = self._facts | _told(loss) | {"duration_s": duration_s}
        _log.info("spool can be written again", extra=facts)

    def _add(self, loss: Loss) -> None:
        self.samples += loss.samples
        self.carry([loss])


def _told(loss: Loss) -> dict[str, str | int]:
    return {"samples": loss.samples, "from": _utc(loss.first_ns), "to": _utc(loss.last_ns)}


def _utc(wall_ns: int) -> str:
    at = datetime.fromtimestamp(wall_ns / 1e9, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
