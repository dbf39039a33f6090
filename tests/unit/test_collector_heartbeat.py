"""What a collector says about itself."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collectors.contract.columns import columns_of
from collectors.contract.config import AnyCollector, AnyDevice, parse_collector
from collectors.contract.heartbeat import SpoolStatus, heartbeat_path, read_heartbeat
from collectors.contract.points import Quality, Sample, Value
from collectors.runtime.config_loader import pack
from collectors.runtime.device import DeviceTask, Outlet
from collectors.runtime.driver import ConnectionLost, OnLost, Traffic, WriteRefused
from collectors.runtime.heartbeat import Beater, build, connection_of
from collectors.runtime.reachability import DeviceState
from collectors.runtime.timing import Punctuality
from collectors.runtime.vitals import LagProbe, RateMeter, Totals, Vitals


def config() -> AnyCollector:
    points = [{"name": f"p{i}", "address": f"holding:{i}", "group": "fast"} for i in range(3)]
    slow = {"name": "s", "address": "holding:9", "group": "slow"}
    groups = [{"id": "fast", "interval_s": 0.5}, {"id": "slow", "interval_s": 10.0}]
    device = {"id": "plc", "host": "10.0.0.1", "groups": groups, "points": [*points, slow]}
    document = {"name": "line1", "protocol": "modbus_tcp", "devices": [device]}
    return parse_collector(document, file="line1.toml")


class NoDriver:
    """Stands in where no device is needed."""

    async def connect(self) -> None:
        raise ConnectionLost("no device")

    async def read(self, group_id: str) -> list[Sample]:
        raise ConnectionLost(f"no {group_id}")

    async def write(self, point_name: str, value: Value) -> Sample:
        raise WriteRefused("not_supported")

    def adopt(self, device: AnyDevice) -> bool:
        return False

    def forget(self) -> None:
        return

    async def close(self) -> None:
        return


def make_driver(_traffic: Traffic, _on_lost: OnLost) -> NoDriver:
    return NoDriver()


def vitals() -> Vitals:
    outlet = Outlet(
        deliver=lambda reading, kept: None,
        connection_changed=lambda: None,
        punctuality_of=Punctuality,
    )
    collector = config()
    task = DeviceTask(collector.devices[0], make_driver, outlet, 0.0, DeviceState())
    return Vitals(
        packed=pack(collector, "abc"),
        spool_status=lambda: SpoolStatus(samples_in=5),
        devices={"plc": task},
    )


def sample(quality: Quality, received_ns: int) -> Sample:
    value = None if quality.is_bad else 1.0
    return Sample(
        point="plc/p0", value=value, quality=quality, source_ns=1, received_ns=received_ns
    )


def test_a_heartbeat_tells_of_devices_points_and_what_the_file_asks_for() -> None:
    facts = vitals()
    state = facts.devices["plc"].state
    state.connection_errors, state.last_error = 3, "Connection refused"
    state.next_attempt_mono = 107.5
    beat = build(facts, sequence=4, samples_per_s=1.5, loop_lag_ms=0.2)
    assert beat.expected_samples_per_s == pytest.approx(6.1)
    assert beat.shortest_interval_s == 0.5
    assert beat.spool.samples_in == 5
    link = connection_of(facts, facts.config.devices[0], now_mono=100.0)
    assert (link.device_ip, link.device_port, link.protocol_type) == ("10.0.0.1", 502, "modbus")
    assert (link.points, link.bad_points) == (4, 4)
    assert link.next_attempt_in_s == 7.5
    assert not link.is_connected


def test_only_usable_samples_count_as_good() -> None:
    totals = Totals()
    totals.count(columns_of([sample(Quality.GOOD, 10), sample(Quality.UNCERTAIN, 20)]), None)
    totals.count(columns_of([sample(Quality.BAD_COMM, 30)]), None)
    assert (totals.samples, totals.good_samples, totals.last_good_ns) == (3, 2, 20)
    totals.count(columns_of([sample(Quality.GOOD, 40), sample(Quality.BAD_RANGE, 50)]), [1])
    assert (totals.samples, totals.good_samples, totals.last_good_ns) == (5, 3, 40)
    assert totals.suppressed_samples == 1


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    meter = RateMeter(0.0)
    for second in range(1, 31):
        rate = meter.rate(float(second), 100 * second)
        assert rate == 100.0
    for second in range(31, 41):
        rate = meter.rate(float(second), 3000)
        assert rate == pytest.approx(10 * (40 - second))
    assert rate == 0.0


def test_the_first_rate_covers_the_time_since_the_start() -> None:
    assert RateMeter(5.0).rate(5.5, 20) == 40.0
    assert RateMeter(5.0).rate(5.0, 20) == 0.0


def test_the_round_trip_is_the_median_of_the_last_hundred_answers() -> None:
    traffic = Traffic()
    assert traffic.round_trip_ms is None
    for _ in range(100):
        traffic.answered(1.0, 1)
    for milliseconds in [*range(1, 100), 500]:
        traffic.answered(milliseconds / 1000, 1)
    traffic.failed()
    assert traffic.round_trip_ms == 50.5
    assert (traffic.requests, traffic.errors) == (201, 1)


def test_the_lag_probe_sees_a_loop_that_was_held_up() -> None:
    async def scenario() -> tuple[float, float]:
        probe = LagProbe()
        probe.start()
        loop = asyncio.get_running_loop()
        held_until = loop.time() + 0.3
        while loop.time() < held_until:
            pass
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        worst = probe.take_ms()
        again = probe.take_ms()
        probe.stop()
        return worst, again

    worst, again = asyncio.run(scenario())
    assert 150 < worst < 1000
    assert again == 0.0


def test_changes_that_come_together_give_one_beat_and_the_last_says_stopped(
    tmp_path: Path,
) -> None:
    path = heartbeat_path(tmp_path, "line1")

    async def scenario() -> None:
        beater = Beater(path, vitals())
        beater.start()
        first = read_heartbeat(path)
        assert first is not None
        assert first.sequence == 1
        for _ in range(50):
            beater.beat_soon()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 2
        while json.loads(path.read_text())["sequence"] == 1:
            assert loop.time() < deadline
            await asyncio.sleep(0.005)
        beater.stop()

    before = datetime.now(UTC)
    asyncio.run(scenario())
    beat = read_heartbeat(path)
    assert beat is not None
    assert beat.sequence == 3
    assert beat.sent_at >= before


def test_a_full_disk_does_not_stop_the_collector(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "run" / "heartbeat" / "line1.json"
        beater = Beater(path, vitals())
        beater.start()
        path.unlink()
        path.mkdir()
        beater.stop()

    asyncio.run(scenario())
