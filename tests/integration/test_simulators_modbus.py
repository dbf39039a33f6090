"""A stock Modbus client reads from a running simulator what the truth log says it served."""

import asyncio
import socket
import struct
import time

import pytest
from pymodbus.client import AsyncModbusTcpClient, ModbusTcpClient

from simulators.testing import RunningSimulator

FILE = """
protocol = "modbus_tcp"
seed = 7
[[units]]
unit_id = 1
[[units.signals]]
name = "temperature"
address = "input:0"
type = "float32"
order = "CDAB"
wave = { kind = "sine", mean = 60, amplitude = 5, period_s = 0.7, noise = 0.2 }

[[units.signals]]
name = "pressure"
address = "input:2"
type = "int16"
wave = { kind = "triangle", low = -300, high = 300, period_s = 0.9 }

[[units.signals]]
name = "strokes"
address = "holding:100"
type = "uint32"
wave = { kind = "counter", start = 65530, step = 1, step_s = 0.01 }

[[units.signals]]
name = "energy"
address = "holding:104"
type = "float64"
wave = { kind = "random_walk", start = 1e6, step = 10, step_s = 0.01 }

[[units.signals]]
name = "die"
address = "holding:110"
type = "string"
length = 4
wave = { kind = "text_list", values = ["DIE-1", "模具2"], step_s = 0.1 }

[[units.signals]]
name = "target"
address = "holding:120"
type = "float32"
wave = { kind = "writable", value = 12.5 }

[[units.signals]]
name = "running"
address = "coil:3"
type = "bool"
wave = { kind = "square", period_s = 0.1 }

[[units.signals]]
name = "guard"
address = "discrete:0"
type = "bool"
wave = { kind = "constant", value = true }
[[units]]
unit_id = 2
[[units.signals]]
name = "other"
address = "holding:0"
type = "uint16"
wave = { kind = "constant", value = 42 }
"""


@pytest.fixture
def simulator(tmp_path):
    file = tmp_path / "press.toml"
    file.write_text(FILE)
    with RunningSimulator(file, truth=tmp_path / "truth.jsonl") as running:
        yield running


def test_pymodbus_reads_exactly_what_the_truth_log_records(simulator):
    seen = []
    with ModbusTcpClient(simulator.host, port=simulator.port, timeout=5, retries=0) as client:
        as_value = client.convert_from_registers
        for _ in range(40):
            before_ns = time.time_ns()
            inputs = client.read_input_registers(0, count=3).registers
            holdings = client.read_holding_registers(100, count=22).registers
            coils = client.read_coils(3, count=1).bits
            discretes = client.read_discrete_inputs(0, count=1).bits
            kinds = client.DATATYPE
            values = {
                "temperature": as_value(inputs[:2], kinds.FLOAT32, word_order="little"),
                "pressure": as_value(inputs[2:], kinds.INT16),
                "strokes": as_value(holdings[:2], kinds.UINT32),
                "energy": as_value(holdings[4:8], kinds.FLOAT64),
                "die": struct.pack(">4H", *holdings[10:14]).rstrip(b"\0").decode(),
                "target": as_value(holdings[20:22], kinds.FLOAT32),
                "running": coils[0],
                "guard": discretes[0],
            }
            seen.append((before_ns, values, time.time_ns()))
    simulator.stop()
    lines = iter(simulator.truth_lines())
    for before_ns, values, after_ns in seen:
        served = {}
        for line in (next(lines), next(lines), next(lines), next(lines)):
            assert line["unit"] == 1
            assert before_ns <= line["t_ns"] <= after_ns
            served |= line["values"]
        assert served == values
    assert next(lines, None) is None
    assert len({values["temperature"] for _, values, _ in seen}) > 20, "the wave stands still"


def test_what_pymodbus_writes_is_read_back_and_logged(simulator):
    with ModbusTcpClient(simulator.host, port=simulator.port, timeout=5, retries=0) as client:
        registers = client.convert_to_registers(-3.25, client.DATATYPE.FLOAT32)
        assert not client.write_registers(120, registers).isError()
        assert client.read_holding_registers(120, count=2).registers == registers
        refused = client.write_register(100, 5)
        assert refused.isError()
        assert refused.exception_code == 2
    simulator.stop()
    (written,) = [line for line in simulator.truth_lines() if "write" in line]
    assert (written["unit"], written["write"]) == (1, {"target": -3.25})


def test_several_units_and_several_clients_are_served_side_by_side(simulator):
    async def one_client():
        client = AsyncModbusTcpClient(simulator.host, port=simulator.port, timeout=5, retries=0)
        assert await client.connect()
        try:
            for _ in range(20):
                other = await client.read_holding_registers(0, count=1, device_id=2)
                assert other.registers == [42]
                missing = await client.read_holding_registers(0, count=1, device_id=3)
                assert missing.exception_code == 0x0B
        finally:
            client.close()

    async def scenario():
        await asyncio.gather(*(one_client() for _ in range(8)))

    asyncio.run(scenario())


def requests(count):
    return b"".join(
        struct.pack(">HHHBBHH", transaction, 0, 6, 1, 3, 100, 2) for transaction in range(count)
    )


def receive(connection, size_bytes):
    received = b""
    while len(received) < size_bytes:
        chunk = connection.recv(size_bytes - len(received))
        assert chunk, "the server closed the connection"
        received += chunk
    return received


def answered_transactions(stream, count):
    size = len(stream) // count
    return [int.from_bytes(stream[n * size : n * size + 2], "big") for n in range(count)]


def test_pipelined_requests_are_all_answered_in_order(simulator):
    with socket.create_connection((simulator.host, simulator.port), timeout=5) as connection:
        connection.sendall(requests(500))
        answers = receive(connection, 500 * 13)
    assert answered_transactions(answers, 500) == list(range(500))


def test_requests_that_arrive_byte_by_byte_are_answered(simulator):
    with socket.create_connection((simulator.host, simulator.port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in requests(5):
            connection.sendall(bytes([byte]))
        answers = receive(connection, 5 * 13)
    assert answered_transactions(answers, 5) == list(range(5))


def test_a_bad_frame_is_answered_by_closing_after_the_good_ones(simulator):
    with socket.create_connection((simulator.host, simulator.port), timeout=5) as connection:
        connection.sendall(requests(2) + b"GET / HTTP/1.1\r\n\r\n")
        assert answered_transactions(receive(connection, 26), 2) == [0, 1]
        assert connection.recv(1) == b""


def test_a_client_that_never_reads_does_not_hinder_another(simulator):
    with socket.create_connection((simulator.host, simulator.port), timeout=5) as deaf:
        deaf.setblocking(False)
        deadline = time.monotonic() + 5
        blocked = False
        while not blocked and time.monotonic() < deadline:
            try:
                deaf.send(requests(2000))
            except BlockingIOError:
                blocked = True
        assert blocked, "the server goes on reading for a client that does not read"
        with socket.create_connection((simulator.host, simulator.port), timeout=5) as other:
            other.sendall(requests(1))
            assert len(receive(other, 13)) == 13


def test_the_truth_log_is_on_disk_soon_after_the_answer(simulator):
    with socket.create_connection((simulator.host, simulator.port), timeout=5) as connection:
        connection.sendall(requests(1))
        receive(connection, 13)
        deadline = time.monotonic() + 5
        while not simulator.truth_lines():
            assert time.monotonic() < deadline, "nothing was flushed"
            time.sleep(0.01)
