"""The driver reads and writes a PLC simulator that somebody else wrote: aslmp's.

Its FX5U target behaves as its authors measured a real FX5U-32MT/DS, its "pedantic" target as the
manual (SH-080956) says.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aslmp.profile import Encoding
from aslmp.testing.server import Entry, PlcSimulator
from aslmp.testing.targets import FX5U_32MT_DS, PEDANTIC, SimulatorTarget
from aslmp.wire.frames import FrameType

from collectors.contract.config_mc import McDevice, McPoint
from collectors.contract.points import Quality, Sample, Value
from collectors.mitsubishi_mc.driver import McDriver
from collectors.runtime.driver import ConnectionLost, Traffic, WriteFailed, WriteRefused

FRAMES = {"3e": FrameType.THREE_E, "4e": FrameType.FOUR_E}
ENCODINGS = {
    "binary": Encoding.BINARY,
    "ascii": Encoding.ASCII_XY_HEX,
    "ascii_xy_hex": Encoding.ASCII_XY_HEX,
}
TARGETS: dict[str, tuple[SimulatorTarget, str]] = {
    "FX5": (FX5U_32MT_DS, "FX5"),
    "iQ-R": (PEDANTIC, "iQ-R"),
}

Session = Callable[[PlcSimulator, McDriver], Awaitable[None]]


def points(*rows: tuple[Any, ...]) -> tuple[McPoint, ...]:
    return tuple(
        McPoint(name=address, address=address, type=kind, **dict(settings))
        for address, kind, *settings in rows
    )


def with_driver(
    session: Session, given: tuple[McPoint, ...], series: str = "FX5", **settings: Any
) -> None:
    """Run ``session`` with a driver that is connected to a simulator of ``series``."""
    code, frame = settings.get("code", "binary"), settings.get("frame", "3e")
    encoding = ENCODINGS[code]
    if series == "FX5" and code == "ascii":
        encoding = Encoding.ASCII_XY_OCT
    target, _ = TARGETS[series]
    entry = Entry("plc", "tcp", encoding=encoding, frame=FRAMES[frame])

    async def run() -> None:
        async with PlcSimulator(target=target, entries=[entry]) as plc:
            host, port = plc.address("plc")
            device = McDevice(
                id="plc",
                host=host,
                port=port,
                series=series,  # type: ignore[arg-type] # a key of TARGETS
                timeout_s=2.0,
                points=given,
                **settings,
            )
            driver = McDriver(device, Traffic(), lambda _lost: None)
            await driver.connect()
            try:
                await session(plc, driver)
            finally:
                await driver.close()

    asyncio.run(run())


async def read(driver: McDriver) -> dict[str, Sample]:
    samples = (await driver.read("default")).samples()
    return {sample.point.removeprefix("plc/"): sample for sample in samples}


def low_word_first(layout: str, value: float) -> list[int]:
    return list(
        struct.unpack(f"<{struct.calcsize(layout) // 2}H", struct.pack(f"<{layout}", value))
    )


CASES = [
    (series, frame, code)
    for series, codes in (
        ("FX5", ("binary", "ascii", "ascii_xy_hex")),
        ("iQ-R", ("binary", "ascii")),
    )
    for frame in FRAMES
    for code in codes
]


@pytest.mark.parametrize(("series", "frame", "code"), CASES)
def test_each_frame_and_code_reads_what_the_plc_holds(series: str, frame: str, code: str) -> None:
    in_radix = "o" if series == "FX5" else "X"
    x, y = f"X{0o21:{in_radix}}", f"Y{0o107:{in_radix}}"
    rows = points(
        ("D0", "int16"), ("D1", "float32"), ("D300", "int32"), ("D500", "string", ("length", 3)),
        ("D600", "float64"), ("Z7", "uint16"), ("W1F", "uint16"), ("TN3", "int16"),
        ("M17", "bool"), ("M7000", "bool"), (x, "bool"), (y, "bool"), ("TS5", "bool"),
        ("D700.A", "bool"), ("D800", "bcd32"), ("D802", "uint32", ("order", "ABCD")),
    )  # fmt: skip

    async def session(plc: PlcSimulator, driver: McDriver) -> None:
        memory = plc.memory
        memory.write_words("D", 0, [0xFFFE])
        memory.write_words("D", 1, low_word_first("f", 3.25))
        memory.write_words("D", 300, low_word_first("i", -70000))
        memory.write_words("D", 500, list(struct.unpack("<3H", b"RECIPE")))
        memory.write_words("D", 600, low_word_first("d", 1e100))
        memory.write_words("Z", 7, [65000])
        memory.write_words("W", 0x1F, [31])
        memory.write_words("TN", 3, [77])
        memory.write_words("D", 700, [1 << 10])
        memory.write_words("D", 800, [0x5678, 0x1234, 0x0001, 0x0002])
        for device, number in (("M", 17), ("M", 7000), ("X", 0o21), ("Y", 0o107), ("TS", 5)):
            memory.write_bits(device, number, [True])
        got = await read(driver)
        assert {sample.quality for sample in got.values()} == {Quality.GOOD}
        assert {name: sample.value for name, sample in got.items()} == {
            "D0": -2, "D1": 3.25, "D300": -70000, "D500": "RECIPE", "D600": 1e100, "Z7": 65000,
            "W1F": 31, "TN3": 77, "D800": 12345678, "D802": 65538,
            **dict.fromkeys(("M17", "M7000", x, y, "TS5", "D700.A"), True),
        }  # fmt: skip

    with_driver(session, rows, series, frame=frame, code=code)


@pytest.mark.parametrize(("series", "frame", "code"), CASES)
def test_what_is_written_is_in_the_plc(series: str, frame: str, code: str) -> None:
    y = f"Y{0o17:{'o' if series == 'FX5' else 'X'}}"
    rows = points(
        ("D10", "int16", ("scale", 0.1), ("writable", True)),
        ("D11", "float32", ("writable", True)),
        ("D20", "string", ("length", 3), ("writable", True)),
        ("M100", "bool", ("writable", True)),
        (y, "bool", ("writable", True)),
    )

    async def session(plc: PlcSimulator, driver: McDriver) -> None:
        memory = plc.memory
        memory.write_bits("M", 99, [True, False, True])
        wanted: dict[str, Value] = {"D10": -12.5, "D11": 0.1, "D20": "OK", "M100": True, y: True}
        for name, value in wanted.items():
            sample = await driver.write(name, value)
            assert (sample.point, sample.quality) == (f"plc/{name}", Quality.GOOD)
            assert sample.value == pytest.approx(value)
        assert memory.read_words("D", 10, 1) == (0xFFFF & -125,)
        assert list(memory.read_words("D", 11, 2)) == low_word_first("f", 0.1)
        assert memory.read_words("D", 20, 3) == (0x4B4F, 0, 0)
        assert [bool(bit) for bit in memory.read_bits("M", 99, 3)] == [True, True, True]
        assert [bool(bit) for bit in memory.read_bits("Y", 0o17, 1)] == [True]
        await driver.write("M100", False)
        assert [bool(bit) for bit in memory.read_bits("M", 99, 3)] == [True, False, True]

    with_driver(session, rows, series, frame=frame, code=code)


@pytest.mark.parametrize("series", TARGETS)
def test_one_missing_device_makes_one_bad_point(series: str) -> None:
    """D20000 does not exist in either PLC, D7999 is the FX5's last."""
    rows = points(
        *((f"D{number}", "int16") for number in (0, 1, 7998, 7999, 20000)), ("SW7FF", "int16")
    )

    async def session(plc: PlcSimulator, driver: McDriver) -> None:
        plc.memory.write_words("D", 7998, [5, 6])
        for _ in range(2):
            got = await read(driver)
            bad = {name: sample for name, sample in got.items() if sample.quality.is_bad}
            assert bad.keys() == {"D20000"}
            assert (bad["D20000"].quality, bad["D20000"].code) == (Quality.BAD_CONFIG, 0xC056)
            assert (got["D7998"].value, got["D7999"].value) == (5, 6)
        driver.forget()
        assert (await read(driver)).keys() == got.keys()

    with_driver(session, rows, series)


def test_a_write_that_the_plc_refuses_leaves_the_connection_open() -> None:
    rows = points(("D0", "int16"), ("D20000", "int16", ("writable", True)))

    async def session(_plc: PlcSimulator, driver: McDriver) -> None:
        with pytest.raises(WriteFailed) as caught:
            await driver.write("D20000", 1)
        assert (caught.value.code, caught.value.native_code) == ("device_refused", 0xC056)
        assert (await read(driver))["D0"].value == 0

    with_driver(session, rows)


@pytest.mark.parametrize(("value", "code"), [(40000, "does_not_fit"), ("7", "wrong_type")])
def test_a_value_that_does_not_fit_is_not_sent(value: Value, code: str) -> None:
    rows = points(("D0", "int16", ("writable", True)))

    async def session(plc: PlcSimulator, driver: McDriver) -> None:
        await read(driver)
        plc.clear_transcript()
        with pytest.raises(WriteRefused) as caught:
            await driver.write("D0", value)
        assert caught.value.code == code
        assert plc.transcript == ()

    with_driver(session, rows)


def test_a_plc_set_to_the_other_code_is_silent_and_the_reason_says_so() -> None:
    async def run() -> None:
        async with PlcSimulator(entries=[Entry("plc", "tcp", encoding=Encoding.BINARY)]) as plc:
            host, port = plc.address("plc")
            given = points(("D0", "int16"))
            device = McDevice(
                id="plc", host=host, port=port, code="ascii", timeout_s=0.3, points=given
            )
            driver = McDriver(device, Traffic(), lambda _lost: None)
            await driver.connect()
            with pytest.raises(ConnectionLost, match="check code and frame") as caught:
                await driver.read("default")
            assert caught.value.quality is Quality.BAD_TIMEOUT
            await driver.close()

    asyncio.run(run())


def test_a_second_client_of_a_connection_entry_is_told_why() -> None:
    """The PLC accepts it, and hangs up before it answers."""
    rows = points(("D0", "int16"))

    async def session(plc: PlcSimulator, driver: McDriver) -> None:
        assert (await read(driver))["D0"].value == 0
        host, port = plc.address("plc")
        second = McDevice(id="two", host=host, port=port, series="FX5", points=rows)
        late = McDriver(second, Traffic(), lambda _lost: None)

        async def connect_and_read() -> None:
            await late.connect()
            await late.read("default")

        with pytest.raises(ConnectionLost, match="another client may use"):
            await connect_and_read()
        await late.close()
        assert (await read(driver))["D0"].value == 0

    with_driver(session, rows)


def test_a_connection_that_the_plc_ends_between_two_requests_is_noticed_with_its_reason() -> None:
    async def run() -> None:
        entry = Entry("plc", "tcp", encoding=Encoding.BINARY)
        async with PlcSimulator(target=FX5U_32MT_DS, entries=[entry]) as plc:
            host, port = plc.address("plc")
            device = McDevice(id="plc", host=host, port=port, points=points(("D0", "int16")))
            reasons: list[str] = []
            first = McDriver(device, Traffic(), lambda lost: reasons.append(lost.reason))
            await first.connect()
            await read(first)
            late = McDriver(device, Traffic(), lambda lost: reasons.append(lost.reason))
            await late.connect()
            async with asyncio.timeout(5):
                while not reasons:
                    await asyncio.sleep(0.001)
            assert "another client may use" in reasons[0]
            await late.close()
            await first.close()

    asyncio.run(run())
