"""The Modbus simulator answers as Modbus Application Protocol V1.1b3 says."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.modbus_framing import crc16
from simulators.modbus_tcp import ModbusServer
from simulators.problems import parse_simulator
from simulators.tcp import BadFrame
from simulators.truth import TruthLog


def signal(name, address, kind, value, wave="constant", **more):
    fixed = {"name": name, "address": address, "type": kind}
    return fixed | {"wave": {"kind": wave, "value": value}} | more


SIGNALS = (
    signal("two", "holding:100", "uint32", 0x01020304),
    signal("float", "holding:103", "float32", 1.5, order="CDAB"),
    signal("held", "holding:105", "uint16", 7, "writable"),
    signal("bit", "holding:106.3", "bool", True),
    signal("wide", "holding:107", "uint32", 0, "writable"),
    signal("text", "input:0", "string", "AB", length=2),
    signal("coil", "coil:5", "bool", True),
    signal("switch", "coil:6", "bool", False, "writable"),
    signal("switch2", "coil:7", "bool", True, "writable"),
    signal("discrete", "discrete:3", "bool", True),
)


def server(*signals, truth=None, **unit):
    units = [{"unit_id": 1, "signals": list(signals or SIGNALS)} | unit]
    document = {"protocol": "modbus_tcp", "units": units}
    config = parse_simulator(document, file="test").devices[0]
    return ModbusServer(config, truth or TruthLog(None))


def ask(device, pdu, unit=1):
    """Return the response PDU, checking the MBAP header around it."""
    body = bytes([unit]) + bytes.fromhex(pdu)
    received = bytearray(b"\x12\x34\0\0" + len(body).to_bytes(2, "big") + body)
    frame = device.take_frame(received)
    assert frame is not None
    reply = device.answer(frame)
    reply.served()
    answer = reply.data
    assert answer[:4] == b"\x12\x34\0\0"
    assert int.from_bytes(answer[4:6], "big") == len(answer) - 6
    assert answer[6] == unit
    return answer[7:].hex()


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("03 0064 0002", "030401020304"),
        ("03 0067 0002", "030400003fc0"),
        ("03 0065 0004", "03080304000000003fc0"),
        ("03 006a 0001", "03020008"),
        ("04 0000 0002", "040441420000"),
        ("01 0005 0003", "010105"),
        ("02 0003 0001", "020101"),
    ],
)
def test_reads_answer_the_encoded_signals_and_zero_between_them(pdu, answer):
    assert ask(server(), pdu) == answer


@pytest.mark.parametrize(
    ("pdu", "exception"),
    [
        ("07", "8701"),
        ("14", "9401"),
        ("170064", "9703"),
        ("03 0063 0002", "8302"),
        ("03 006c 0002", "8302"),
        ("03 0000 0001", "8302"),
        ("03 ffff 0002", "8302"),
        ("04 0064 0001", "8402"),
        ("02 0000 0001", "8202"),
        ("03 0064 0000", "8303"),
        ("03 0064 007e", "8303"),
        ("01 0005 07d1", "8103"),
        ("030064", "8303"),
        ("03 0064 0001 00", "8303"),
        ("05 0006 1234", "8503"),
        ("05 0005 ff00", "8502"),
        ("06 0064 0001", "8602"),
        ("06 0066 0001", "8602"),
        ("0f 0006 0002 02 0300", "8f03"),
        ("10 0069 0001 02 00", "9003"),
        ("10 0069 007c f8 0000", "9003"),
        ("10 0069 0002 04 00010002", "9002"),
    ],
)
def test_a_wrong_request_is_answered_with_its_exception(pdu, exception):
    assert ask(server(), pdu) == exception


def test_a_unit_that_does_not_exist_never_responds_to_its_gateway():
    assert ask(server(), "03 0064 0001", unit=9) == "830b"


def test_a_mask_and_a_write_before_a_read_are_carried_out():
    device = server()
    # Application Protocol, 6.16: 0012h, and F2h, or 25h gives 0017h.
    assert ask(device, "06 0069 0012") == "0600690012"
    assert ask(device, "16 0069 00f2 0025") == "16006900f20025"
    assert ask(device, "17 0069 0001 0069 0001 02 1234") == "17021234"
    assert ask(device, "17 0069 0001 0064 0001 02 1234") == "9702"
    assert ask(device, "16 0064 00f2 0025") == "9602"


def test_writes_are_echoed_and_read_back():
    device = server()
    assert ask(device, "06 0069 1234") == "0600691234"
    assert ask(device, "03 0069 0001") == "03021234"
    assert ask(device, "10 006b 0002 04 cafebabe") == "10006b0002"
    assert ask(device, "03 006b 0002") == "0304cafebabe"
    assert ask(device, "06 006c 0001") == "06006c0001"
    assert ask(device, "03 006b 0002") == "0304cafe0001"
    assert ask(device, "05 0006 ff00") == "050006ff00"
    assert ask(device, "0f 0006 0002 01 01") == "0f00060002"
    assert ask(device, "01 0005 0003") == "010103"


def test_gaps_can_be_illegal_addresses():
    device = server(gaps_readable=False)
    assert ask(device, "03 0064 0003") == "8302"
    assert ask(device, "03 0064 0002") == "030401020304"
    assert ask(device, "03 0067 0006")[:2] == "03"


def test_125_registers_and_2000_bits_are_answered():
    device = server(
        signal("first", "holding:0", "uint16", 1),
        signal("last", "holding:124", "uint16", 2),
        signal("coil", "coil:0", "bool", True),
        signal("coil2", "coil:1999", "bool", True),
    )
    assert ask(device, "03 0000 007d") == "03fa0001" + "0000" * 123 + "0002"
    assert ask(device, "01 0000 07d0") == "01fa01" + "00" * 248 + "80"


@pytest.mark.parametrize("header", ["000100010006", "000100000001", "0001000000ff"])
def test_bytes_that_are_no_modbus_frame_are_refused(header):
    with pytest.raises(BadFrame):
        server().take_frame(bytearray.fromhex(header))


@given(cuts=st.lists(st.integers(0, 48), max_size=8))
def test_frames_are_taken_whole_however_they_arrive(cuts):
    device = server()
    request = bytes.fromhex("000100000006010300640002")
    stream = request * 4
    edges = [0, *sorted(cuts), len(stream)]
    received, frames = bytearray(), []
    for start, end in pairwise(edges):
        received += stream[start:end]
        while (frame := device.take_frame(received)) is not None:
            frames.append(frame)
    assert frames == [request] * 4
    assert not received


@given(pdu=st.binary(min_size=1, max_size=253))
def test_any_request_is_answered_with_its_function_or_an_exception(pdu):
    answer = bytes.fromhex(ask(server(), pdu.hex()))
    assert answer[0] & 0x7F == pdu[0] & 0x7F
    assert 2 <= len(answer) <= 253


def test_all_registers_of_a_signal_are_of_one_instant():
    wave = {"kind": "counter", "step": 0x00010001, "step_s": 1e-6}
    counter = {"name": "c", "address": "holding:10", "type": "uint32", "wave": wave}
    device = server(counter)
    for _ in range(50):
        answer = ask(device, "03 000a 0002")
        assert answer[4:8] == answer[8:12], "high and low word of one count differ"


def test_the_truth_log_holds_each_signal_that_was_read_whole(tmp_path):
    async def scenario():
        with TruthLog(tmp_path / "truth.jsonl") as truth:
            nan = signal("nan", "holding:0", "float32", float("nan"))
            device = server(*SIGNALS, nan, truth=truth)
            for pdu in (
                "03 0064 0005",
                "03 0065 0003",
                "03 0000 0002",
                "01 0005 0002",
                "06 006c 0001",
                "05 0006 ff00",
                "03 0069 0000",
            ):
                ask(device, pdu)

    asyncio.run(scenario())
    text = (tmp_path / "truth.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line.get("values", line.get("write")) for line in lines] == [
        {"two": 0x01020304, "float": 1.5},
        {},
        {"nan": None},
        {"coil": True, "switch": False},
        {"wide": 1},
        {"switch": True},
    ]
    assert all(line["unit"] == 1 and line["t_ns"] > 1.6e18 for line in lines)


def rtu(body):
    content = bytes.fromhex(body)
    return content + crc16(content).to_bytes(2, "little")


def test_the_check_sum_is_that_of_the_published_example():
    # Modbus over serial line V1.02, appendix B: 02 07 has the CRC 41 12.
    assert crc16(b"\x02\x07").to_bytes(2, "little") == b"\x41\x12"


def rtu_server():
    document = {
        "protocol": "modbus_tcp",
        "framing": "rtu_over_tcp",
        "units": [{"unit_id": 1, "signals": list(SIGNALS)}],
    }
    return ModbusServer(parse_simulator(document, file="test").devices[0], TruthLog(None))


@pytest.mark.parametrize(
    ("request_body", "answer"),
    [
        ("01 03 0064 0002", "01 03 04 01020304"),
        ("01 06 0069 0009", "01 06 0069 0009"),
        ("01 10 0069 0001 02 0009", "01 10 0069 0001"),
        ("01 0f 0006 0002 01 03", "01 0f 0006 0002"),
        ("01 16 0069 0000 0005", "01 16 0069 0000 0005"),
        ("01 17 0064 0002 0069 0001 02 0009", "01 17 04 01020304"),
        ("01 03 0000 0001", "01 83 02"),
    ],
)
def test_rtu_frames_are_taken_and_answered_whole(request_body, answer):
    device = rtu_server()
    received = bytearray()
    frames = []
    for byte in rtu(request_body) * 2:
        received.append(byte)
        frames += [frame for frame in (device.take_frame(received),) if frame is not None]
    assert [device.answer(frame).data for frame in frames] == [rtu(answer)] * 2


def test_a_damaged_rtu_frame_and_a_missing_unit_meet_silence():
    device = rtu_server()
    damaged = bytearray(rtu("01 03 0064 0002"))
    damaged[3] ^= 1
    received = damaged + rtu("02 03 0064 0002") + rtu("01 03 0064 0002")
    assert device.answer(device.take_frame(received)) is None
    assert device.answer(device.take_frame(received)).data == rtu("01 03 04 01020304")
    with pytest.raises(BadFrame):
        device.take_frame(bytearray(b"\x01\x2b\x0e"))
