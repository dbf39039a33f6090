"""Writes to a device that misbehaves: what is told as done was done, and nothing else is."""

import asyncio
import itertools

import pytest
from fault_plants import FAULTS

from collectors.contract.config import parse_collector
from collectors.runtime.driver import ConnectionLost, Traffic, WriteFailed, create_driver
from simulators.testing import RunningSimulator

WRITES = 6
FORMS = {
    "modbus-tcp": ("modbus_tcp", "", ("holding:100", "uint32"), {}),
    "modbus-rtu": (
        "modbus_tcp", 'framing = "rtu_over_tcp"\n', ("holding:100", "uint32"),
        {"framing": "rtu_over_tcp"},
    ),
    "mc-3e": ("mitsubishi_mc", "", ("D100", "uint32"), {}),
    "mc-4e": (
        "mitsubishi_mc", 'code = "ascii"\n', ("D100", "uint32"), {"frame": "4e", "code": "ascii"},
    ),
    "opcua": ("opcua", "", ("ns=2;s=w", "uint32"), {}),
}  # fmt: skip
SKIPPED = {"refuse", "full", "freeze", "nan", "bad-quality", "stuck", "session", "restart"}
"""Nothing is written under the first two, and the others do not touch writes."""
LATE = {"delay_s": 0.15}
"""Longer than the drivers here wait."""


def simulator_file(folder, protocol, head, address, kind):
    units = "[[units]]\n" if protocol == "modbus_tcp" else ""
    wave = '{kind = "writable", value = 0}'
    file = folder / "sim.toml"
    file.write_text(
        f'protocol = "{protocol}"\n{head}{units}signals = [{{name = "w", type = "{kind}", '
        f'address = "{address}", wave = {wave}}}]\n'
    )
    return file


def driver_of(protocol, port, address, kind, settings, home):
    point = {"name": "w", "writable": True}
    point |= {"node_id": address} if protocol == "opcua" else {"address": address, "type": kind}
    place = {"host": "127.0.0.1", "port": port}
    if protocol == "opcua":
        place = {"endpoint": f"opc.tcp://127.0.0.1:{port}"}
    device = {"id": "device", "timeout_s": 0.1, "points": [point], **place, **settings}
    document = {"name": "line1", "protocol": protocol, "devices": [device]}
    config = parse_collector(document, file="line1.toml")
    return create_driver(protocol, config.devices[0], Traffic(), lambda _lost: None, home)


async def write_under(driver, values):
    """Return the values that were told as written."""
    done = []
    for value in itertools.islice(values, WRITES):
        try:
            await driver.connect()
            assert (await driver.write("w", value)).value == value
            done.append(value)
        except (ConnectionLost, WriteFailed):
            pass
        await driver.close()
    return done


@pytest.mark.parametrize("form", FORMS)
def test_a_write_that_is_told_as_done_has_reached_the_device(tmp_path, form):
    protocol, head, (address, kind), settings = FORMS[form]
    file = simulator_file(tmp_path, protocol, head, address, kind)
    told = {}
    values = itertools.count(100_001, 65_537 + 12)
    with RunningSimulator(file, truth=tmp_path / "truth.jsonl") as simulator:
        driver = driver_of(protocol, simulator.port, address, kind, settings, tmp_path)
        for fault, (name, options) in FAULTS[protocol].items():
            if fault in SKIPPED:
                continue
            late = LATE if "delay_s" in options else {}
            simulator.fault(name, **options | late)
            told[fault] = asyncio.run(write_under(driver, values))
            simulator.clear()
        told["none"] = asyncio.run(write_under(driver, values))
        simulator.stop()
    written = {line["write"]["w"] for line in simulator.truth_lines() if "write" in line}
    print({fault: len(done) for fault, done in told.items()})
    assert [value for done in told.values() for value in done if value not in written] == []
    assert len(told["none"]) == WRITES
