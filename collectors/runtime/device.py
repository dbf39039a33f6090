"""Keep one device connected and read its poll groups on time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from collectors.contract.columns import Columns
from collectors.contract.config_types import AnyDevice
from collectors.contract.points import Sample, Value
from collectors.runtime.backoff import Backoff
from collectors.runtime.driver import (
    ConnectionLost,
    Driver,
    NoAnswer,
    OnLost,
    Traffic,
)
from collectors.runtime.group import GroupState, PunctualityOf, groups_of
from collectors.runtime.pending_writes import PendingWrites
from collectors.runtime.reachability import DeviceState, Reachability

CLOSE_S = 0.4
"""Longest wait for a driver's close when a device is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """Where a device's results go; all are called from the event loop and must not block."""

    deliver: Callable[[Columns, Sequence[int] | None], None]
    """Takes a reading, and the places in it of what is to be stored; ``None`` is all of it."""
    connection_changed: Callable[[], None]
    punctuality_of: PunctualityOf


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
        self.state = state
        self.digest = b""
        """Of the configuration in force, to be compared with a changed one."""
        self._outlet = outlet
        self._origin_mono = origin_mono
        self._driver = make_driver(self.state.traffic, self._interrupt)
        self._factor = 1.0
        self._groups: dict[str, GroupState] = {}
        self._backoff = Backoff(device.retry.base_s, device.retry.max_s)
        self._probes = Backoff(device.retry.base_s, device.retry.parked_max_s)
        self._set_device(device)
        self._writes = PendingWrites()
        self._loss: ConnectionLost | None = None
        self._alarm: asyncio.Future[None] | None = None
        self._asked_mono = 0.0
        """When the device was asked last, for a connection or for values."""
        self._reachability = Reachability(device.id, state)
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def bad_points(self) -> int:
        """Points that have no usable value now."""
        return sum(group.bad_points for group in self._groups.values())

    @property
    def frozen_points(self) -> int:
        """Points whose values stand still for longer than they may."""
        return sum(group.frozen_points for group in self._groups.values())

    @property
    def shortest_interval_s(self) -> float:
        """Of the groups that have points, as kept now."""
        return min(group.schedule.interval_s for group in self._groups.values())

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

    async def write(self, point_name: str, value: Value, expires_at: datetime) -> Sample:
        """Have the device take ``value`` between two reads; return what it gives back.

        Raises:
            WriteRefused: its turn came too late.
            WriteFailed: from the driver.
            ConnectionLost: there is no connection, or it broke meanwhile.
        """
        if not self.state.is_connected:
            raise ConnectionLost("not connected")
        result = self._writes.add(point_name, value, expires_at)
        self._ring()
        return await result

    def adopt(self, device: AnyDevice) -> bool:
        """Go over to changed groups and points without a new connection, if the driver can."""
        if device.retry != self.device.retry or not self._driver.adopt(device):
            return False
        self._set_device(device)
        self._ring()
        return True

    def has_point(self, name: str) -> bool:
        """Tell whether the device has a point of this name."""
        return any(f"{self.device.id}/{name}" in group.points for group in self._groups.values())

    def renew_punctuality(self) -> None:
        """Count the cycles of the groups where they are counted now."""
        for group in self._groups.values():
            group.renew_punctuality()

    def forget(self) -> None:
        """Drop what was learned of the device."""
        self._driver.forget()

    def set_factor(self, factor: float) -> None:
        """Keep ``factor`` times the configured intervals from now on."""
        self._factor = factor
        for group in self._groups.values():
            group.set_factor(factor)
        self._ring()

    def _set_device(self, device: AnyDevice) -> None:
        place, punctuality_of = self.state.place, self._outlet.punctuality_of
        groups = groups_of(device, self._origin_mono, punctuality_of, place)
        for group_id, group in groups.items():
            before = self._groups.get(group_id)
            if before is not None and before.fingerprint == group.fingerprint:
                groups[group_id] = before
            elif self._factor != 1:
                group.set_factor(self._factor)
        self._groups = groups
        self.point_count = len(device.points)
        self.writable_points = {p.name: p.clamp for p in device.points if p.writable}
        """The clamp of each point that may be written."""
        self.device = device

    async def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    await self._connect()
                    await self._poll()
                except ConnectionLost as lost:
                    self._note_lost(lost)
                    await self._driver.close()
                    await self._pause(lost)
        finally:
            self._set_connected(False, is_news=True)
            self._writes.fail_all(ConnectionLost("the connection was closed"))
            await self._driver.close()

    async def _connect(self) -> None:
        self.state.next_attempt_mono = None
        self._loss = None
        self._asked_mono = time.monotonic()
        await self._driver.connect()
        now = time.monotonic()
        for group in self._groups.values():
            group.schedule.start_now(now)
        self.state.last_connect_time = datetime.now(UTC)
        self.state.connects += 1
        # A silent device accepts again and again: only an answer would be news.
        self._set_connected(True, is_news=not self._reachability.is_out)

    async def _poll(self) -> None:
        connected_mono = time.monotonic()
        try:
            while not self._stopping:
                if self._loss is not None:
                    raise self._loss
                if self._writes:
                    await self._writes.carry_out_next(self._driver)
                    continue
                group = min(self._groups.values(), key=_due)
                if group.schedule.due_s <= time.monotonic():
                    await self._read_group(group)
                else:
                    await self._sleep_until(group.schedule.due_s)
        finally:
            lived_s = time.monotonic() - connected_mono
            self._backoff.connection_lived(lived_s)
            self._probes.connection_lived(lived_s)

    async def _sleep_until(self, due_mono: float) -> None:
        """Return then, or as soon as there is something to do."""
        loop = asyncio.get_running_loop()
        self._alarm = loop.create_future()
        timer = loop.call_at(due_mono, self._ring)
        try:
            await self._alarm
        finally:
            timer.cancel()
            self._alarm = None

    def _ring(self) -> None:
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    async def _read_group(self, group: GroupState) -> None:
        started = self._asked_mono = time.monotonic()
        due = group.schedule.due_s
        reading = await self._driver.read(group.id)
        ended = time.monotonic()
        if self._reachability.note_answer():
            self._outlet.connection_changed()
        if self._groups.get(group.id) is not group:
            return  # a reload has replaced the group meanwhile
        if group.schedule.is_late_by(started - due):
            self.state.late_cycles += 1
        self._outlet.deliver(*group.take(reading))
        group.punctuality.note(due, started, ended)
        self.state.skipped_cycles += group.schedule.advance(started, ended)

    async def _pause(self, lost: ConnectionLost) -> None:
        now = time.monotonic()
        spent_s = 0.0 if lost is self._loss else now - self._asked_mono
        backoff = self._probes if self.state.is_parked else self._backoff
        delay_s = backoff.next_delay_s(spent_s)
        if isinstance(lost, NoAnswer) and not self.state.is_parked:
            # Perhaps only this answer was lost: the way to the device is good.
            delay_s = min(delay_s, self._next_due_mono(now) - now)
        self.state.next_attempt_mono = now + delay_s
        await asyncio.sleep(delay_s)

    def _next_due_mono(self, now: float) -> float:
        return min(group.schedule.due_after(now) for group in self._groups.values())

    def _interrupt(self, lost: ConnectionLost) -> None:
        if self._loss is None:
            self._loss = lost
            self._ring()

    def _note_lost(self, lost: ConnectionLost) -> None:
        is_news = not self._reachability.is_out
        self._reachability.note_lost(lost)
        self._set_connected(False, is_news=is_news)
        self._writes.fail_all(lost)
        self._mark_points_lost(lost)

    def _mark_points_lost(self, loss: ConnectionLost) -> None:
        """Store one bad reading for each point that does not have one for this outage yet."""
        for group in self._groups.values():
            lost = group.lose(loss.quality, loss.code)
            if lost is not None:
                self._outlet.deliver(lost, None)

    def _set_connected(self, is_connected: bool, *, is_news: bool) -> None:
        if self.state.is_connected is not is_connected:
            self.state.is_connected = is_connected
            self.state.since = datetime.now(UTC)
        if is_news:
            self._outlet.connection_changed()


def _due(group: GroupState) -> float:
    return group.schedule.due_s
