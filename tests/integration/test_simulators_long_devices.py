"""Devices of 32 bits and wide device numbers: the simulated iQ-R as its frames and peers see it.

Frames as in SH-080956 (SLMP Reference Manual), 5.2 and chapter 6; the refused write is that of a
live iQ-R (pymcprotocol, issue 3).
"""

import socket

import pytest
from aslmp import Encoding, FrameType
from aslmp.sync import Plc
from slmp import SlmpClient, SlmpPlcProfile, SlmpTarget, read_typed_sync, write_typed_sync

from simulators.testing import RunningSimulator

HELD = {
    "LTN7": ("uint32", 70_000), "LSTN3": ("uint32", 3_000_000_000), "LCN5": ("uint32", 123_456_789),
    "LZ1": ("int32", -5), "RD400000": ("uint16", 4711), "LCS6": ("bool", True),
    "D0": ("uint16", 1), "M100": ("bool", False), "M103": ("bool", True), "M106": ("bool", True),
    "M107": ("bool", True), "TN100": ("uint16", 0x1234), "TN101": ("uint16", 2),
    "TN102": ("uint16", 0x1DEF), "ZR0": ("uint16", 10), "ZR10": ("uint16", 1010),
    "ZR16": ("uint16", 1016), "M50": ("bool", True), "Y2F": ("bool", False),
    "X1FFF": ("bool", True),
}  # fmt: skip
"""M100 to M107 and T100 to T102 hold what SH-080956 has in its examples of command 0401."""


@pytest.fixture(scope="module")
def plc(tmp_path_factory):
    def signal(address):
        kind, value = HELD[address]
        wave = f'{{kind = "writable", value = {str(value).lower()}}}'
        return f'{{name = "{address}", address = "{address}", type = "{kind}", wave = {wave}}}'

    listed = ",\n".join(map(signal, HELD))
    file = tmp_path_factory.mktemp("long") / "plc.toml"
    file.write_text(
        f'protocol = "mitsubishi_mc"\nseries = "iQ-R"\ncode = "any"\nsignals = [\n{listed}\n]\n'
    )
    with RunningSimulator(file) as running:
        yield running


def answer_to(plc, request):
    """Return end code and data of the answer to a 3E frame with the command data ``request``."""
    frame = bytes.fromhex("500000ffff0300") + (2 + len(request)).to_bytes(2, "little")
    with socket.create_connection((plc.host, plc.port), timeout=5) as connection:
        connection.sendall(frame + b"\0\0" + request)
        with connection.makefile("rb") as stream:
            head = stream.read(9)
            data = stream.read(int.from_bytes(head[7:9], "little"))
    return int.from_bytes(data[:2], "little"), data[2:].hex()


@pytest.mark.parametrize(
    ("request_hex", "answer_hex"),
    [
        # The manual's examples with narrow numbers, which an iQ-R understands as well.
        ("0104 0100 640000 90 0800", "00010011"),
        ("0104 0000 640000 c2 0300", "34120200ef1d"),
        # The same places with wide numbers: four bytes of number, two of code.
        ("0104 0300 64000000 9000 0800", "00010011"),
        ("0104 0200 64000000 c200 0300", "34120200ef1d"),
        # One word, then double words: LTN7, LSTN3, LCN5, LZ1.
        (
            "0304 0200 01 04 00000000 a800 07000000 5200 03000000 5a00 05000000 5600 01000000 6200",
            "0100 70110100 005ed0b2 15cd5b07 fbffffff",
        ),
        # A batch read of a long counter has two words a point, of a long timer four.
        ("0104 0200 05000000 5600 0200", "15cd5b07"),
        ("0104 0200 07000000 5200 0400", "70110100 0000 0000"),
        ("0104 0200 801a0600 2c00 0100", "6712"),
        ("0104 0300 06000000 5500 0100", "10"),
    ],
)
def test_a_frame_gets_its_answer(plc, request_hex, answer_hex):
    assert answer_to(plc, bytes.fromhex(request_hex)) == (0, answer_hex.replace(" ", ""))


@pytest.mark.parametrize(
    ("request_hex", "end_code"),
    [
        # Half a long timer; a long index register in a batch; a double word asked for as a word.
        ("0104 0200 07000000 5200 0200", 0xC052),
        ("0104 0200 01000000 6200 0200", 0xC05B),
        ("0304 0200 01 00 05000000 5600", 0xC05B),
        # Frames with narrow device numbers know none of them.
        ("0104 0000 050000 56 0200", 0xC05B),
        ("0304 0000 00 01 010000 62", 0xC05B),
        # Past the last one.
        ("0304 0200 00 01 02000000 6200", 0x4031),
        # A bit is written as two bytes there; one byte is what pymcprotocol once sent.
        ("0214 0300 01 00000000 9c00 01", 0xC061),
    ],
)
def test_what_an_iq_r_refuses(plc, request_hex, end_code):
    assert answer_to(plc, bytes.fromhex(request_hex))[0] == end_code


def test_bits_are_written_at_random_as_published(plc):
    """M50 off and Y2F on: SH-080956, command 1402; with wide numbers a bit is two bytes."""
    assert answer_to(plc, bytes.fromhex("0214010002 32000090 00 2f00009d 01"))[0] == 0
    assert answer_to(plc, bytes.fromhex("01040100 320000900100")) == (0, "00")
    wide = "0214030002 320000009000 0100 2f0000009d00 0000"
    assert answer_to(plc, bytes.fromhex(wide))[0] == 0
    assert answer_to(plc, bytes.fromhex("01040100 320000900100")) == (0, "10")


def test_plc_comm_slmp_reads_and_writes_long_devices(plc):
    client = SlmpClient(
        plc.host,
        plc.port,
        transport="tcp",
        default_target=SlmpTarget(network=0, station=0xFF, module_io=0x3FF, multidrop=0),
        plc_profile=SlmpPlcProfile.IqR,
    )
    client.connect()
    try:
        assert read_typed_sync(client, "LTN7", "D") == 70_000
        assert read_typed_sync(client, "LSTN3", "D") == 3_000_000_000
        assert read_typed_sync(client, "LCN5", "D") == 123_456_789
        assert read_typed_sync(client, "LZ1", "L") == -5
        assert client.read_long_timer(head_no=7, points=1)[0].current_value == 70_000
        assert client.read_devices("RD400000", 1, bit_unit=False) == [4711]
        assert client.read_devices("LCS6", 1, bit_unit=True) == [True]
        write_typed_sync(client, "LZ1", "L", -70_000)
        assert read_typed_sync(client, "LZ1", "L") == -70_000
        write_typed_sync(client, "LZ1", "L", -5)
    finally:
        client.close()


@pytest.mark.parametrize("frame", [FrameType.THREE_E, FrameType.FOUR_E])
@pytest.mark.parametrize("encoding", [Encoding.BINARY, Encoding.ASCII_XY_HEX])
def test_aslmp_reads_timers_and_inputs_in_every_frame_and_code(plc, frame, encoding):
    client = Plc(plc.host, plc.port, profile="melsec:iq-r", frame=frame, encoding=encoding)
    with client as peer:
        assert peer.read_words("D0", 1) == (1,)
        assert peer.read_bit("X1FFF") is True
        assert peer.read_words("TN100", 3) == (0x1234, 2, 0x1DEF)


@pytest.mark.parametrize(
    "request_text", ["04010000ZR0000100001", "04010002ZR**000000100001"], ids=["narrow", "wide"]
)
def test_the_digits_of_a_file_register_are_hexadecimal_in_ascii_code(plc, request_text):
    """SH-080956, 5.2: ZR16 in GX Works, ZR10 here."""
    request = f"500000FF03FF00{4 + len(request_text):04X}0000{request_text}"
    with socket.create_connection((plc.host, plc.port), timeout=5) as connection:
        connection.sendall(request.encode())
        with connection.makefile("rb") as stream:
            assert stream.read(26) == b"D00000FF03FF00000800000" + b"3F8"
