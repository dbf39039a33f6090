"""Build the collector's heartbeat and write it each second, from the work loop itself."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from collectors.contract.config import AnyCollector, AnyDevice
from collectors.contract.heartbeat import (
    INTERVAL_S,
    ConnectionStatus,
    Heartbeat,
    SpoolStatus,
    write_heartbeat,
)
from collectors.contract.points import Sample
from collectors.runtime.device import DeviceTask
from collectors.runtime.driver import DRIVERS

_WINDOW_S = 10.0
_PROBE_S = 0.1
_JOIN_CHANGES_S = 0.02
"""Two hundred devices that connect at once cost one write, not two hundred."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Totals:
    """Samples since the process started."""

    samples: int = 0
    good_samples: int = 0
    last_good_ns: int | None = None

    def count(self, samples: Sequence[Sample]) -> None:
        self.samples += len(samples)
        for sample in samples:
            if not sample.quality.is_bad:
                self.good_samples += 1
                self.last_good_ns = sample.received_ns


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

    config: AnyCollector
    config_revision: str
    spool_status: Callable[[], SpoolStatus]
    devices: dict[str, DeviceTask] = field(default_factory=dict)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    totals: Totals = field(default_factory=Totals)
    connection_resets: int = 0
    retired_late_cycles: int = 0
    retired_skipped_cycles: int = 0
    """Of devices that a reload has removed."""
    expected_samples_per_s: float = 0.0
    shortest_interval_s: float = 1.0
    longest_interval_s: float = 1.0
    held_until: datetime | None = None
    is_quarantined: bool = False

    def __post_init__(self) -> None:
        self.adopt(self.config, self.config_revision)

    def adopt(self, config: AnyCollector, revision: str) -> None:
        """Put a configuration in force."""
        self.config, self.config_revision = config, revision
        intervals = [interval_s for device in config.devices for interval_s in _intervals_s(device)]
        self.shortest_interval_s = min(intervals)
        self.longest_interval_s = max(intervals)
        self.expected_samples_per_s = round(expected_samples_per_s(config), 3)


class Beater:
    """Writes the heartbeat file each second, and at once when a connection changes."""

    def __init__(self, path: Path, vitals: Vitals) -> None:
        self._path = path
        self._vitals = vitals
        self._meter = RateMeter(time.monotonic())
        self._lag = LagProbe()
        self._sequence = 0
        self._samples_per_s = 0.0
        self._next_mono = 0.0
        self._regular: asyncio.TimerHandle | None = None
        self._early: asyncio.TimerHandle | None = None
        self._cannot_write = False

    def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lag.start()
        self._next_mono = asyncio.get_running_loop().time()
        self._beat_regularly()

    def beat_soon(self) -> None:
        """Write before the next regular beat; several calls within 20 ms give one beat."""
        if self._early is None:
            loop = asyncio.get_running_loop()
            self._early = loop.call_later(_JOIN_CHANGES_S, self._beat_early)

    def stop(self) -> None:
        """Write the last beat, which tells that nothing is connected any more."""
        self._lag.stop()
        for handle in (self._regular, self._early):
            if handle is not None:
                handle.cancel()
        self._beat()

    def _beat_regularly(self) -> None:
        loop = asyncio.get_running_loop()
        self._samples_per_s = self._meter.rate(loop.time(), self._vitals.totals.good_samples)
        self._beat()
        # An absolute grid, but no burst of beats after the loop was held up.
        self._next_mono = max(self._next_mono + INTERVAL_S, loop.time())
        self._regular = loop.call_at(self._next_mono, self._beat_regularly)

    def _beat_early(self) -> None:
        self._early = None
        self._beat()

    def _beat(self) -> None:
        self._sequence += 1
        beat = build(
            self._vitals,
            sequence=self._sequence,
            samples_per_s=self._samples_per_s,
            loop_lag_ms=self._lag.take_ms(),
            now_mono=time.monotonic(),
        )
        try:
            write_heartbeat(self._path, beat)
        except OSError as exc:
            if not self._cannot_write:
                _log.error("heartbeat cannot be written", extra={"reason": str(exc)})
            self._cannot_write = True
            return
        if self._cannot_write:
            _log.info("heartbeat can be written again")
        self._cannot_write = False


def build(
    vitals: Vitals, *, sequence: int, samples_per_s: float, loop_lag_ms: float, now_mono: float
) -> Heartbeat:
    """Return the heartbeat of this moment."""
    config = vitals.config
    tasks = list(vitals.devices.values())
    return Heartbeat(
        collector=config.name,
        protocol=config.protocol,
        pid=os.getpid(),
        started_at=vitals.started_at,
        sequence=sequence,
        sent_at=datetime.now(UTC),
        config_revision=vitals.config_revision,
        connections=tuple(_connection(task, config.protocol, now_mono) for task in tasks)
        or tuple(_untried(device, config.protocol) for device in config.devices),
        samples=vitals.totals.samples,
        good_samples=vitals.totals.good_samples,
        samples_per_s=samples_per_s,
        expected_samples_per_s=vitals.expected_samples_per_s,
        shortest_interval_s=vitals.shortest_interval_s,
        longest_interval_s=vitals.longest_interval_s,
        last_data_time=_from_ns(vitals.totals.last_good_ns),
        late_cycles=vitals.retired_late_cycles + sum(t.state.late_cycles for t in tasks),
        skipped_cycles=vitals.retired_skipped_cycles + sum(t.state.skipped_cycles for t in tasks),
        connection_resets=vitals.connection_resets,
        loop_lag_ms=loop_lag_ms,
        spool=vitals.spool_status(),
        held_until=vitals.held_until,
        quarantined=vitals.is_quarantined,
    )


def expected_samples_per_s(config: AnyCollector) -> float:
    total = 0.0
    for device in config.devices:
        interval_s = {group.id: group.interval_s for group in device.groups}
        total += sum(1 / interval_s[point.group] for point in device.points)
    return total


def _intervals_s(device: AnyDevice) -> list[float]:
    """Return the intervals of the poll groups that have points."""
    used = {point.group for point in device.points}
    return [group.interval_s for group in device.groups if group.id in used]


def _connection(task: DeviceTask, protocol: str, now_mono: float) -> ConnectionStatus:
    device, state = task.device, task.state
    waiting_s = None
    if state.next_attempt_mono is not None and not state.is_connected:
        waiting_s = round(max(0.0, state.next_attempt_mono - now_mono), 2)
    return ConnectionStatus(
        device_id=device.id,
        device_ip=device.host,
        device_port=device.port,
        protocol_type=DRIVERS[protocol].word,
        is_connected=state.is_connected,
        since=state.since,
        last_connect_time=state.last_connect_time,
        last_good_at=_from_ns(state.traffic.last_good_ns),
        connection_errors=state.connection_errors,
        last_error=state.last_error,
        last_error_at=state.last_error_at,
        round_trip_ms=state.traffic.round_trip_ms,
        requests=state.traffic.requests,
        request_errors=state.traffic.errors,
        points=len(device.points),
        bad_points=task.bad_points,
        shortest_interval_s=min(_intervals_s(device)),
        next_attempt_in_s=waiting_s,
    )


def _untried(device: AnyDevice, protocol: str) -> ConnectionStatus:
    # A collector that is held has no tasks yet; no device at all would look like a good state.
    return ConnectionStatus(
        device_id=device.id,
        device_ip=device.host,
        device_port=device.port,
        protocol_type=DRIVERS[protocol].word,
        points=len(device.points),
        bad_points=len(device.points),
        shortest_interval_s=min(_intervals_s(device)),
    )


def _from_ns(at_ns: int | None) -> datetime | None:
    return None if at_ns is None else datetime.fromtimestamp(at_ns / 1e9, UTC)
