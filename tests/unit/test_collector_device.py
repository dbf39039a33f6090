"""The task that keeps one device connected, with a driver that does what a test says."""

import asyncio
import logging
import sys
import time
import types
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from collectors.contract.columns import Columns
from collectors.contract.config import AnyCollector, AnyDevice, parse_collector, revision_of
from collectors.contract.points import Quality, Sample, Value
from collectors.history.spool_reader import SpoolReader
from collectors.runtime import driver as driver_table
from collectors.runtime.config_loader import pack
from collectors.runtime.device import DeviceTask, Outlet
from collectors.runtime.driver import ConnectionLost, NoAnswer, OnLost, Traffic
from collectors.runtime.reachability import DeviceState
from collectors.runtime.runner import EXIT_CRASH, Runner
from collectors.runtime.timing import Punctuality
from collectors.runtime.values import fault, reading


def collector(groups: str = "", interval_s: float = 0.05) -> AnyCollector:
    names = ["fast", *groups.split()]
    device = {
        "id": "plc",
        "host": "h",
        "retry": {"base_s": 0.01, "max_s": 0.01, "parked_max_s": 0.05},
        "groups": [
            {"id": name, "interval_s": interval_s if name == "fast" else 3600.0} for name in names
        ],
        "points": [
            {"name": f"{name}{i}", "address": f"holding:{i}", "group": name}
            for name in names
            for i in range(2)
        ],
    }
    document = {"name": "line1", "protocol": "modbus_tcp", "devices": [device]}
    return parse_collector(document, file="line1.toml")


@dataclass
class ScriptedDriver:
    """A driver whose reads and connects a test provides."""

    device: AnyDevice
    on_lost: OnLost
    on_read: Callable[[str], Awaitable[None]]
    on_connect: Callable[[], Awaitable[None]]
    on_write: Callable[[str, Value], Awaitable[Sample]]
    is_open: bool = False

    async def connect(self) -> None:
        assert not self.is_open
        await self.on_connect()
        self.is_open = True

    async def read(self, group_id: str) -> list[Sample]:
        assert self.is_open
        await self.on_read(group_id)
        now_ns = time.time_ns()
        names = [f"plc/{p.name}" for p in self.device.points if p.group == group_id]
        return [reading(name, 1, now_ns, now_ns) for name in names]

    async def write(self, point_name: str, value: Value) -> Sample:
        assert self.is_open
        return await self.on_write(point_name, value)

    def adopt(self, device: AnyDevice) -> bool:
        return device.timeout_s == self.device.timeout_s

    def forget(self) -> None:
        return

    async def close(self) -> None:
        self.is_open = False


async def give_back(point: str, value: Value) -> Sample:
    return reading(f"plc/{point}", value, 1, 2)


async def nothing(_group: str = "") -> None:
    return


@dataclass
class Bench:
    """One device task and everything it delivers."""

    config: AnyCollector = field(default_factory=collector)
    on_read: Callable[[str], Awaitable[None]] = nothing
    on_connect: Callable[[], Awaitable[None]] = nothing
    on_write: Callable[[str, Value], Awaitable[Sample]] = give_back
    samples: list[Sample] = field(default_factory=list)
    drivers: list[ScriptedDriver] = field(default_factory=list)
    crashes: list[BaseException] = field(default_factory=list)
    news: int = 0

    def __post_init__(self) -> None:
        self.task = DeviceTask(
            self.config.devices[0],
            self.make_driver,
            Outlet(
                deliver=self.deliver, connection_changed=self.changed, punctuality_of=Punctuality
            ),
            time.monotonic(),
            DeviceState(),
        )

    def make_driver(self, _traffic: Traffic, on_lost: OnLost) -> ScriptedDriver:
        driver = ScriptedDriver(
            self.config.devices[0], on_lost, self.on_read, self.on_connect, self.on_write
        )
        self.drivers.append(driver)
        return driver

    def deliver(self, reading: Columns, kept: Sequence[int] | None) -> None:
        samples = reading.samples()
        self.samples.extend(samples if kept is None else [samples[i] for i in kept])

    def changed(self) -> None:
        self.news += 1

    def ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (crash := task.exception()) is not None:
            self.crashes.append(crash)

    async def run_until(self, condition: Callable[[], object], timeout_s: float = 5.0) -> None:
        self.task.start(self.ended)
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            await asyncio.sleep(0.002)
        await self.task.stop()

    def bad(self, point: str) -> list[Sample]:
        return [s for s in self.samples if s.point == point and s.quality.is_bad]

    def good(self, point: str) -> list[Sample]:
        return [s for s in self.samples if s.point == point and not s.quality.is_bad]


def test_every_group_is_read_as_soon_as_the_device_is_connected() -> None:
    bench = Bench(collector("hourly daily"))
    asyncio.run(bench.run_until(lambda: len(bench.good("plc/fast0")) >= 3))
    assert len(bench.good("plc/hourly0")) == len(bench.good("plc/daily1")) == 1
    assert bench.task.bad_points == 0


def test_an_outage_gives_one_bad_sample_a_point_also_of_slow_groups() -> None:
    reads: list[str] = []

    async def read(group: str) -> None:
        reads.append(group)
        if 10 < len(reads) < 16:
            raise ConnectionLost("no answer in time", Quality.BAD_TIMEOUT)

    bench = Bench(collector("hourly"), on_read=read)
    asyncio.run(bench.run_until(lambda: len(reads) > 30))
    for point in ("plc/fast0", "plc/fast1", "plc/hourly0", "plc/hourly1"):
        assert [sample.quality for sample in bench.bad(point)] == [Quality.BAD_TIMEOUT]
    assert len(bench.good("plc/hourly0")) == 2
    assert bench.task.state.connection_errors == 5
    assert bench.task.bad_points == 0


def test_a_device_that_answers_only_the_first_group_marks_each_group_once_a_fall() -> None:
    """Every good answer may be followed by a new mark, every mark needs an answer between."""

    async def read(group: str) -> None:
        if group == "hourly":
            raise ConnectionLost("no answer in time", Quality.BAD_TIMEOUT)

    bench = Bench(collector("hourly"), on_read=read)
    asyncio.run(bench.run_until(lambda: bench.task.state.connection_errors >= 4))
    assert len(bench.bad("plc/hourly0")) == 1
    qualities = [s.quality.is_bad for s in bench.samples if s.point == "plc/fast0"]
    assert all(a != b for a, b in pairwise(qualities))


def test_a_loss_between_two_reads_is_seen_at_once() -> None:
    bench = Bench(collector("", interval_s=600.0))

    async def scenario() -> float:
        bench.task.start(bench.ended)
        while not bench.good("plc/fast0"):
            await asyncio.sleep(0.001)
        started = time.monotonic()
        bench.drivers[0].is_open = False
        bench.drivers[0].on_lost(ConnectionLost("closed by the device"))
        bench.drivers[0].on_lost(ConnectionLost("and again"))
        while not bench.bad("plc/fast0"):
            await asyncio.sleep(0.001)
        elapsed_s = time.monotonic() - started
        while len(bench.good("plc/fast0")) < 2:
            await asyncio.sleep(0.001)
        await bench.task.stop()
        return elapsed_s

    assert asyncio.run(asyncio.wait_for(scenario(), 5)) < 0.2
    assert bench.task.state.last_error == "closed by the device"
    assert bench.task.state.connection_errors == 1


def test_a_slow_device_skips_cycles_and_counts_them() -> None:
    starts: list[float] = []

    async def read(_group: str) -> None:
        starts.append(time.monotonic())
        await asyncio.sleep(0.13)

    bench = Bench(collector(interval_s=0.05), on_read=read)
    asyncio.run(bench.run_until(lambda: len(starts) >= 6))
    assert bench.task.state.skipped_cycles >= 8
    steps = [b - a for a, b in pairwise(starts)]
    assert min(steps) >= 0.13


def test_only_the_beginning_and_the_end_of_an_outage_are_news() -> None:
    """Each piece of news writes a heartbeat, so a dead device must not have one each attempt."""
    told: list[int] = []

    async def read(_group: str) -> None:
        told.append(bench.news)
        if 3 <= len(told) < 20:
            raise ConnectionLost("no answer in time", Quality.BAD_TIMEOUT)

    bench = Bench(on_read=read)
    asyncio.run(bench.run_until(lambda: len(told) > 25))
    assert told[2] == 2, "connected, answers"
    assert set(told[3:20]) == {3}, "lost"
    assert told[20] == 4, "answers"
    assert bench.news == 5, "stopped"


def silent_until(number: int, attempts: list[float]) -> Callable[[str], Awaitable[None]]:
    async def read(_group: str) -> None:
        attempts.append(time.monotonic())
        if len(attempts) < number:
            raise NoAnswer

    return read


def test_a_silent_unit_is_parked_after_three_requests_and_back_with_its_first_answer() -> None:
    attempts: list[float] = []
    parked: list[bool] = []
    bench = Bench(on_read=silent_until(8, attempts))

    def is_back() -> bool:
        parked.append(bench.task.state.is_parked)
        return bool(bench.good("plc/fast0"))

    asyncio.run(bench.run_until(is_back))
    assert len(attempts) == 8
    assert True in parked
    assert not bench.task.state.is_parked
    assert len(bench.bad("plc/fast0")) == 1


def test_a_unit_that_is_read_each_hour_is_asked_again_at_once_when_it_was_silent() -> None:
    attempts: list[float] = []
    bench = Bench(collector("", interval_s=3600.0), on_read=silent_until(2, attempts))
    asyncio.run(bench.run_until(lambda: bench.good("plc/fast0")))
    assert attempts[1] - attempts[0] < 1.0


def test_a_defect_ends_the_task_and_closes_the_connection() -> None:
    async def read(_group: str) -> None:
        raise ZeroDivisionError("a defect")

    bench = Bench(on_read=read)
    asyncio.run(bench.run_until(lambda: bench.crashes))
    assert isinstance(bench.crashes[0], ZeroDivisionError)
    assert not bench.drivers[0].is_open
    assert not bench.task.state.is_connected


def test_stopping_does_not_wait_for_a_read() -> None:
    async def read(_group: str) -> None:
        await asyncio.sleep(60)

    bench = Bench(on_read=read)

    async def scenario() -> float:
        bench.task.start(bench.ended)
        while not bench.task.state.is_connected:
            await asyncio.sleep(0.001)
        started = time.monotonic()
        await bench.task.stop()
        return time.monotonic() - started

    assert asyncio.run(scenario()) < 0.3
    assert not bench.drivers[0].is_open
    assert bench.samples == []


def test_a_bad_point_is_logged_once_not_in_each_cycle(caplog: pytest.LogCaptureFixture) -> None:
    @dataclass
    class FlappingDriver(ScriptedDriver):
        reads: int = 0

        async def read(self, group_id: str) -> list[Sample]:
            self.reads += 1
            samples = await super().read(group_id)
            if self.reads % 2:
                samples[0] = fault(samples[0].point, Quality.BAD_CONFIG, 2, 1, 2)
            return samples

    @dataclass
    class FlappingBench(Bench):
        def make_driver(self, _traffic: Traffic, on_lost: OnLost) -> ScriptedDriver:
            driver = FlappingDriver(
                self.config.devices[0], on_lost, self.on_read, self.on_connect, self.on_write
            )
            self.drivers.append(driver)
            return driver

    bench = FlappingBench(collector(interval_s=0.01))
    with caplog.at_level(logging.INFO, logger="collectors"):
        asyncio.run(bench.run_until(lambda: len(bench.good("plc/fast0")) >= 5))
    (line,) = [record for record in caplog.records if "point" in record.message]
    assert line.message == "points are bad"
    assert line.__dict__["first"] == ["plc/fast0 BAD_CONFIG 0x2"]


def test_a_crash_of_one_device_ends_the_process_with_the_samples_of_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def read(_group: str) -> None:
        await asyncio.sleep(0.05)
        if len(read_groups) > 3:
            raise ZeroDivisionError("a defect")
        read_groups.append(_group)

    def create(device: AnyDevice, _traffic: Traffic, on_lost: OnLost) -> ScriptedDriver:
        return ScriptedDriver(device, on_lost, read, nothing, give_back)

    read_groups: list[str] = []
    module = types.ModuleType("scripted.driver")
    module.create = create  # type: ignore[attr-defined] # a driver module has this function
    monkeypatch.setitem(sys.modules, "scripted.driver", module)
    entry = type(driver_table.DRIVERS["modbus_tcp"])(package="scripted")
    monkeypatch.setitem(driver_table.DRIVERS, "modbus_tcp", entry)  # type: ignore[arg-type] # a dict
    file = tmp_path / "line1.toml"
    file.write_text("")

    async def scenario() -> int:
        return await Runner(file, tmp_path, pack(collector(), revision_of(file))).run()

    assert asyncio.run(asyncio.wait_for(scenario(), 10)) == EXIT_CRASH
    (record,) = SpoolReader(tmp_path / "spool" / "line1", "test").read(1)
    assert len(record.batch) == 2
    (line,) = [record for record in caplog.records if record.message == "collector crashed"]
    assert line.exc_info is not None
