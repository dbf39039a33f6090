"""Keep one device connected and read its poll groups on time."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from collectors.contract.columns import Columns
from collectors.contract.config import AnyDevice, AnyPoint
from collectors.contract.points import Quality, Sample
from collectors.runtime.backoff import Backoff
from collectors.runtime.driver import ConnectionLost, Driver, OnLost, Traffic
from collectors.runtime.schedule import Schedule, phase_s
from collectors.runtime.values import fault

CLOSE_S = 0.4
"""Longest wait for a driver's close when a device is stopped."""

_QUALITY_LOG_PAUSE_S = 30.0
"""A point that comes and goes is logged once, not in each cycle."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class DeviceState:
    """What the heartbeat tells of one device. Counters run since the process started."""

    traffic: Traffic = field(default_factory=Traffic)
    is_connected: bool = False
    since: datetime | None = None
    last_connect_time: datetime | None = None
    connection_errors: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None
    next_attempt_mono: float | None = None
    late_cycles: int = 0
    skipped_cycles: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """Where a device's results go; both are called from the event loop and must not block."""

    deliver: Callable[[Sequence[Sample]], None]
    connection_changed: Callable[[], None]


DriverFactory = Callable[[Traffic, OnLost], Driver]


class DeviceTask:
    """The one task that owns a device: connect, read every group when it is due, connect again."""

    def __init__(
        self,
        device: AnyDevice,
        make_driver: DriverFactory,
        outlet: Outlet,
        origin_mono: float,
        state: DeviceState,
    ) -> None:
        self.device = device
        self.state = state
        self._outlet = outlet
        self._driver = make_driver(self.state.traffic, self._interrupt)
        self._backoff = Backoff(device.retry.base_s, device.retry.max_s)
        self._points: dict[str, list[str]] = {}
        points: Sequence[AnyPoint] = device.points
        for point in points:
            self._points.setdefault(point.group, []).append(f"{device.id}/{point.name}")
        self._schedules = {
            group.id: Schedule(origin_mono + phase_s(device.id, group.interval_s), group.interval_s)
            for group in device.groups
            if group.id in self._points
        }
        # A point that has never been read has no usable value either.
        self._bad_points = {group_id: len(points) for group_id, points in self._points.items()}
        self._marked_lost: set[str] = set()
        self._lost: asyncio.Future[ConnectionLost] | None = None
        self._lost_mono: float | None = None
        self._failures = 0
        self._has_answered = False
        self._reported_bad: dict[str, int] = {}
        self._quality_logged_mono = -_QUALITY_LOG_PAUSE_S
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def bad_points(self) -> int:
        """Points that have no usable value now."""
        return sum(self._bad_points.values())

    def start(self, on_end: Callable[["asyncio.Task[None]"], None]) -> None:
        """Begin; ``on_end`` is called when the task ends, which it does by itself only to crash."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=f"device {self.device.id}")
        self._task.add_done_callback(on_end)

    async def stop(self) -> None:
        """Cancel what is in flight and close the connection; returns within half a second."""
        # A cancellation that meets a finished future is lost in asyncio.wait_for of Python 3.11,
        # so the loops look at the flag as well.
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=CLOSE_S)

    async def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    await self._connect()
                    await self._poll()
                except ConnectionLost as lost:
                    self._note_lost(lost)
                    await self._driver.close()
                    await self._pause()
        finally:
            self._set_connected(False)
            await self._driver.close()

    async def _connect(self) -> None:
        self.state.next_attempt_mono = None
        self._lost = asyncio.get_running_loop().create_future()
        await self._driver.connect()
        now = time.monotonic()
        for schedule in self._schedules.values():
            schedule.start_now(now)
        self.state.last_connect_time = datetime.now(UTC)
        self._set_connected(True)

    async def _poll(self) -> None:
        connected_mono = time.monotonic()
        try:
            while not self._stopping:
                group_id, schedule = min(self._schedules.items(), key=lambda item: item[1].due_s)
                await self._wait_until(schedule.due_s)
                await self._read_group(group_id, schedule)
        finally:
            self._backoff.connection_lived(time.monotonic() - connected_mono)

    async def _wait_until(self, due_mono: float) -> None:
        assert self._lost is not None
        delay_s = due_mono - time.monotonic()
        if delay_s > 0:
            await asyncio.wait((self._lost,), timeout=delay_s)
        if self._lost.done():
            raise self._lost.result()

    async def _read_group(self, group_id: str, schedule: Schedule) -> None:
        started = time.monotonic()
        if schedule.is_late(started):
            self.state.late_cycles += 1
        reading = await self._driver.read(group_id)
        samples = reading.samples() if isinstance(reading, Columns) else reading
        self._note_answer()
        self._marked_lost.discard(group_id)
        self._note_quality(group_id, samples)
        self._outlet.deliver(samples)
        self.state.skipped_cycles += schedule.advance(started, time.monotonic())

    async def _pause(self) -> None:
        delay_s = self._backoff.next_delay_s()
        self.state.next_attempt_mono = time.monotonic() + delay_s
        self._outlet.connection_changed()
        await asyncio.sleep(delay_s)

    def _interrupt(self, lost: ConnectionLost) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(lost)

    def _note_answer(self) -> None:
        # Only an answer ends an outage: some gateways accept every connection and say nothing.
        if self._has_answered:
            return
        self._has_answered = True
        facts: dict[str, object] = {"device": self.device.id}
        if self._lost_mono is not None:
            outage_s = time.monotonic() - self._lost_mono
            facts |= {"outage_s": round(outage_s, 3), "failures": self._failures}
        _log.info("device answers", extra=facts)
        self._failures, self._lost_mono = 0, None

    def _note_lost(self, lost: ConnectionLost) -> None:
        self._has_answered = False
        self._failures += 1
        self.state.connection_errors += 1
        self.state.last_error = lost.reason
        self.state.last_error_at = datetime.now(UTC)
        if self._lost_mono is None:
            self._lost_mono = time.monotonic()
        _log.log(
            logging.WARNING if self._failures == 1 else logging.DEBUG,
            "connection lost" if self.state.is_connected else "device cannot be reached",
            extra={"device": self.device.id, "reason": lost.reason, "failures": self._failures},
        )
        self._set_connected(False)
        self._mark_points_lost(lost.quality)

    def _mark_points_lost(self, quality: Quality) -> None:
        """Write one bad sample for each point that does not have one for this outage yet."""
        now_ns = time.time_ns()
        samples: list[Sample] = []
        for group_id, points in self._points.items():
            self._bad_points[group_id] = len(points)
            if group_id not in self._marked_lost:
                self._marked_lost.add(group_id)
                samples.extend(fault(point, quality, 0, now_ns, now_ns) for point in points)
        if samples:
            self._outlet.deliver(samples)

    def _note_quality(self, group_id: str, samples: Sequence[Sample]) -> None:
        bad = [sample for sample in samples if sample.quality.is_bad]
        self._bad_points[group_id] = len(bad)
        if len(bad) == self._reported_bad.get(group_id, 0):
            return
        self._reported_bad[group_id] = len(bad)
        now = time.monotonic()
        level = logging.WARNING if bad else logging.INFO
        if now - self._quality_logged_mono < _QUALITY_LOG_PAUSE_S:
            level = logging.DEBUG
        self._quality_logged_mono = now
        _log.log(
            level,
            "points are bad" if bad else "all points of the group are good",
            extra={
                "device": self.device.id,
                "group": group_id,
                "points": len(bad),
                "first": [f"{s.point} {s.quality.name} {s.code:#x}" for s in bad[:3]],
            },
        )

    def _set_connected(self, is_connected: bool) -> None:
        if self.state.is_connected is not is_connected:
            self.state.is_connected = is_connected
            self.state.since = datetime.now(UTC)
            self._outlet.connection_changed()
