"""The boot ledger: which starts of a collector nobody planned, and how many are too many.

supervisord restarts what outlives its ``startsecs`` at once and for ever, and the control plane may
be dead, so the collector limits itself. A start is *unplanned* when the run before it, since the
machine booted, did not end cleanly. Of these the first goes on at once, the second and the third
are held before they connect, and the fourth within ten minutes is refused.

Times are seconds of ``CLOCK_BOOTTIME`` (clock_gettime(2)) and belong to one boot id (random(4)):
setting the wall clock changes nothing here.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

from collectors.contract import wire

WINDOW_S = 600.0
HOLDS_S = (0.0, 5.0, 10.0)
"""Pause before the first, second and third unplanned start within the window."""
MAX_RESTART_ATTEMPTS = len(HOLDS_S)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)


class RunState(StrEnum):
    """How the newest run stands, or ended."""

    RUNNING = "running"
    """Still found at the next start, it says that the run did not end cleanly."""
    ENDED = "ended"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What is kept between two runs; ``unplanned_at_s`` are starts that were let through."""

    schema_version: Literal[1] = 1
    boot_id: str
    run: RunState
    unplanned_at_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The answer to one start.

    Attributes:
        ledger: What to keep while this run lasts.
        unplanned_starts: Within the window, this one included; 0 if this one is planned.
        hold_s: Connect to nothing for so long.
        is_refused: Do not connect at all.
    """

    ledger: Ledger
    unplanned_starts: int = 0
    hold_s: float = 0.0
    is_refused: bool = False


def admit(last: Ledger | None, *, boot_id: str, now_s: float) -> Admission:
    """Decide on a start at ``now_s``; ``last`` is ``None`` if nothing is known of earlier runs."""
    if last is None or last.boot_id != boot_id or last.run is RunState.QUARANTINED:
        # A machine that went down is not a collector that crashed; and supervisord never starts
        # what has ended with quarantine's exit code, so it was a person.
        return Admission(ledger=Ledger(boot_id=boot_id, run=RunState.RUNNING))
    recent = tuple(at for at in last.unplanned_at_s if now_s - at <= WINDOW_S)
    running = replace(last, run=RunState.RUNNING, unplanned_at_s=recent)
    if last.run is RunState.ENDED:
        return Admission(ledger=running)
    starts = len(recent) + 1
    if starts > MAX_RESTART_ATTEMPTS:
        return Admission(ledger=running, unplanned_starts=starts, is_refused=True)
    return Admission(
        ledger=replace(running, unplanned_at_s=(*recent, now_s)),
        unplanned_starts=starts,
        hold_s=HOLDS_S[starts - 1],
    )


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_boot_id() -> str:
    """Return the kernel's name for this boot; empty where it has none to give (some sandboxes)."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class BootLedger:
    """The ledger's file. Use it only while holding the collector's lock.

    Nothing here raises: a ledger that cannot be used is no reason not to acquire.
    """

    def __init__(
        self,
        path: Path,
        *,
        boot_id: Callable[[], str] = read_boot_id,
        now_s: Callable[[], float] = boottime_s,
    ) -> None:
        self._path = path
        self._boot_id = boot_id()
        self._now_s = now_s
        self._ledger = Ledger(boot_id=self._boot_id, run=RunState.RUNNING)

    def begin(self) -> Admission:
        """Enter this start and return what is to become of it."""
        now_s = self._now_s()
        admission = admit(self._read(now_s), boot_id=self._boot_id, now_s=now_s)
        self._write(admission.ledger)
        return admission

    def end(self) -> None:
        """Enter that this run ends cleanly: the next start is a planned one."""
        self._write(replace(self._ledger, run=RunState.ENDED))

    def quarantine(self) -> None:
        """Enter that this run, which was refused, has ended: the next start is a person's."""
        self._write(replace(self._ledger, run=RunState.QUARANTINED))

    def _read(self, now_s: float) -> Ledger | None:
        try:
            ledger = wire.decode(Ledger, self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as exc:
            self._warn("boot ledger cannot be read; counting from zero", str(exc))
            return None
        except wire.WireError as exc:
            self._warn("boot ledger is damaged; counting from zero", str(exc))
            return None
        if ledger.boot_id == self._boot_id and max(ledger.unplanned_at_s, default=0.0) > now_s:
            self._warn("boot ledger is damaged; counting from zero", "a start in the future")
            return None
        return ledger

    def _write(self, ledger: Ledger) -> None:
        self._ledger = ledger
        text = wire.encode(ledger)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(text)
        except OSError as exc:
            self._warn("boot ledger cannot be written", str(exc))

    def _replace(self, text: bytes) -> None:
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_bytes(text)
            # Without fsync: what a power cut spoils belongs to a boot that is over.
            os.replace(temporary, self._path)  # noqa: PTH105 - as the heartbeat does
        except OSError:
            # A full disk has no room for a new file, but the old one keeps its block.
            with self._path.open("r+b") as file:
                file.write(text)
                file.truncate()

    def _warn(self, event: str, reason: str) -> None:
        _log.warning(event, extra={"file": self._path, "reason": reason})
