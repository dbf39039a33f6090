"""The MC simulator answers the published frames of SH-080008 byte by byte."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults import Fault
from simulators.mc_coding import AsciiCoding, BinaryCoding, bits_to_words, words_to_bits
from simulators.mitsubishi_mc import McCpu
from simulators.problems import parse_simulator
from simulators.truth import TruthLog

ROUTE = "00ffff0300"


COMMANDS = ("01040000", "01040100", "01140000", "03040000", "02140100", "19060000")


def signal(name, address, kind, value, wave="constant", **more):
    fixed = {"name": name, "address": address, "type": kind}
    return fixed | {"wave": {"kind": wave, "value": value}} | more


def flags(device, first, pattern, radix="d"):
    """Return a signal that is on for each 1 of ``pattern``, least significant bit first."""
    addresses = [f"{device}{first + n:{radix}}" for n in range(32) if pattern >> n & 1]
    return [signal(address, address, "bool", 1) for address in addresses]


def cpu(*signals, truth=None, **more):
    document = {"protocol": "mitsubishi_mc", "signals": list(signals)} | more
    config = parse_simulator(document, file="test").devices[0]
    return McCpu(config, truth or TruthLog(None))


ANY_CPU = cpu(signal("a", "D0", "int16", 1, "writable"), code="any", series="iQ-R")


def ask(plc, frame):
    received = bytearray.fromhex(frame)
    taken = plc.take_frame(received)
    assert taken is not None, "the request is no complete frame"
    assert not received
    reply = plc.answer(taken)
    reply.served()
    return reply.data.hex()


def request(command_and_data):
    content = bytes.fromhex("1000" + command_and_data)
    return f"5000{ROUTE}" + len(content).to_bytes(2, "little").hex() + content.hex()


def answer_to(plc, command_and_data):
    """Return the data of a normal end."""
    answer = ask(plc, request(command_and_data))
    assert answer.startswith(f"d000{ROUTE}")
    assert answer[18:22] == "0000", f"end code {answer[18:22]}"
    return answer[22:]


def refusal_of(plc, command_and_data):
    answer = bytes.fromhex(ask(plc, request(command_and_data)))
    assert answer[11:] == bytes.fromhex(ROUTE + command_and_data[:8]), "error information"
    return int.from_bytes(answer[9:11], "little")


def test_batch_read_of_words_answers_the_example_of_section_8_1():
    plc = cpu(signal("a", "D350", "int16", 0x56AB), signal("b", "D351", "int16", 0x170F))
    answer = ask(plc, "500000ffff03000c000000010400005e0100a80200")
    assert answer == "d00000ffff030006000000ab560f17"


def test_batch_read_of_a_bit_device_in_words_answers_the_example_of_page_90():
    plc = cpu(*flags("M", 100, 0x1234), *flags("M", 116, 0x0002))
    answer = ask(plc, "500000ffff03000c00000001040000640000900200")
    assert answer == "d00000ffff03000600000034120200"


def test_random_read_answers_the_example_of_page_102():
    plc = cpu(
        signal("d0", "D0", "int16", 0x1995),
        signal("tn0", "TN0", "int16", 0x1202),
        *flags("M", 100, 0x2030),
        *flags("X", 0x20, 0x4849, "X"),
        signal("d1500", "D1500", "uint32", 0x4C544F4E),
        *flags("Y", 0x160, 0xC3DEB9AF, "X"),
        *flags("M", 1111, 0xBADDBCB7),
    )
    answer = ask(
        plc,
        "500000ffff030024000000030400000403000000a8000000c2640000902000009c"
        "dc0500a86001009d57040090",
    )
    assert answer == "d00000ffff03001600000095190212302049484e4f544cafb9dec3b7bcddba"


def test_a_register_beyond_the_last_is_refused_as_a_live_qnudv_cpu_refuses_it():
    answer = ask(cpu(signal("a", "D0", "int16", 0)), "500000ffff03000c00100001040000008000af0100")
    assert answer == "d00000ffff03000b00314000ffff030001040000"


def test_bits_come_two_a_byte_with_the_first_in_the_high_half():
    plc = cpu(*flags("M", 100, 0b10011))
    assert answer_to(plc, "01040100 640000 90 0500") == "110010"


def test_wide_device_numbers_of_iq_r_read_the_same_devices():
    plc = cpu(signal("a", "D350", "uint16", 0xBEEF), *flags("X", 0x1F, 1, "X"), series="iQ-R")
    assert answer_to(plc, "010402005e010000a8000100") == "efbe"
    assert answer_to(plc, "010403001f0000009c000100") == "10"
    assert answer_to(plc, "0304020001005e010000a800") == "efbe"


def test_a_float_lies_low_word_first_and_a_text_low_byte_first():
    plc = cpu(signal("f", "D0", "float32", 1.5), signal("s", "D10", "string", "AB中", length=4))
    assert answer_to(plc, "01040000 000000 a8 0200") == "0000c03f"
    text = bytes.fromhex(answer_to(plc, "01040000 0a0000 a8 0400"))
    assert text.rstrip(b"\0").decode() == "AB中"


def test_the_model_of_the_cpu_is_sixteen_characters_and_a_code():
    plc = cpu(signal("a", "D0", "int16", 0), cpu_model="Q04UDVCPU", cpu_code=0x0367)
    assert answer_to(plc, "01010000") == b"Q04UDVCPU       ".hex() + "6703"


def test_echo_returns_what_was_sent():
    plc = cpu(signal("a", "D0", "int16", 0))
    assert answer_to(plc, "1906000005004142434445") == "05004142434445"


def test_writable_words_and_bits_hold_what_was_written():
    plc = cpu(
        signal("w", "D100", "int32", -2, "writable"),
        signal("b", "M7", "bool", False, "writable"),
        signal("n", "D200.3", "bool", False, "writable"),
    )
    assert answer_to(plc, "01040000 640000 a8 0200") == "feffffff"
    assert answer_to(plc, "01140000 640000 a8 0200 78563412") == ""
    assert answer_to(plc, "01040000 640000 a8 0200") == "78563412"
    assert answer_to(plc, "01140100 070000 90 0100 10") == ""
    assert answer_to(plc, "01040100 070000 90 0100") == "10"
    assert answer_to(plc, "01140000 c80000 a8 0100 ffff") == ""
    assert answer_to(plc, "01040000 c80000 a8 0100") == "0800"


@pytest.mark.parametrize(
    ("command_and_data", "code"),
    [
        ("01140000 000000 a8 0100 0000", 0xC05B),  # D0 belongs to a wave
        ("01140000 050000 a8 0100 0000", 0xC05B),  # D5 belongs to nothing
        ("01040000 000000 a8 0000", 0xC052),
        ("01040000 000000 a8 c103", 0xC052),  # 961 words
        ("01040100 000000 90 011c", 0xC051),  # 7169 bits
        ("01040100 000000 a8 0100", 0xC05C),  # bits of D
        ("01040000 ff2f00 a8 0200", 0xC056),  # D12287 and one more
        ("01040000 003000 a8 0100", 0x4031),  # D12288
        ("01040000 000000 ee 0100", 0xC05B),
        ("01040000 000000 a8 01", 0xC061),
        ("01040000 000000 a8 0100 00", 0xC061),
        ("01040400000000a80100", 0xC059),
        ("01100000", 0xC059),  # remote RUN
        ("030400000000", 0xC054),
        ("03040000c100", 0xC054),  # 193 words
        ("03040200 01 00 0000 0000", 0xC059),  # only iQ-R has wide numbers
        ("030400000100003000a8", 0x4031),
        ("030400000200ff2f00a8003000a8", 0x4031),
        ("190600000000", 0xC061),
        ("01140100 640000 90 0100 20", 0xC05C),  # a half byte that is no bit
    ],
)
def test_a_wrong_request_is_refused_with_its_end_code(command_and_data, code):
    plc = cpu(signal("a", "D0", "int16", 0), signal("b", "M100", "bool", False, "writable"))
    assert refusal_of(plc, command_and_data) == code


def test_wide_numbers_halve_the_random_points():
    plc = cpu(signal("a", "D0", "int16", 0), series="iQ-R")
    assert refusal_of(plc, "030402006100") == 0xC054


def test_960_words_and_192_random_words_are_answered():
    plc = cpu(signal("a", "D959", "uint16", 7))
    assert answer_to(plc, "01040000 000000 a8 c003").endswith("0700")
    assert len(answer_to(plc, "03040000c000" + "000000a8" * 192)) == 4 * 192


@pytest.mark.parametrize("garbage", ["0000", "474554202f", "35303030", "50005000"])
def test_what_is_no_binary_frame_is_dropped_in_silence(garbage):
    plc = cpu(signal("a", "D0", "int16", 3))
    received = bytearray.fromhex(garbage.ljust(18, "0"))
    assert plc.take_frame(received) is None
    assert not received
    assert answer_to(plc, "01040000 000000 a8 0100") == "0300"


@given(cuts=st.lists(st.integers(0, 63), max_size=8))
def test_frames_are_taken_whole_however_they_arrive(cuts):
    plc = cpu(signal("a", "D0", "int16", 3))
    stream = bytes.fromhex(request("01040000 000000 a8 0100")) * 3
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    received, frames = bytearray(), []
    for start, end in pairwise(edges):
        received += stream[start:end]
        while (frame := plc.take_frame(received)) is not None:
            frames.append(frame)
    assert frames == [stream[: len(stream) // 3]] * 3
    assert not received


@given(st.lists(st.booleans(), max_size=50))
def test_half_bytes_come_back(bits):
    for coding in (BinaryCoding(), AsciiCoding()):
        assert coding.unpack_bits(coding.pack_bits(bits), len(bits)) == bits


@given(st.lists(st.integers(0, 0xFFFF), max_size=20))
def test_words_of_bits_come_back(words):
    assert bits_to_words(words_to_bits(words)) == words


def test_the_truth_log_holds_each_signal_that_was_read_whole(tmp_path):
    async def scenario():
        with TruthLog(tmp_path / "truth.jsonl") as truth:
            plc = cpu(
                signal("float", "D0", "float32", 0.1),
                signal("word", "D2", "int16", -5),
                signal("flag", "M3", "bool", True),
                signal("held", "D10", "int16", 1, "writable"),
                truth=truth,
            )
            ask(plc, request("01040000 000000 a8 0300"))
            ask(plc, request("01040000 010000 a8 0200"))
            ask(plc, request("030400000400000000a8030000a8010000a800000090"))
            ask(plc, request("01140000 0a0000 a8 0100 0900"))
            ask(plc, request("01040000 003000 a8 0100"))

    asyncio.run(scenario())
    text = (tmp_path / "truth.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line.get("values", line.get("write")) for line in lines] == [
        {"float": 0.10000000149011612, "word": -5},
        {"word": -5},
        {"float": 0.10000000149011612, "flag": True},
        {"held": 9},
    ]
    assert all(line["unit"] is None and line["t_ns"] > 1.6e18 for line in lines)


def test_batch_read_in_ascii_code_answers_the_example_of_page_90():
    plc = cpu(*flags("M", 100, 0x1234), *flags("M", 116, 0x0002), code="ascii")
    answer = converse(plc, b"500000FF03FF000018001004010000M*0001000002")
    assert answer == b"D00000FF03FF00000C000012340002"


def converse(plc, frame):
    taken = plc.take_frame(bytearray(frame))
    return plc.answer(taken).data


def ascii_request(plc, command_and_data, start=b"500000FF03FF00"):
    content = b"0010" + command_and_data.replace(" ", "").encode()
    answer = converse(plc, start + b"%04X" % len(content) + content)
    header = b"D" + start[1:]
    assert answer.startswith(header)
    length = int(answer[len(header) : len(header) + 4], 16)
    assert len(answer) == len(header) + 4 + length
    return answer[len(header) + 4 :].decode()


def test_ascii_code_reads_and_writes_what_binary_code_does():
    plc = cpu(
        signal("d", "D350", "uint32", 0x170F56AB, "writable"),
        signal("x", "X20", "bool", True),
        signal("m", "M7", "bool", False, "writable"),
        signal("n", "M8", "bool", True, "writable"),
        code="any",
    )
    assert ascii_request(plc, "0401 0000 D* 000350 0002") == "0000" + "56AB170F"
    assert ascii_request(plc, "0401 0001 X* 000020 0002") == "0000" + "10"
    assert ascii_request(plc, "0403 0000 01 01 D* 000350 D* 000350") == "0000" + "56AB170F56AB"
    assert ascii_request(plc, "1401 0001 M* 000007 0002 10") == "0000"
    assert ascii_request(plc, "0401 0001 M* 000007 0002") == "0000" + "10"
    assert ascii_request(plc, "1402 0001 02 M* 000007 00 M* 000008 01") == "0000"
    assert ascii_request(plc, "0401 0001 M* 000007 0002") == "0000" + "01"
    assert ascii_request(plc, "1402 0000 00 01 D* 000350 00010002") == "0000"
    assert answer_to(plc, "01040000 5e0100 a8 0200") == "02000100"
    assert ascii_request(plc, "0101 0000") == "0000" + "Q03UDVCPU       0366"
    assert ascii_request(plc, "0619 0000 0005 AB12C") == "0000" + "0005AB12C"


@pytest.mark.parametrize(
    ("command_and_data", "code"),
    [
        ("0401 0000 D* 00000G 0001", "C050"),
        ("0401 0000 D* 000000 00a1", "C050"),
        ("0401 0000 D* 012288 0001", "4031"),
        ("0401 0000 Q* 000000 0001", "C05B"),
        ("0401 0001 M* 000000 0E01", "C051"),  # 3585 bits, half of what binary code allows
        ("0401 0002 D* 000000 0001", "C059"),
        ("1401 0001 M* 000007 0001 2", "C05C"),
    ],
)
def test_a_wrong_ascii_request_is_refused_with_its_end_code(command_and_data, code):
    plc = cpu(signal("m", "M7", "bool", False, "writable"), code="ascii")
    answer = ascii_request(plc, command_and_data)
    assert answer == code + "00FF03FF00" + command_and_data.replace(" ", "")[:8]


def test_a_4e_frame_gets_its_serial_number_back():
    plc = cpu(signal("a", "D350", "int16", 0x56AB))
    request_4e = "540034120000" + ROUTE + "0c00" + "1000010400005e0100a80100"
    assert ask(plc, request_4e) == "d40034120000" + ROUTE + "0400" + "0000ab56"
    in_ascii = cpu(signal("a", "D350", "int16", 0x56AB), code="ascii", frame="4e")
    start = b"54001234000000FF03FF00"
    assert ascii_request(in_ascii, "0401 0000 D* 000350 0001", start) == "000056AB"
    assert in_ascii.take_frame(bytearray(b"500000FF03FF00" + b"0" * 40)) is None


@pytest.mark.parametrize(("code", "text"), [("ascii", "000020"), ("ascii_xy_hex", "000010")])
def test_inputs_of_an_fx5_are_octal(code, text):
    plc = cpu(signal("a", "X20", "bool", True), series="FX5", code=code)
    assert ascii_request(plc, f"0401 0001 X* {text} 0001") == "00001"
    binary = cpu(signal("a", "X20", "bool", True), series="FX5")
    assert answer_to(binary, "01040100 100000 9c 0100") == "10"


def test_wide_ascii_numbers_of_iq_r_have_four_letters_and_eight_digits():
    plc = cpu(
        signal("a", "STN3", "uint16", 0xBEEF),
        signal("b", "M4", "bool", False, "writable"),
        series="iQ-R",
        code="ascii",
    )
    assert ascii_request(plc, "0401 0002 STN* 00000003 0001") == "0000BEEF"
    assert ascii_request(plc, "0401 0000 SN 000003 0001") == "0000BEEF"
    assert ascii_request(plc, "1402 0003 01 M*** 00000004 0001") == "0000"
    assert ascii_request(plc, "0401 0003 M*** 00000004 0001") == "00001"


def test_random_writes_reach_all_their_points_or_none():
    plc = cpu(
        signal("a", "D0", "int16", 1, "writable"),
        signal("b", "D5", "int32", 2, "writable"),
        signal("fixed", "D9", "int16", 3),
    )
    assert answer_to(plc, "02140000 01 01 000000a8 0700 050000a8 78563412") == ""
    assert answer_to(plc, "01040000 000000 a8 0100") == "0700"
    assert answer_to(plc, "01040000 050000 a8 0200") == "78563412"
    assert refusal_of(plc, "02140000 0200 000000a8 0900 090000a8 0900".replace(" ", "")) == 0xC05B
    assert answer_to(plc, "01040000 000000 a8 0100") == "0700"
    assert refusal_of(plc, "02140000a100" + "000000a80000" * 161) == 0xC054


@given(
    content=st.binary(min_size=6, max_size=40),
    serial=st.booleans(),
    command=st.sampled_from([b"", *(bytes.fromhex(c) for c in COMMANDS)]),
)
def test_any_binary_request_is_answered(content, serial, command):
    content = (b"\x10\0" + command + content)[: max(6, len(content))]
    start = b"\x54\0\x12\x34\0\0" if serial else b"\x50\0"
    frame = start + bytes.fromhex(ROUTE) + len(content).to_bytes(2, "little") + content
    answer = converse(ANY_CPU, frame)
    assert answer[1:-2].startswith(start[1:] + bytes.fromhex(ROUTE))


@given(content=st.text("0123456789ABCDEF*DMX GZ_+", min_size=12, max_size=60))
def test_any_ascii_request_is_answered(content):
    answer = ascii_request(ANY_CPU, content.replace(" ", "0"))
    assert len(answer) >= 4


@given(kinds=st.sets(st.sampled_from(["short", "bad_length", "wrong_unit", "wrong_id"])))
@pytest.mark.parametrize("start", [b"500000FF03FF00", b"54001234000000FF03FF00"])
def test_a_spoilt_answer_is_still_made_of_hexadecimal_text(start, kinds):
    plc = cpu(signal("a", "D0", "int16", 1), code="ascii")
    for kind in kinds:
        plc.faults.start(Fault(fault=kind, count=1))
    content = b"001004010000D*0000000004"
    answer = converse(plc, start + b"%04X" % len(content) + content)
    int(answer, 16)
