"""Clients that nobody here wrote read and write the simulators, in every framing and code."""

import shutil
import socket
import ssl
import subprocess

import pytest
from aslmp import Encoding, FrameType
from aslmp.sync import Plc
from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient, ModbusTlsClient
from pyModbusTCP.client import ModbusClient
from slmp import SlmpClient, SlmpPlcProfile, SlmpTarget

from simulators.certificates import Certificate
from simulators.testing import RunningSimulator

MODBUS = """
protocol = "modbus_tcp"
framing = "FRAMING"
TLS
[[units]]
signals = [
  {name = "flow", address = "holding:10", type = "float32", order = "CDAB", wave = {kind = "constant", value = 2.5}},
  {name = "set", address = "holding:20", type = "uint16", wave = {kind = "writable", value = 7}},
  {name = "set2", address = "holding:21", type = "uint16", wave = {kind = "writable", value = 8}},
  {name = "level", address = "input:3", type = "int16", wave = {kind = "constant", value = -4}},
  {name = "pump", address = "coil:1", type = "bool", wave = {kind = "writable", value = true}},
  {name = "door", address = "discrete:2", type = "bool", wave = {kind = "constant", value = true}},
]
"""  # noqa: E501  # TOML of one line a signal
MC = """
protocol = "mitsubishi_mc"
series = "SERIES"
code = "CODE"
cpu_model = "MODEL"
cpu_code = CPU
signals = [
  {name = "flow", address = "D10", type = "float32", wave = {kind = "constant", value = 2.5}},
  {name = "set", address = "D20", type = "int16", wave = {kind = "writable", value = 7}},
  {name = "door", address = "X20", type = "bool", wave = {kind = "constant", value = true}},
  {name = "pump", address = "M7", type = "bool", wave = {kind = "writable", value = false}},
]
"""


def modbus(tmp_path, framing="tcp", tls=""):
    file = tmp_path / "sim.toml"
    file.write_text(MODBUS.replace("FRAMING", framing).replace("TLS", tls))
    return RunningSimulator(file)


def mc(tmp_path, series, code="binary", model="Q03UDVCPU", cpu_code="0x366"):
    file = tmp_path / "sim.toml"
    text = MC.replace("SERIES", series).replace("CODE", code).replace("MODEL", model)
    file.write_text(text.replace("CPU\n", f"{cpu_code}\n"))
    return RunningSimulator(file)


def read_and_write_with_pymodbus(client):
    with client:
        registers = client.read_holding_registers(10, count=2).registers
        value = client.convert_from_registers(registers, client.DATATYPE.FLOAT32, "little")
        assert value == 2.5
        assert client.read_coils(1, count=1).bits[0] is True
        assert client.read_discrete_inputs(2, count=1).bits[0] is True
        assert client.read_input_registers(3, count=1).registers == [0xFFFC]
        assert not client.mask_write_register(address=20, and_mask=0xF0, or_mask=0x03).isError()
        assert client.read_holding_registers(20, count=1).registers == [3]
        both = client.readwrite_registers(
            read_address=20, read_count=2, write_address=20, values=[500, 600]
        )
        assert both.registers == [500, 600]
        assert client.read_holding_registers(99, count=1).exception_code == 2


def test_pymodbus_over_tcp(tmp_path):
    with modbus(tmp_path) as sim:
        read_and_write_with_pymodbus(ModbusTcpClient(sim.host, port=sim.port, retries=0))


def test_pymodbus_with_rtu_frames_over_tcp(tmp_path):
    with modbus(tmp_path, "rtu_over_tcp") as sim:
        client = ModbusTcpClient(sim.host, port=sim.port, framer=FramerType.RTU, retries=0)
        read_and_write_with_pymodbus(client)


def test_pymodbus_over_tls_with_certificates_on_both_sides(tmp_path):
    ours = Certificate(tmp_path / "client.pem", tmp_path / "client.key")
    ours.ensure("127.0.0.1")
    server = Certificate(tmp_path / "server.pem", tmp_path / "server.key")
    tls = f'tls = {{cert = "{server.cert}", key = "{server.key}", ca = "{ours.cert}"}}'
    with modbus(tmp_path, "tls", tls) as sim:
        assert server.key.stat().st_mode & 0o777 == 0o600
        context = ssl.create_default_context(cafile=server.cert)
        context.load_cert_chain(ours.cert, ours.key)
        # pymodbus does not tell the name of the host that it connects to.
        context.check_hostname = False
        client = ModbusTlsClient(sim.host, port=sim.port, sslctx=context, retries=0)
        read_and_write_with_pymodbus(client)
        stranger = ssl.create_default_context(cafile=server.cert)
        assert answer_over_tls(sim, context) != b""
        assert answer_over_tls(sim, stranger) == b""


def answer_over_tls(sim, context):
    """Return the first byte of an answer; none if the server ends the connection."""
    with socket.create_connection((sim.host, sim.port), timeout=5) as link:
        try:
            with context.wrap_socket(link, server_hostname=sim.host) as channel:
                channel.sendall(bytes.fromhex("000100000006010300140001"))
                # TLS 1.3 tells a client only here that its certificate was missing.
                return channel.recv(1)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_a_tls_certificate_without_its_key_is_one_clear_sentence(tmp_path):
    (tmp_path / "server.pem").write_text("")
    tls = f'tls = {{cert = "{tmp_path}/server.pem", key = "{tmp_path}/server.key"}}'
    with pytest.raises(RuntimeError, match="certificate cannot be used"):
        modbus(tmp_path, "tls", tls).__enter__()


def test_pymodbustcp_reads_and_writes(tmp_path):
    with modbus(tmp_path) as sim:
        client = ModbusClient(host=sim.host, port=sim.port, unit_id=1, auto_open=True)
        assert client.read_holding_registers(20, 2) == [7, 8]
        assert client.read_input_registers(3, 1) == [0xFFFC]
        assert client.read_coils(1, 1) == [True]
        assert client.write_single_register(20, 77)
        assert client.write_multiple_registers(20, [78, 79])
        assert client.write_single_coil(1, False)
        assert client.write_multiple_coils(1, [False])
        assert client.write_read_multiple_registers(20, [80, 81], 20, 2) == [80, 81]
        assert client.read_coils(1, 1) == [False]
        assert client.read_holding_registers(99, 1) is None
        assert client.last_except == 2
        client.close()


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
def test_mbpoll_reads_and_writes(tmp_path):
    def poll(*words):
        command = ["mbpoll", "-0", "-1", "-a", "1", "-p", str(sim.port), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout

    with modbus(tmp_path) as sim:
        assert "[10]: \t2.5" in poll("-t", "4:float", "-r", "10", sim.host)
        assert "[20]: \t7\n[21]: \t8" in poll("-t", "4", "-r", "20", "-c", "2", sim.host)
        assert "Written 1 references" in poll("-t", "4", "-r", "20", sim.host, "99")
        assert "[20]: \t99" in poll("-t", "4", "-r", "20", sim.host)
        assert "[1]: \t1" in poll("-t", "0", "-r", "1", sim.host)


@pytest.mark.parametrize(
    ("series", "profile"),
    [("Q", SlmpPlcProfile.QnUDV), ("iQ-R", SlmpPlcProfile.IqR), ("FX5", SlmpPlcProfile.IqF)],
)
def test_plc_comm_slmp_reads_and_writes_in_binary_code(tmp_path, series, profile):
    target = SlmpTarget(network=0, station=0xFF, module_io=0x3FF, multidrop=0)
    with mc(tmp_path, series) as sim:
        client = SlmpClient(
            sim.host, sim.port, transport="tcp", default_target=target, plc_profile=profile
        )
        client.connect()
        try:
            assert client.read_float32("D10") == 2.5
            client.write_devices("D20", [-5 & 0xFFFF], bit_unit=False)
            assert client.read_devices("D20", 1, bit_unit=False) == [0xFFFB]
            assert client.read_devices("X20", 1, bit_unit=True) == [True]
            client.write_random_words(word_values={"D20": 9})
            client.write_random_bits({"M7": True})
            assert client.read_devices("M7", 1, bit_unit=True) == [True]
            found = client.read_random(word_devices=["D20"], dword_devices=["D10"])
            assert list(found.word.values()) == [9]
            assert list(found.dword.values()) == [0x40200000]
            assert client.self_test_loopback(b"ABC123") == b"ABC123"
        finally:
            client.close()


@pytest.mark.parametrize(
    ("code", "encoding"),
    [
        ("binary", Encoding.BINARY),
        ("ascii", Encoding.ASCII_XY_OCT),
        ("ascii_xy_hex", Encoding.ASCII_XY_HEX),
    ],
)
def test_aslmp_takes_it_for_an_fx5u_in_every_code(tmp_path, code, encoding):
    with mc(tmp_path, "FX5", code, "FX5U-32MT/ES", "0x4A21") as sim:
        plc = Plc(
            sim.host,
            sim.port,
            profile="melsec:iq-f/fx5u",
            frame=FrameType.THREE_E,
            encoding=encoding,
        )
        with plc:
            assert plc.read_f32("D10") == 2.5
            plc.write_u16("D20", 77)
            assert plc.read_words("D20", 1) == (77,)
            assert plc.read_bit("X20") is True
            plc.write_bit("M7", True)
            assert plc.read_bit("M7") is True


def test_aslmp_reads_an_iq_r_with_4e_frames(tmp_path):
    with mc(tmp_path, "iQ-R", "any", "R04CPU", "0x4800") as sim:
        plc = Plc(sim.host, sim.port, profile="melsec:iq-r", frame=FrameType.FOUR_E)
        with plc:
            assert plc.read_f32("D10") == 2.5
            plc.write_u16("D20", 77)
            assert plc.read_words("D20", 1) == (77,)
