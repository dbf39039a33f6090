"""What the runner and its device tasks know of themselves, for the heartbeat."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from collectors.contract.columns import Columns
from collectors.contract.commands import OUTCOMES_KEPT, CommandOutcome
from collectors.contract.config_types import AnyCollector
from collectors.contract.heartbeat import ReloadOutcome, SpoolStatus
from collectors.contract.points import Quality
from collectors.runtime.device import DeviceTask
from collectors.runtime.packed_config import PackedConfig
from collectors.runtime.timing import Punctuality

_WINDOW_S = 10.0
_PROBE_S = 0.1
_STATM = Path("/proc/self/statm")


@dataclass(slots=True)
class Totals:
    """Readings since the process started."""

    samples: int = 0
    good_samples: int = 0
    suppressed_samples: int = 0
    last_good_ns: int | None = None

    def count(self, reading: Columns, kept: Sequence[int] | None) -> None:
        """Count a reading, of which the places ``kept`` are stored; ``None`` is all of it."""
        total = len(reading)
        good = reading.qualities.count(Quality.GOOD) + reading.qualities.count(Quality.UNCERTAIN)
        self.samples += total
        self.good_samples += good
        if kept is not None:
            self.suppressed_samples += total - len(kept)
        if good:
            newest = total - 1
            while Quality(reading.qualities[newest]).is_bad:
                newest -= 1
            self.last_good_ns = reading.received_ns[newest]


class RateMeter:
    """Good samples a second over the last 10 s, or since the start if that is less."""

    def __init__(self, now_mono: float) -> None:
        self._marks: deque[tuple[float, int]] = deque([(now_mono, 0)])

    def rate(self, now_mono: float, total: int) -> float:
        """Note the running ``total`` and return its rate; call about once a second."""
        self._marks.append((now_mono, total))
        while len(self._marks) > 2 and now_mono - self._marks[1][0] >= _WINDOW_S:
            self._marks.popleft()
        then_mono, before = self._marks[0]
        elapsed_s = now_mono - then_mono
        return round((total - before) / elapsed_s, 2) if elapsed_s > 0 else 0.0


@dataclass(slots=True)
class LagProbe:
    """Worst delay of a timer of the work loop: how long anything else held it up."""

    worst_s: float = 0.0
    _handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(_PROBE_S, self._measure, loop.time() + _PROBE_S)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def take_ms(self) -> float:
        """Return the worst delay since the last call."""
        worst_s, self.worst_s = self.worst_s, 0.0
        return round(worst_s * 1000, 1)

    def _measure(self, due_s: float) -> None:
        self.worst_s = max(self.worst_s, asyncio.get_running_loop().time() - due_s)
        self.start()


@dataclass(slots=True, kw_only=True)
class Vitals:
    """All that the heartbeat tells, kept by the runner and its device tasks."""

    packed: InitVar[PackedConfig]
    spool_status: Callable[[], SpoolStatus]
    devices: dict[str, DeviceTask] = field(default_factory=dict)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    totals: Totals = field(default_factory=Totals)
    connection_resets: int = 0
    cache_clears: int = 0
    frequency_factor: float = 1.0
    retired_late_cycles: int = 0
    retired_skipped_cycles: int = 0
    """Of devices that a reload has removed."""
    last_reload: ReloadOutcome | None = None
    outcomes: deque[CommandOutcome] = field(default_factory=lambda: deque(maxlen=OUTCOMES_KEPT))
    held_until: datetime | None = None
    is_quarantined: bool = False
    config: AnyCollector = field(init=False)
    """In force; without the points, thousands of which cost megabytes."""
    config_revision: str = field(init=False)
    point_counts: dict[str, int] = field(init=False)
    _samples_per_s: float = field(init=False)
    _intervals_s: dict[str, tuple[float, ...]] = field(init=False)
    _punctuality: dict[tuple[str, float], Punctuality] = field(default_factory=dict)

    def __post_init__(self, packed: PackedConfig) -> None:
        self.adopt(packed)

    def adopt(self, packed: PackedConfig) -> None:
        """Put a configuration in force."""
        self.config, self.config_revision = packed.config, packed.revision
        self.point_counts = {device.id: device.points for device in packed.devices}
        self._intervals_s = {device.id: device.intervals_s for device in packed.devices}
        self._samples_per_s = sum(device.samples_per_s for device in packed.devices)
        self._punctuality.clear()
        for task in self.devices.values():
            task.renew_punctuality()

    def punctuality_of(self, group_id: str, interval_s: float) -> Punctuality:
        """Return where the cycles of a group are counted, together for all devices."""
        return self._punctuality.setdefault(
            (group_id, interval_s), Punctuality(group_id, interval_s)
        )

    @property
    def punctualities(self) -> Sequence[Punctuality]:
        return [self._punctuality[key] for key in sorted(self._punctuality)]

    @property
    def expected_samples_per_s(self) -> float:
        return round(self._samples_per_s / self.frequency_factor, 3)

    def shortest_interval_s(self, device_id: str | None = None) -> float:
        """Of the poll groups with points, of one device or of all, as kept now."""
        return self.frequency_factor * min(self._of(device_id))

    def longest_interval_s(self) -> float:
        return self.frequency_factor * max(self._of(None))

    def set_factor(self, factor: float) -> None:
        self.frequency_factor = factor
        self._punctuality.clear()
        for task in self.devices.values():
            task.set_factor(factor)

    def _of(self, device_id: str | None) -> Sequence[float]:
        if device_id is not None:
            return self._intervals_s[device_id]
        return [interval_s for each in self._intervals_s.values() for interval_s in each]


def rss_bytes() -> int:
    """Return the memory that this process holds; 0 where the kernel does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, LookupError, ValueError):
        return 0
