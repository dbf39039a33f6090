"""A stock MC client reads from a running simulator what the truth log says it served."""

import contextlib
import socket
import struct

import pymcprotocol
import pytest
from pymcprotocol.mcprotocolerror import MCProtocolError

from simulators.testing import RunningSimulator

FILE = """
protocol = "mitsubishi_mc"
seed = 3
cpu_model = "Q04UDVCPU"
cpu_code = 0x0367
[[signals]]
name = "speed"
address = "D100"
type = "int16"
wave = { kind = "sine", mean = 0, amplitude = 1200, period_s = 0.5 }

[[signals]]
name = "temperature"
address = "D110"
type = "float32"
wave = { kind = "random_walk", start = 140, step = 1, step_s = 0.001 }

[[signals]]
name = "cartons"
address = "D120"
type = "uint32"
wave = { kind = "counter", start = 65500, step = 7, step_s = 0.0001 }

[[signals]]
name = "total"
address = "D130"
type = "int64"
wave = { kind = "counter", start = -5000000000, step = 1, step_s = 0.001 }

[[signals]]
name = "product"
address = "D140"
type = "string"
length = 4
wave = { kind = "text_list", values = ["SKU-1", "SKU-22"], step_s = 0.05 }

[[signals]]
name = "dwell"
address = "D200"
type = "int16"
wave = { kind = "writable", value = 320 }

[[signals]]
name = "running"
address = "M100"
type = "bool"
wave = { kind = "square", period_s = 0.05 }

[[signals]]
name = "door"
address = "X1F"
type = "bool"
wave = { kind = "constant", value = true }

[[signals]]
name = "enable"
address = "Y20"
type = "bool"
wave = { kind = "writable", value = false }
"""


@pytest.fixture
def simulator(request, tmp_path):
    file = tmp_path / "packer.toml"
    # The first line of a table: the signals come after it.
    file.write_text(f'series = "{getattr(request, "param", "Q")}"\n{FILE}')
    with RunningSimulator(file, truth=tmp_path / "truth.jsonl") as running:
        yield running


@contextlib.contextmanager
def client_of(simulator, series="Q"):
    client = pymcprotocol.Type3E(plctype=series)
    client.connect(simulator.host, simulator.port)
    try:
        yield client
    finally:
        client.close()


def little(words, layout):
    return struct.unpack("<" + layout, struct.pack(f"<{len(words)}h", *words))[0]


@pytest.mark.parametrize(
    ("simulator", "series"), [("Q", "Q"), ("iQ-R", "iQ-R")], indirect=["simulator"]
)
def test_pymcprotocol_reads_exactly_what_the_truth_log_records(simulator, series):
    seen = []
    with client_of(simulator, series) as client:
        for _ in range(25):
            words = client.batchread_wordunits("D100", 44)
            values = {
                "speed": words[0],
                "temperature": little(words[10:12], "f"),
                "cartons": little(words[20:22], "I"),
                "total": little(words[30:34], "q"),
                "product": little(words[40:44], "8s").rstrip(b"\0").decode(),
            }
            seen.append(values)
            (running,) = client.batchread_bitunits("M100", 1)
            seen.append({"running": bool(running)})
            (speed, inputs), (cartons,) = client.randomread(["D100", "X0x10"], ["D120"])
            door = bool(inputs & 0x8000)
            seen.append({"speed": speed, "cartons": cartons, "door": door})
    simulator.stop()
    lines = simulator.truth_lines()
    assert [line["values"] for line in lines] == seen
    assert all(line["unit"] is None for line in lines)
    times = [line["t_ns"] for line in lines]
    assert times == sorted(times)
    assert len({values["cartons"] for values in seen if "cartons" in values}) > 10


def test_what_pymcprotocol_writes_is_read_back_and_logged(simulator):
    with client_of(simulator) as client:
        client.batchwrite_wordunits("D200", [-7])
        assert client.batchread_wordunits("D200", 1) == [-7]
        client.batchwrite_bitunits("Y20", [1])
        assert client.batchread_bitunits("Y20", 1) == [1]
        with pytest.raises(MCProtocolError, match="0xC05B"):
            client.batchwrite_wordunits("D100", [1])
    simulator.stop()
    written = [line["write"] for line in simulator.truth_lines() if "write" in line]
    assert written == [{"dwell": -7}, {"enable": True}]


def test_the_model_and_an_echo_are_answered(simulator):
    with client_of(simulator) as client:
        assert client.read_cputype() == ("Q04UDVCPU", "0367")
        assert client.echo_test("ABC123") == (6, "ABC123")


def test_960_words_are_answered_and_961_refused(simulator):
    with client_of(simulator) as client:
        assert len(client.batchread_wordunits("D0", 960)) == 960
        with pytest.raises(MCProtocolError, match="0xC052"):
            client.batchread_wordunits("D0", 961)
        with pytest.raises(MCProtocolError, match="0x4031"):
            client.batchread_wordunits("D12288", 1)


REQUEST = bytes.fromhex("500000ffff03000c00100001040000c80000a80100")
ANSWER = bytes.fromhex("d00000ffff0300040000004001")


def receive(connection, size_bytes):
    received = b""
    while len(received) < size_bytes:
        chunk = connection.recv(size_bytes - len(received))
        assert chunk, "the server closed the connection"
        received += chunk
    return received


def test_joined_and_split_requests_are_answered_one_by_one(simulator):
    with socket.create_connection((simulator.host, simulator.port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(REQUEST * 50)
        assert receive(connection, 50 * len(ANSWER)) == ANSWER * 50
        for byte in REQUEST * 2:
            connection.sendall(bytes([byte]))
        assert receive(connection, 2 * len(ANSWER)) == ANSWER * 2


def test_an_ascii_request_meets_silence_and_the_connection_stays_usable(simulator):
    with socket.create_connection((simulator.host, simulator.port), timeout=5) as connection:
        connection.sendall(b"500000FF03FF000018001004010000M*0001000002")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(5)
        connection.sendall(REQUEST)
        assert receive(connection, len(ANSWER)) == ANSWER


# What the stock client makes of faults: the values that a collector must never store.


def test_a_late_answer_makes_the_stock_client_return_another_register(simulator):
    with client_of(simulator) as client:
        client._sock.settimeout(0.2)
        simulator.write("speed", 1111)
        simulator.fault("delay", delay_s=0.4, count=1)
        with pytest.raises(TimeoutError):
            client.batchread_wordunits("D100", 1)
        client._sock.settimeout(5)
        assert client.batchread_wordunits("D200", 1) == [1111], "D200 holds 320"


def test_an_answer_in_pieces_makes_the_stock_client_return_zeros(simulator):
    simulator.write("dwell", 77)
    simulator.fault("split", chunk_bytes=31, pause_s=0.2, count=1)
    with client_of(simulator) as client:
        # D100 and ten more have come; the rest is made up, D200 among it.
        assert client.batchread_wordunits("D100", 101)[-1] == 0


def test_a_closed_connection_makes_the_stock_client_return_zeros(simulator):
    simulator.write("dwell", 77)
    simulator.fault("close_before", count=1)
    with client_of(simulator) as client:
        assert client.batchread_wordunits("D200", 2) == [0, 0]
