"""The Mitsubishi driver against our own simulator: every frame, every fault, no wrong value."""

import asyncio
import bisect
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectors.contract.config_mc import McDevice, McPoint
from collectors.contract.points import Quality, Sample, Value
from collectors.mitsubishi_mc.driver import McDriver
from collectors.runtime.driver import ConnectionLost, Traffic, WriteFailed
from collectors.runtime.testing import RunningCollector, eventually
from simulators.testing import RunningSimulator

COUNTER = 'wave = {kind = "counter", start = 100, step = 7, step_s = 0.01}'
SINE = 'wave = {kind = "sine", mean = 20, amplitude = 300, period_s = 0.7}'
SQUARE = 'wave = {kind = "square", period_s = 0.3}'
HELD = 'wave = {kind = "writable", value = 0}'
HELD_TEXT = 'wave = {kind = "writable", value = "x"}'

Session = Callable[[McDriver], Awaitable[None]]


def simulator_file(tmp_path: Path, signals: list[str], **settings: str) -> Path:
    head = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    listed = ",\n".join(f"{{{signal}}}" for signal in signals)
    path = tmp_path / "sim.toml"
    path.write_text(
        f'protocol = "mitsubishi_mc"\n[[devices]]\nid = "plc"\n{head}signals = [\n{listed}\n]\n'
    )
    return path


def device_at(port: int, points: tuple[McPoint, ...], **settings: Any) -> McDevice:
    return McDevice(id="plc", host="127.0.0.1", port=port, points=points, **settings)


def with_driver(device: McDevice, session: Session) -> Traffic:
    """Run ``session`` with a connected driver."""
    traffic = Traffic()

    async def run() -> None:
        driver = McDriver(device, traffic, lambda _lost: None)
        await driver.connect()
        try:
            await session(driver)
        finally:
            await driver.close()

    asyncio.run(run())
    return traffic


async def read(driver: McDriver) -> dict[str, Sample]:
    samples = (await driver.read("default")).samples()
    return {sample.point.removeprefix("plc/"): sample for sample in samples}


SERIES = [
    ("Q", "3e", "binary"),
    ("Q", "4e", "ascii"),
    ("L", "4e", "binary"),
    ("iQ-R", "3e", "ascii"),
    ("iQ-R", "4e", "binary"),
    ("iQ-L", "3e", "binary"),
    ("FX5", "3e", "binary"),
    ("FX5", "4e", "ascii"),
]


@pytest.mark.parametrize(("series", "frame", "code"), SERIES)
def test_each_series_is_read_and_written_in_its_own_way(
    tmp_path: Path, series: str, frame: str, code: str
) -> None:
    rows: list[tuple[str, str, Value, Value]] = [
        ("D10", "int16", -5, 321),
        ("D700", "float64", 1e90, -0.25),
        ("W1F", "uint32", 70_000, 4_000_000_000),
        ("R300", "string", "Rezept", "配方"),
        ("M100", "bool", True, False),
        ("Y17", "bool", False, True),
        ("B1F", "bool", True, True),
        ("STN5", "uint16", 7, 65_535),
    ]
    signals = [
        f'name = "{a}", type = "{kind}", address = "{a}", length = {3 if kind == "string" else 1}, '
        + (HELD_TEXT if kind == "string" else HELD)
        for a, kind, _, _ in rows
    ]
    points = tuple(
        McPoint(name=a, address=a, type=kind, writable=True, length=3 if kind == "string" else 1)  # type: ignore[arg-type] # a type
        for a, kind, _, _ in rows
    )
    # One port of a simulated PLC takes each frame.
    file = simulator_file(tmp_path, signals, series=series, code=code)
    with RunningSimulator(file) as simulator:
        device = device_at(simulator.port, points, series=series, frame=frame, code=code)

        async def session(driver: McDriver) -> None:
            for n in (2, 3):
                for row in rows:
                    assert (await driver.write(row[0], row[n])).value == row[n]
                got = await read(driver)
                assert {name: sample.value for name, sample in got.items()} == {
                    row[0]: row[n] for row in rows
                }

        with_driver(device, session)


def test_a_point_that_the_plc_does_not_let_write_says_so(tmp_path: Path) -> None:
    file = simulator_file(tmp_path, [f'name = "s", type = "int16", address = "D0", {SINE}'])
    with RunningSimulator(file) as simulator:
        points = (McPoint(name="s", address="D0", writable=True),)

        async def session(driver: McDriver) -> None:
            with pytest.raises(WriteFailed) as caught:
                await driver.write("s", 1)
            assert caught.value.code == "device_refused"
            assert caught.value.native_code == 0xC05B
            assert (await read(driver))["s"].quality is Quality.GOOD

        with_driver(device_at(simulator.port, points), session)


def lone_points(count: int) -> tuple[list[str], tuple[McPoint, ...]]:
    names = [f"D{200 * n}" for n in range(count)]
    signals = [
        f'name = "{name}", type = "int16", address = "{name}", wave = {{kind = "constant", '
        f"value = {n}}}"
        for n, name in enumerate(names)
    ]
    return signals, tuple(McPoint(name=name, address=name) for name in names)


def test_lone_points_cost_one_request_and_many_without_random_reads(tmp_path: Path) -> None:
    signals, points = lone_points(20)
    with RunningSimulator(simulator_file(tmp_path, signals)) as simulator:
        for settings, requests in (({}, 1), ({"max_random_points": 0}, 20)):
            device = device_at(simulator.port, points, **settings)
            assert with_driver(device, _values_are_right).requests == requests


async def _values_are_right(driver: McDriver) -> None:
    got = await read(driver)
    assert [got[f"D{200 * n}"].value for n in range(20)] == list(range(20))


def test_a_plc_that_knows_no_random_read_is_read_in_batches_at_once(tmp_path: Path) -> None:
    signals, points = lone_points(20)
    with RunningSimulator(simulator_file(tmp_path, signals)) as simulator:

        async def session(driver: McDriver) -> None:
            simulator.fault("exception", code=0xC059, count=1)
            for _ in range(3):
                await _values_are_right(driver)

        assert with_driver(device_at(simulator.port, points), session).requests == 1 + 3 * 20


def test_one_missing_place_of_a_random_read_makes_one_bad_point(tmp_path: Path) -> None:
    signals, points = lone_points(20)
    missing = McPoint(name="missing", address="D12288")
    with RunningSimulator(simulator_file(tmp_path, signals)) as simulator:

        async def session(driver: McDriver) -> None:
            for _ in range(2):
                got = await read(driver)
                bad = [name for name, sample in got.items() if sample.quality.is_bad]
                assert bad == ["missing"]
                assert got["missing"].quality is Quality.BAD_CONFIG
                await _values_are_right(driver)

        with_driver(device_at(simulator.port, (*points, missing)), session)


def test_there_is_a_pause_between_requests_where_the_file_wants_one(tmp_path: Path) -> None:
    signals, points = lone_points(5)
    with RunningSimulator(simulator_file(tmp_path, signals)) as simulator:
        device = device_at(
            simulator.port, points, max_random_points=0, min_request_gap_s=0.03, timeout_s=5.0
        )

        async def session(driver: McDriver) -> None:
            started = time.monotonic()
            await read(driver)
            assert time.monotonic() - started >= 4 * 0.03

        with_driver(device, session)


MOVING = [
    f'name = "counter", type = "uint32", address = "D100", {COUNTER}',
    f'name = "sine", type = "float32", address = "D102", {SINE}',
    f'name = "large", type = "float64", address = "D5000", {SINE}',
    f'name = "wave", type = "int16", address = "W20", {SINE}',
    f'name = "flag", type = "bool", address = "M77", {SQUARE}',
    f'name = "bit", type = "bool", address = "D120.9", {SQUARE}',
]
MOVING_POINTS = tuple(
    McPoint(name=name, address=address, type=kind)  # type: ignore[arg-type] # a type
    for name, kind, address in (
        ("counter", "uint32", "D100"),
        ("sine", "float32", "D102"),
        ("large", "float64", "D5000"),
        ("wave", "int16", "W20"),
        ("flag", "bool", "M77"),
        ("bit", "bool", "D120.9"),
    )
)
LATE = {"delay_s": 0.12, "jitter_s": 0.05}
"""Behind the time-out, so that the answer meets the next request if the connection is kept."""
FAULTS: dict[str, dict[str, Any]] = {
    "silent": {"every": 20},
    "drop": {"every": 20},
    "delay": {"every": 15, **LATE},
    "split": {"every": 4, "chunk_bytes": 9, "pause_s": 0.0002},
    "duplicate": {"every": 3},
    "close_before": {"every": 3},
    "close_after": {"every": 3},
    "reset": {"every": 3},
    "truncate": {"every": 20},
    "garbage": {"every": 3},
    "short": {"every": 3},
    "bad_length": {"every": 20},
    "wrong_id": {"every": 3},
    "wrong_unit": {"every": 3},
    "exception": {"every": 3, "code": 0x4A00},
    "freeze": {},
    "nan": {},
}
PORTS = [("3e", "binary"), ("4e", "ascii")]
READS = 150
TIMEOUT_S = 0.1


@pytest.mark.parametrize(("frame", "code"), PORTS)
@pytest.mark.parametrize("kind", FAULTS)
def test_no_fault_makes_a_wrong_value(tmp_path: Path, kind: str, frame: str, code: str) -> None:
    file = simulator_file(tmp_path, MOVING, code=code)
    samples: list[Sample] = []
    with RunningSimulator(file, truth=tmp_path / "truth.jsonl") as simulator:
        device = device_at(
            simulator.port, MOVING_POINTS, frame=frame, code=code, timeout_s=TIMEOUT_S
        )
        if kind != "wrong_id" or frame == "4e":
            simulator.fault(kind, **FAULTS[kind])  # type: ignore[arg-type] # a key of FAULTS
        asyncio.run(_read_on(device, samples, simulator))
        simulator.stop()
        truth = simulator.truth_lines()
    _all_true(samples, truth)
    # With and without the fault: the last ten cycles were free of it.
    assert len(samples) >= 10 * len(MOVING_POINTS)
    assert {s.quality for s in samples[-10 * len(MOVING_POINTS) :]} == {Quality.GOOD}


async def _read_on(device: McDevice, samples: list[Sample], simulator: RunningSimulator) -> None:
    """Read, connect again whenever that fails, and read ten times more without the fault."""
    driver = McDriver(device, Traffic(), lambda _lost: None)
    is_connected = False
    left = READS + 10
    while left:
        if left == 10 and is_connected:
            await asyncio.to_thread(simulator.clear)
        try:
            if not is_connected:
                await driver.connect()
                is_connected = True
            samples.extend((await driver.read("default")).samples())
            left -= 1
        except ConnectionLost:
            await driver.close()
            is_connected = False
            left -= left > 10
    await driver.close()


def _all_true(samples: list[Sample], truth: list[dict[str, Any]]) -> None:
    """Accept good samples that the PLC really had between request and answer."""
    lines = [line for line in truth if "values" in line and "spoilt" not in line]
    times = [line["t_ns"] for line in lines]
    good = [sample for sample in samples if sample.quality is Quality.GOOD]
    for sample in good:
        reach_ns = sample.received_ns - sample.source_ns + 2_000_000
        first = bisect.bisect_left(times, sample.source_ns - reach_ns)
        last = bisect.bisect_right(times, sample.source_ns + reach_ns)
        name = sample.point.removeprefix("plc/")
        served = [line["values"].get(name) for line in lines[first:last]]
        assert sample.value in served, sample


def test_a_collector_stops_at_once_while_the_plc_is_silent(tmp_path: Path) -> None:
    with RunningSimulator(simulator_file(tmp_path, MOVING)) as simulator:
        file = tmp_path / "line1.toml"
        file.write_text(
            'name = "line1"\nprotocol = "mitsubishi_mc"\n[[devices]]\nid = "plc"\n'
            f'host = "127.0.0.1"\nport = {simulator.port}\ntimeout_s = 30.0\n'
            'points = [{name = "counter", type = "uint32", address = "D100"}]\n'
            "groups = [{interval_s = 0.02}]\n"
        )
        with RunningCollector(file, tmp_path) as collector:
            collector.reading()
            simulator.fault("silent")
            eventually(lambda: simulator.counters()["faults"].get("silent"))
            assert collector.stop() < 1.0


OUTAGES: dict[str, dict[str, Any]] = {"refuse": {}, "silent": {}, "reset": {}, "garbage": {}}


def test_values_come_again_within_two_seconds_of_each_outage(tmp_path: Path) -> None:
    with RunningSimulator(simulator_file(tmp_path, MOVING)) as simulator:
        file = tmp_path / "line1.toml"
        file.write_text(
            'name = "line1"\nprotocol = "mitsubishi_mc"\n[[devices]]\nid = "plc"\n'
            f'host = "127.0.0.1"\nport = {simulator.port}\ntimeout_s = 0.3\n'
            'points = [{name = "counter", type = "uint32", address = "D100"}]\n'
            "groups = [{interval_s = 0.05}]\n"
        )
        ends_ns: list[int] = []
        with RunningCollector(file, tmp_path) as collector:
            for kind, options in OUTAGES.items():
                collector.reading()
                simulator.fault(kind, **options)  # type: ignore[arg-type] # a key of OUTAGES
                if kind == "refuse":
                    simulator.fault("reset", count=1)
                collector.beat_with(lambda beat: not beat.connections[0].is_connected)
                simulator.clear()
                ends_ns.append(time.time_ns())
            collector.reading()
            collector.stop()
    good_ns = [s.received_ns for s in collector.samples() if s.quality is Quality.GOOD]
    for end_ns in ends_ns:
        assert min(at for at in good_ns if at >= end_ns) - end_ns <= 2_000_000_000


@pytest.mark.parametrize("code", ["binary", "ascii"])
def test_a_plc_that_numbers_its_inputs_otherwise_is_refused(tmp_path: Path, code: str) -> None:
    file = simulator_file(
        tmp_path, [f'name = "x", type = "bool", address = "X10", {SQUARE}'], series="FX5", code=code
    )

    async def connect(device: McDevice) -> None:
        driver = McDriver(device, Traffic(), lambda _lost: None)
        try:
            await driver.connect()
            await driver.read("default")
        finally:
            await driver.close()

    x10 = (McPoint(name="x", address="X10", type="bool"),)
    with RunningSimulator(file) as simulator:

        def device(**settings: Any) -> McDevice:
            return device_at(simulator.port, x10, code=code, **settings)

        with pytest.raises(ConnectionLost, match=r"FX5U-32MT/DS, which numbers X and Y in octal"):
            asyncio.run(connect(device()))
        asyncio.run(connect(device(series="FX5")))
        asyncio.run(connect(device(check_series=False)))
        simulator.fault("exception", code=0xC059, count=1)
        asyncio.run(connect(device()))
        no_inputs = (McPoint(name="d", address="D0"),)
        asyncio.run(connect(device_at(simulator.port, no_inputs, code=code)))


X10 = (McPoint(name="x", address="X10", type="bool"),)


async def cannot_connect(driver: McDriver, reason: str) -> None:
    with pytest.raises(ConnectionLost, match=reason):
        await driver.connect()
    await driver.close()


def test_a_plc_that_never_tells_its_model_is_asked_twice_and_then_read(tmp_path: Path) -> None:
    file = simulator_file(tmp_path, [f'name = "x", type = "bool", address = "X10", {SQUARE}'])
    with RunningSimulator(file) as simulator:

        async def run() -> None:
            device = device_at(simulator.port, X10, timeout_s=0.2)
            driver = McDriver(device, Traffic(), lambda _lost: None)
            await asyncio.to_thread(simulator.fault, "drop", count=1)
            await cannot_connect(driver, "no answer")
            # The first request of the next connection is answered, the question is not.
            await asyncio.to_thread(simulator.fault, "drop", every=2)
            await cannot_connect(driver, "no answer")
            await driver.connect()
            assert (await read(driver))["x"].quality is Quality.GOOD
            await driver.close()

        asyncio.run(run())


def test_lost_answers_do_not_let_a_plc_of_another_series_pass(tmp_path: Path) -> None:
    """One answer that got lost, or a PLC that is silent while it starts, proves nothing."""
    signals = [f'name = "x", type = "bool", address = "X10", {SQUARE}']
    with RunningSimulator(simulator_file(tmp_path, signals, series="FX5")) as simulator:

        async def run() -> None:
            device = device_at(simulator.port, X10, timeout_s=0.2)
            driver = McDriver(device, Traffic(), lambda _lost: None)
            await asyncio.to_thread(simulator.fault, "silent")
            for _ in range(4):
                await cannot_connect(driver, "no answer")
            await asyncio.to_thread(simulator.clear)
            await cannot_connect(driver, "which numbers X and Y in octal")

        asyncio.run(run())


def test_changed_points_are_taken_over_on_the_open_connection(tmp_path: Path) -> None:
    signals, points = lone_points(20)
    signals.append(f'name = "x", type = "bool", address = "X10", {SQUARE}')
    with RunningSimulator(simulator_file(tmp_path, signals)) as simulator:
        device = device_at(simulator.port, points[:2])

        async def session(driver: McDriver) -> None:
            assert (await read(driver)).keys() == {"D0", "D200"}
            assert driver.adopt(replace(device, points=points[5:7]))
            assert {name: s.value for name, s in (await read(driver)).items()} == {
                "D1000": 5,
                "D1200": 6,
            }
            assert simulator.counters()["connections"] == 1
            # These need another connection, or a look at the model first.
            assert not driver.adopt(replace(device, timeout_s=3.0))
            inputs = (McPoint(name="x", address="X10", type="bool"),)
            assert not driver.adopt(replace(device, points=inputs))
            assert (await read(driver)).keys() == {"D1000", "D1200"}

        with_driver(device, session)


def test_what_was_learned_of_a_plc_can_be_forgotten(tmp_path: Path) -> None:
    signals, points = lone_points(20)
    with RunningSimulator(simulator_file(tmp_path, signals)) as simulator:

        async def session(driver: McDriver) -> None:
            simulator.fault("exception", code=0xC059, count=1)
            await _values_are_right(driver)
            driver.forget()
            await _values_are_right(driver)

        assert with_driver(device_at(simulator.port, points), session).requests == 1 + 20 + 1
