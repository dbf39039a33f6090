"""A simulator file that cannot work is refused with one sentence a problem."""

from pathlib import Path

import pytest

from collectors.contract.addresses import parse_modbus_address
from collectors.contract.addresses_mc import parse_mc_address
from collectors.contract.config import load_collector
from simulators import addresses, mc_devices
from simulators.problems import (
    LANGUAGES,
    SimulatorFileError,
    load_simulator,
    parse_simulator,
)

DEMO = Path(__file__).parents[2] / "simulators" / "demo"


def wave(kind="constant", **keys):
    return {"kind": kind} | (keys or {"value": 1})


def mc(*signals, **more):
    return {"protocol": "mitsubishi_mc", "signals": list(signals)} | more


def modbus(*signals, **more):
    return {"protocol": "modbus_tcp", "units": [{"signals": list(signals)} | more]}


def opcua(*signals, **more):
    return {"protocol": "opcua", "signals": list(signals)} | more


def signal(address="D0", kind="int16", name="a", **more):
    return {"name": name, "address": address, "type": kind, "wave": wave()} | more


def twin(name="a", **more):
    return {"id": name, "signals": [signal()]} | more


def problems_of(document):
    with pytest.raises(SimulatorFileError) as caught:
        parse_simulator(document, file="press.toml")
    for language in LANGUAGES:
        for line in caught.value.lines(language):
            assert line.startswith("press.toml: ")
            assert "{" not in line
    return [(problem.key, problem.code) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        ({}, [("protocol", "missing")]),
        ({"protocol": "profinet"}, [("protocol", "protocol")]),
        (mc(), [("signals", "empty_list")]),
        (mc(3), [("signals[0]", "not_table")]),
        (mc(signal(), port=70000), [("port", "too_big")]),
        (mc(signal(), update_s=1.0), [("update_s", "unknown_key_far")]),
        (mc(signal(), sede=1), [("sede", "unknown_key")]),
        (mc(signal("D12288")), [("signals[0].address", "address_mc_range")]),
        (mc(signal("DFF")), [("signals[0].address", "address_mc_digits")]),
        (mc(signal("Q1")), [("signals[0].address", "address_mc_device")]),
        (mc(signal("M1.1", "bool")), [("signals[0].address", "address_mc_bit")]),
        (mc(signal("M1")), [("signals[0]", "type_mismatch")]),
        (mc(signal("D12287", "int32")), [("", "past_end")]),
        (mc(signal(wave=wave("sine", mean=1))), [("signals[0].wave.period_s", "missing")]),
        (mc(signal(wave=wave("sine", period=1))), None),
        (mc(signal(wave=wave("sinus", value=1))), [("signals[0].wave.kind", "wave")]),
        (mc(signal(wave=wave("counter", step_s=0))), [("signals[0].wave.step_s", "too_small")]),
        (
            mc(signal(wave=wave("csv", file="nowhere.csv", column="a"))),
            [("signals[0].wave", "csv_unreadable")],
        ),
        (mc(signal(wave=wave(value=[1]))), [("signals[0].wave.value", "not_a_value")]),
        (mc(signal(wave=wave(value=70000))), [("signals[0]", "wave_range")]),
        (mc(signal(wave=wave(value="x"))), [("signals[0]", "wave_kind")]),
        (
            mc(signal(kind="string", wave=wave("text_list", values=["ab", "abc"]))),
            [("signals[0]", "wave_text_too_long")],
        ),
        (
            mc(signal(kind="string", wave=wave("ramp", period_s=1))),
            [("signals[0]", "wave_kind")],
        ),
        (
            mc(signal(wave=wave("random_walk", low=2, high=1))),
            [("signals[0].wave", "walk_range")],
        ),
        (mc(signal("D1"), signal("D2")), [("", "duplicate_name")]),
        (mc(signal("D1", "int32"), signal("D2", name="b")), [("", "overlap")]),
        (mc(signal("D2"), signal("D2.1", "bool", name="b")), [("", "overlap")]),
        (
            modbus(signal("holding:1", order="DABC")),
            [("units[0].signals[0].order", "not_one_of")],
        ),
        (modbus(signal("40001")), [("units[0].signals[0].address", "address_modbus_form")]),
        (
            modbus(signal("holding:65536")),
            [("units[0].signals[0].address", "address_modbus_offset")],
        ),
        (
            modbus(signal("coil:1.1", "bool")),
            [("units[0].signals[0].address", "address_modbus_bit")],
        ),
        (modbus(signal("holding:1", "bool")), [("units[0].signals[0]", "type_mismatch")]),
        (modbus(signal("holding:1"), unit_id=256), [("units[0].unit_id", "too_big")]),
        (
            modbus(signal("holding:1"), gaps_readable=1),
            [("units[0].gaps_readable", "not_bool")],
        ),
        (opcua(signal("ns=3;s=A")), [("signals[0].address", "address_namespace")]),
        (opcua(signal("ns=1;s=A")), [("signals[0].address", "address_node_id")]),
        (opcua(signal("ns=2;i=1"), anonymous=False), [("", "no_users")]),
        (
            opcua(signal("ns=2;i=1"), security_policies=["basic128rsa15"]),
            [("security_policies[0]", "not_one_of")],
        ),
        (mc(signal("X8", "bool"), series="FX5"), [("signals[0].address", "address_mc_digits")]),
        (mc(signal(), devices=[{}]), None),
        (
            mc(signal(), scenario=[{"at_s": 1, "fault": "restart"}]),
            [("scenario[0].fault", "fault_protocol")],
        ),
        (
            mc(signal(), scenario=[{"at_s": 1, "fault": "drop", "delay_s": 1}]),
            [("scenario[0]", "fault_option")],
        ),
        (
            modbus(signal("holding:1")) | {"scenario": [{"fault": "drop", "device": "x"}]},
            [("scenario[0].at_s", "missing")],
        ),
        (
            modbus(signal("holding:1"))
            | {"scenario": [{"at_s": 0, "fault": "drop", "device": "x"}]},
            [("scenario[0].device", "no_such_device")],
        ),
        ({"protocol": "mitsubishi_mc", "devices": [twin(), twin()]}, [("", "duplicate_device")]),
        (
            {"protocol": "mitsubishi_mc", "devices": [twin(port=9), twin("b", port=9)]},
            [("", "duplicate_port")],
        ),
        (
            {"protocol": "mitsubishi_mc", "devices": [twin(port=65535, copies=2)]},
            [("devices[0]", "copies_ports")],
        ),
        (
            {"protocol": "mitsubishi_mc", "devices": [twin(copys=2)]},
            [("devices[0].copys", "unknown_key")],
        ),
        (opcua(signal("ns=2;i=1"), signal("ns=2;i=1", name="b")), [("", "overlap")]),
        (opcua(signal("ns=2;i=1"), update_s=0.001), [("update_s", "too_small")]),
    ],
)
def test_a_wrong_file_names_each_key_and_its_problem(document, problems):
    found = problems_of(document)
    assert found == problems if problems is not None else len(found) == 2


def test_two_bits_of_one_word_are_two_signals():
    document = mc(signal("D2.1", "bool"), signal("D2.2", "bool", name="b"))
    assert len(parse_simulator(document, file="f").devices[0].signals) == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"\xff\xfe", "not_utf8"), (b"port = = 1", "not_toml"), (b"a" + b"[" * 9999, "not_toml")],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path, content, code):
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(SimulatorFileError) as caught:
        load_simulator(file)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SimulatorFileError, match=r"nowhere\.toml: the file cannot be read"):
        load_simulator(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("protocol", ["modbus", "mitsubishi"])
def test_every_demo_point_reads_the_signal_of_the_same_name_type_and_order(protocol):
    (simulator,) = load_simulator(DEMO / f"sim-{protocol}.toml").devices
    (device,) = load_collector(DEMO / f"demo-{protocol}.toml").devices
    units = simulator.units if protocol == "modbus" else (simulator,)
    signals = {signal.name: signal for unit in units for signal in unit.signals}
    keys = ("address", "type", "length", "order") if protocol == "modbus" else ("address", "type")
    assert device.port == simulator.port
    assert {point.name for point in device.points} == set(signals)
    for point in device.points:
        for key in keys:
            assert getattr(point, key) == getattr(signals[point.name], key), point.name


def test_every_demo_opcua_point_reads_the_node_of_the_same_name():
    (simulator,) = load_simulator(DEMO / "sim-opcua.toml").devices
    (device,) = load_collector(DEMO / "demo-opcua.toml").devices
    assert device.port == simulator.port
    assert {point.name: point.node_id for point in device.points} == {
        signal.name: signal.address for signal in simulator.signals
    }


@pytest.mark.parametrize("text", ["D100", "M8191", "X1F", "XA0", "DX1F", "ZR393215", "D5.F", "TN0"])
def test_collectors_and_simulators_read_mc_addresses_alike(text):
    theirs, ours = parse_mc_address(text), mc_devices.parse_mc_address(text)
    assert (theirs.device, theirs.number, theirs.bit) == (ours.area, ours.start, ours.bit)


@pytest.mark.parametrize("text", ["holding:0", "input:65535", "coil:1", "holding:7.15"])
def test_collectors_and_simulators_read_modbus_addresses_alike(text):
    theirs, ours = parse_modbus_address(text), addresses.parse_modbus_address(text)
    assert (theirs.table, theirs.offset, theirs.bit) == (ours.area, ours.start, ours.bit)
