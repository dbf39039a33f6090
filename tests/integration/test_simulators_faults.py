"""Every fault of a simulated device, as a plain socket meets it; switched on while it runs."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulators.control_cli import CommandRefused, command
from simulators.testing import RunningSimulator

ROOT = Path(__file__).parents[2]
COUNT = 10
MODBUS = """
protocol = "modbus_tcp"
seed = 5
[[devices]]
id = "press"
[[devices.units]]
unit_id = 1
signals = [
  {name = "a", address = "holding:0", type = "int64", wave = {kind = "counter", step_s = 1e-6}},
  {name = "b", address = "holding:6", type = "float32", wave = {kind = "constant", value = 1.5}},
  {name = "c", address = "holding:9", type = "int16", wave = {kind = "constant", value = 9}},
]
[[devices.units]]
unit_id = 2
signals = [
  {name = "a", address = "holding:0", type = "int64", wave = {kind = "counter", step_s = 1e-6}},
  {name = "c", address = "holding:9", type = "int16", wave = {kind = "constant", value = 9}},
]
"""
MC = """
protocol = "mitsubishi_mc"
signals = [
  {name = "a", address = "D0", type = "int64", wave = {kind = "counter", step_s = 1e-6}},
  {name = "b", address = "D6", type = "float32", wave = {kind = "constant", value = 1.5}},
]
"""
FILES = {"modbus": MODBUS, "mc": MC}


@pytest.fixture(scope="module", params=FILES)
def shared(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    file = folder / "sim.toml"
    file.write_text(FILES[request.param])
    with RunningSimulator(file, truth=folder / "truth.jsonl") as running:
        running.protocol = request.param
        yield running


@pytest.fixture
def simulator(shared):
    yield shared
    shared.clear()


@pytest.fixture(scope="module")
def press(tmp_path_factory):
    file = tmp_path_factory.mktemp("press") / "sim.toml"
    file.write_text(MODBUS)
    with RunningSimulator(file) as running:
        yield running


@pytest.fixture
def modbus(tmp_path):
    file = tmp_path / "sim.toml"
    file.write_text(MODBUS)
    with RunningSimulator(file, truth=tmp_path / "truth.jsonl") as running:
        yield running


def connect(simulator):
    return socket.create_connection((simulator.host, simulator.port), timeout=5)


REQUEST_MC = bytes.fromhex("500000ffff03000c00100001040000 000000 a8 0a00")
ANSWER_BYTES = {"modbus": 9 + 2 * COUNT, "mc": 11 + 2 * COUNT}


def request(simulator):
    if simulator.protocol == "mc":
        return REQUEST_MC
    return struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 0, COUNT)


def receive(connection, size_bytes=65536, *, first_s=5.0, next_s=5.0):
    """Return up to ``size_bytes``: less if the peer closes, or is silent for the time given."""
    received = b""
    while len(received) < size_bytes:
        connection.settimeout(next_s if received else first_s)
        try:
            chunk = connection.recv(size_bytes - len(received))
        except TimeoutError:
            break
        if not chunk:
            break
        received += chunk
    return received


def exchange(simulator, connection=None, **patience):
    if connection is None:
        with connect(simulator) as own:
            return exchange(simulator, own, **patience)
    connection.sendall(request(simulator))
    return receive(connection, ANSWER_BYTES[simulator.protocol], **patience)


SILENCE = {"first_s": 0.3}
"""Where no answer is expected."""
PART = {"next_s": 0.3}
"""Where less of it is expected than was asked for."""


def is_whole(simulator, answer):
    start = b"\0\7\0\0" if simulator.protocol == "modbus" else bytes.fromhex("d00000ffff0300")
    return len(answer) == ANSWER_BYTES[simulator.protocol] and answer.startswith(start)


def test_without_a_fault_the_answer_is_whole(simulator):
    assert is_whole(simulator, exchange(simulator))


def test_refuse_ends_connections_and_takes_no_new_one_until_it_is_cleared(simulator):
    with connect(simulator) as open_before:
        assert is_whole(simulator, exchange(simulator, open_before))
        simulator.fault("refuse")
        with pytest.raises(ConnectionRefusedError):
            connect(simulator)
        open_before.settimeout(5)
        with pytest.raises(ConnectionResetError):
            raise_if_closed(open_before)
    simulator.clear("refuse")
    assert is_whole(simulator, exchange(simulator))


def raise_if_closed(connection):
    if connection.recv(1) == b"":
        raise ConnectionResetError


def test_silent_accepts_and_never_answers(simulator):
    with connect(simulator) as connection:
        simulator.fault("silent")
        assert exchange(simulator, connection, **SILENCE) == b""
        simulator.clear("silent")
        assert is_whole(simulator, exchange(simulator, connection))


def test_drop_loses_the_next_answers_only(simulator):
    simulator.fault("drop", count=2)
    with connect(simulator) as connection:
        answers = [exchange(simulator, connection, **SILENCE) for _ in range(2)]
        answers += [exchange(simulator, connection) for _ in range(2)]
    assert [is_whole(simulator, answer) for answer in answers] == [False, False, True, True]


def test_every_third_request_is_met(simulator):
    simulator.fault("drop", every=3)
    with connect(simulator) as connection:
        patience = [{}, {}, SILENCE] * 2
        answers = [exchange(simulator, connection, **given) for given in patience]
    assert [bool(answer) for answer in answers] == [True, True, False] * 2


def test_delay_holds_the_answer_back(simulator):
    simulator.fault("delay", delay_s=0.15, jitter_s=0.05)
    began = time.monotonic()
    assert is_whole(simulator, exchange(simulator))
    assert time.monotonic() - began >= 0.15


def test_a_client_that_does_not_wait_for_late_answers_gets_them_all(simulator):
    simulator.fault("delay", delay_s=0.0)
    with connect(simulator) as connection:
        connection.sendall(request(simulator) * 3000)
        size = 3000 * ANSWER_BYTES[simulator.protocol]
        assert len(receive(connection, size)) == size


@pytest.mark.parametrize("chunk_bytes", [1, 7])
def test_split_sends_pieces_that_make_the_whole(simulator, chunk_bytes):
    simulator.fault("split", chunk_bytes=chunk_bytes, pause_s=0.02)
    with connect(simulator) as connection:
        connection.sendall(request(simulator))
        first = connection.recv(65536)
        size = ANSWER_BYTES[simulator.protocol]
        assert 0 < len(first) < size
        assert is_whole(simulator, first + receive(connection, size - len(first)))


def test_close_before_and_close_after_the_answer(simulator):
    simulator.fault("close_before", count=1)
    with connect(simulator) as connection:
        assert exchange(simulator, connection) == b""
        assert connection.recv(1) == b""
    simulator.fault("close_after", count=1)
    with connect(simulator) as connection:
        assert is_whole(simulator, exchange(simulator, connection))
        connection.settimeout(5)
        assert connection.recv(1) == b""


def test_reset_ends_the_connection_with_rst(simulator):
    simulator.fault("reset", count=1)
    with connect(simulator) as connection:
        connection.sendall(request(simulator))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_duplicate_sends_the_answer_twice(simulator):
    simulator.fault("duplicate", count=1)
    with connect(simulator) as connection:
        first = exchange(simulator, connection)
        assert receive(connection, len(first)) == first


def test_truncate_leaves_the_connection_open_after_half_an_answer(simulator):
    simulator.fault("truncate", count=1)
    with connect(simulator) as connection:
        assert 0 < len(exchange(simulator, connection, **PART)) < ANSWER_BYTES[simulator.protocol]
        assert is_whole(simulator, exchange(simulator, connection))


def test_garbage_is_as_long_as_the_answer_and_the_same_for_the_same_seed(simulator):
    simulator.fault("garbage", count=2)
    first, second = exchange(simulator), exchange(simulator)
    assert len(first) == len(second) == ANSWER_BYTES[simulator.protocol]
    assert first != second
    assert not is_whole(simulator, first)


def test_short_answers_less_than_was_asked_for(simulator):
    simulator.fault("short", count=1)
    answer = exchange(simulator, **PART)
    if simulator.protocol == "modbus":
        assert (answer[4:6], answer[8], len(answer)) == (b"\0\x0d", COUNT, 9 + COUNT)
    else:
        assert (answer[7:9], len(answer)) == (struct.pack("<H", 2 + COUNT), 11 + COUNT)


def test_bad_length_contradicts_itself(simulator):
    simulator.fault("bad_length", count=1)
    answer = exchange(simulator, **PART)
    if simulator.protocol == "modbus":
        assert (answer[8], len(answer)) == (2 * COUNT, 9 + COUNT)
        assert int.from_bytes(answer[4:6], "big") == len(answer) - 6
    else:
        assert (answer[7:9], len(answer)) == (struct.pack("<H", 2 + COUNT), 11 + 2 * COUNT)


def test_exception_takes_the_place_of_the_answer(simulator):
    code = 6 if simulator.protocol == "modbus" else 0xC056
    simulator.fault("exception", count=1, code=code)
    answer = exchange(simulator, **PART)
    if simulator.protocol == "modbus":
        assert answer[6:] == bytes([1, 0x83, 6])
    else:
        assert answer[9:] == struct.pack("<H", code) + request(simulator)[2:7] + b"\1\4\0\0"


def test_freeze_stops_the_waves_and_nan_is_no_number(simulator):
    simulator.fault("freeze")
    first, second = exchange(simulator), exchange(simulator)
    assert first == second
    simulator.clear("freeze")
    assert exchange(simulator) != first
    simulator.fault("nan")
    answer = exchange(simulator)
    float_bytes = answer[-8:-4]
    if simulator.protocol == "mc":
        assert struct.unpack("<f", float_bytes)[0] != struct.unpack("<f", float_bytes)[0]
    else:
        assert struct.unpack(">f", float_bytes)[0] != struct.unpack(">f", float_bytes)[0]


def test_only_so_many_clients_are_served(simulator):
    simulator.fault("max_connections", connections=1)
    with connect(simulator) as first:
        assert is_whole(simulator, exchange(simulator, first))
        with pytest.raises(ConnectionResetError), connect(simulator) as second:
            raise_if_closed(second)
        assert is_whole(simulator, exchange(simulator, first))


def modbus_answer(simulator, unit=1, **patience):
    with connect(simulator) as connection:
        connection.sendall(struct.pack(">HHHBBHH", 7, 0, 6, unit, 3, 0, COUNT))
        return receive(connection, 29, **patience)


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [("wrong_id", slice(0, 2), "0008"), ("wrong_unit", slice(6, 7), "02"),
     ("wrong_function", slice(7, 8), "04")],
)  # fmt: skip
def test_a_modbus_answer_to_something_else(modbus, kind, place, value):
    modbus.fault(kind, count=1)
    assert modbus_answer(modbus)[place].hex() == value
    assert modbus_answer(modbus)[:9].hex() == "000700000017010314"


def test_a_fault_can_meet_one_unit_of_a_gateway(modbus):
    modbus.fault("silent", device="press", unit=2)
    assert modbus_answer(modbus, unit=2, **SILENCE) == b""
    assert len(modbus_answer(modbus, unit=1)) == 29


def test_the_truth_log_says_which_answers_were_spoilt_and_none_that_never_left(modbus):
    for kind in ("wrong_id", "drop", "exception", "close_before"):
        modbus.fault(kind, count=1)
        modbus_answer(modbus, first_s=0.3, next_s=0.3)
    modbus_answer(modbus)
    modbus.stop()
    lines = modbus.truth_lines()
    assert [line.get("spoilt") for line in lines] == [["wrong_id"], None]
    assert all(set(line["values"]) == {"a", "b", "c"} for line in lines)


def test_a_signal_holds_what_the_control_endpoint_writes(modbus):
    modbus.write("c", -5, unit=1)
    assert modbus_answer(modbus)[-2:] == struct.pack(">h", -5)
    assert modbus_answer(modbus, unit=2)[-2:] == struct.pack(">h", 9)
    modbus.write("c", None)
    assert modbus_answer(modbus)[-2:] == struct.pack(">h", 9)


def test_counters_tell_what_happened(modbus):
    modbus.fault("drop", count=1)
    modbus_answer(modbus, **SILENCE)
    modbus_answer(modbus)
    counters = modbus.counters("press")
    assert (counters["connections"], counters["requests"], counters["answers"]) == (2, 2, 1)
    assert counters["faults"] == {"drop": 1}
    modbus.fault("refuse", for_s=60)
    (device,) = modbus.devices()
    assert (device["id"], device["port"]) == ("press", modbus.port)
    assert [fault["fault"] for fault in device["faults"]] == ["refuse"]


@pytest.mark.parametrize(
    ("do", "keys", "line"),
    [
        ("fault", {"fault": "dely"}, "fault: 'dely' is not allowed. Use one of "),
        ("fault", {"fault": "nan", "every": 2}, "every does not belong to the fault nan."),
        ("fault", {"fault": "drop", "evry": 2}, "evry: the key is unknown. Did you mean every?"),
        ("fault", {"fault": "drop", "count": 0}, "count: 0 is too small. Use at least 1."),
        ("fault", {"fault": "drop", "device": "x"}, "device: there is no device x. Use * for all"),
        ("fault", {"fault": "drop", "unit": 9}, "unit: the device * has no unit 9."),
        ("fault", {"fault": "refuse", "unit": 1}, "the fault refuse is of the whole device."),
        ("fault", {"fault": "exception", "code": 256}, "code: the code 256 is beyond those of"),
        ("fault", {"fault": "restart"}, "fault: modbus_tcp devices do not have the fault restart"),
        ("write", {"device": "press", "signal": "z", "value": 1}, "signal: the device press has"),
        ("write", {"device": "*", "signal": "c", "value": "x"}, "value: a signal of type int16"),
        ("write", {"device": "*", "signal": "c", "value": 40000}, "value: 40000 does not fit"),
        ("format", {}, "do: this is not a command. Use one of devices, fault, clear, write."),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why(press, do, keys, line):
    with pytest.raises(CommandRefused) as caught:
        command(press.control_port, do, **keys)
    for language in ("en", "zh-CN"):
        assert all("{" not in text for text in caught.value.lines(language))
    assert caught.value.lines("en")[0].startswith(line)


def test_what_is_no_command_ends_the_connection_before_its_next_line(press):
    order = json.dumps({"do": "fault", "fault": "refuse"}).encode()
    with socket.create_connection(("127.0.0.1", press.control_port), timeout=5) as browser:
        browser.sendall(b"POST / HTTP/1.1\r\n\r\n" + order + b"\n")
        assert receive(browser) == b""
    assert all(not device["faults"] for device in press.devices())


def test_a_scenario_switches_a_fault_on_and_off_again(tmp_path):
    file = tmp_path / "sim.toml"
    scenario = '[[scenario]]\nat_s = 0.3\nfault = "refuse"\nfor_s = 0.3\nrepeat_s = 0.9\n'
    file.write_text(MODBUS + scenario)
    seen = []
    with RunningSimulator(file) as simulator:
        deadline = time.monotonic() + 10
        while seen[-4:] != [False, True, False, True] and time.monotonic() < deadline:
            try:
                connect(simulator).close()
                connected = True
            except ConnectionRefusedError:
                connected = False
            if seen[-1:] != [connected]:
                seen.append(connected)
            time.sleep(0.01)
    assert seen[-4:] == [False, True, False, True]


def run(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "simulators", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"LC_ALL": "C"} | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_command_line_finds_and_commands_a_running_simulator(tmp_path):
    file = tmp_path / "sim.toml"
    file.write_text("control_port = 0\n" + MODBUS)
    command_line = [sys.executable, "-m", "simulators", str(file)]
    assert run("devices", file).stderr.startswith(f"no simulator of {file} answers: ")
    with subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["event"] == "listening"
        assert run("fault", file, "press", "delay", "--delay-s", 0.5).returncode == 0
        assert run("write", file, "press", "c", 77, "--unit", 1).returncode == 0
        (device,) = map(json.loads, run("devices", file).stdout.splitlines())
        assert device["faults"][0]["delay_s"] == 0.5
        assert run("clear", file, "*").returncode == 0
        refused = run("fault", file, "pres", "delay")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            "device: there is no device pres. Use * for all, or one of press.\n"
        )
        process.terminate()
        assert process.wait(5) == 0
    assert not (tmp_path / "sim.toml.control").exists()


def test_the_command_line_explains_itself_in_both_languages(tmp_path):
    assert "misbehave" in run("fault", "--help").stdout
    assert "出故障" in run("fault", "--help", DAQ_LANG="zh").stdout
    assert "SIGTERM" in run("--help").stdout
    wrong = run("fault", tmp_path, "press", "dely")
    assert wrong.returncode == 2
    assert "cannot be understood" in wrong.stderr
    file = tmp_path / "sim.toml"
    file.write_text(MODBUS)
    assert "Add control_port = 0" in run("devices", file).stderr
