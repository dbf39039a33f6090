"""The frames that Mitsubishi's manuals and live PLCs show, byte for byte, through the guard."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.addresses_mc import MC_PROFILES, McSeries
from collectors.mitsubishi_mc.frames import (
    Access,
    Code,
    Coding,
    Device,
    EndCode,
    FrameError,
    Header,
)
from collectors.mitsubishi_mc.guard import GuardedType3E, GuardedType4E


class Line:
    """A PLC in a thread that has one answer, and keeps what it was sent."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.sent = b""
        self.listener = socket.create_server(("127.0.0.1", 0))

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            self.sent = connection.recv(4096)
            connection.sendall(self.reply)
            with contextlib.suppress(ConnectionResetError):
                connection.recv(1)


@contextmanager
def asked(
    reply: bytes,
    *,
    frame: str = "3e",
    series: McSeries = "Q",
    code: Code = "binary",
    timer: int = 0,
) -> Iterator[tuple[GuardedType3E, Line]]:
    line = Line(reply)
    thread = threading.Thread(target=line.serve)
    thread.start()
    kind = GuardedType4E if frame == "4e" else GuardedType3E
    plc = kind(Access(coding=Coding(series, code), timeout_s=5.0, timer=timer))
    plc.connect("127.0.0.1", line.listener.getsockname()[1])
    try:
        yield plc, line
    finally:
        plc.close()
        thread.join(5)
        line.listener.close()


BATCH_READS = {
    "SH-080008 8.1, D350": (
        Device("D", 350),
        "500000ffff03000c000000010400005e0100a80200",
        "d00000ffff030006000000ab560f17",
        "ab560f17",
    ),
    "SH-080008 p.90, M100 to M131 as words": (
        Device("M", 100),
        "500000ffff03000c00000001040000640000900200",
        "d00000ffff03000600000034120200",
        "34120200",
    ),
}


@pytest.mark.parametrize(
    ("device", "request_hex", "reply_hex", "data_hex"), BATCH_READS.values(), ids=BATCH_READS
)
def test_published_batch_reads_in_binary_code(
    device: Device, request_hex: str, reply_hex: str, data_hex: str
) -> None:
    with asked(bytes.fromhex(reply_hex)) as (plc, line):
        assert plc.read_words(device, 2).hex() == data_hex
        assert line.sent.hex() == request_hex


def test_the_published_batch_read_in_ascii_code() -> None:
    with asked(b"D00000FF03FF00000C000012340002", code="ascii") as (plc, line):
        assert plc.read_words(Device("M", 100), 2).hex() == "34120200"
        assert line.sent == b"500000FF03FF000018000004010000M*0001000002"


RANDOM_REQUEST = (
    "500000ffff030024000000030400000403000000a8000000c2640000902000009cdc0500a86001009d57040090"
)
RANDOM_REPLY = "d00000ffff03001600000095190212302049484e4f544cafb9dec3b7bcddba"
WORDS = [Device("D", 0), Device("TN", 0), Device("M", 100), Device("X", 0x20)]
DWORDS = [Device("D", 1500), Device("Y", 0x160), Device("M", 1111)]


def test_the_published_random_read_in_binary_code() -> None:
    with asked(bytes.fromhex(RANDOM_REPLY)) as (plc, line):
        assert plc.read_random(WORDS, DWORDS).hex() == RANDOM_REPLY[22:]
        assert line.sent.hex() == RANDOM_REQUEST


def test_the_same_random_read_in_ascii_code() -> None:
    """SH-080008 p.102: D0 holds 1995h, TN0 1202h, ...; a double word has its high word first."""
    data = b"1995120220304849" + b"4C544F4E" + b"C3DEB9AF" + b"BADDBCB7"
    reply = b"D00000FF03FF00" + b"002C" + b"0000" + data
    with asked(reply, code="ascii") as (plc, line):
        assert plc.read_random(WORDS, DWORDS).hex() == RANDOM_REPLY[22:]
        assert line.sent == (
            b"500000FF03FF00" + b"0048" + b"0000" + b"04030000" + b"0403"
            b"D*000000TN000000M*000100X*000020D*001500Y*000160M*001111"
        )


def test_the_librarys_own_random_read_goes_through_the_guard() -> None:
    with asked(bytes.fromhex(RANDOM_REPLY)) as (plc, line):
        words, doubles = plc.randomread(["D0", "TN0", "M100", "X20"], ["D1500", "Y160", "M1111"])
        assert line.sent.hex() == RANDOM_REQUEST
    packed = struct.pack("<4h", *words) + struct.pack("<3i", *doubles)
    assert packed.hex() == RANDOM_REPLY[22:]


def test_the_librarys_own_commands_have_right_device_numbers_in_ascii_code() -> None:
    """Stock pymcprotocol asks for X000032 here."""
    with asked(b"D00000FF03FF00000800009999", code="ascii") as (plc, line):
        assert plc.batchread_wordunits("X20", 1) == [0x9999 - 0x10000]
        assert line.sent.endswith(b"X*0000200001")


def test_the_error_answer_of_a_live_qnudv_is_its_end_code() -> None:
    reply = bytes.fromhex("d00000ffff03000b00314000ffff030001040000")
    with asked(reply, timer=0x10) as (plc, line):
        with pytest.raises(EndCode) as caught:
            plc.read_words(Device("R", 32768), 1)
        assert caught.value.code == 0x4031
        assert line.sent.hex() == "500000ffff03000c00100001040000008000af0100"


def test_a_4e_frame_carries_a_serial_number() -> None:
    reply = bytes.fromhex("d4000100000000ffff030006000000ab560f17")
    with asked(reply, frame="4e") as (plc, line):
        assert plc.read_words(Device("D", 350), 2).hex() == "ab560f17"
        assert line.sent.hex() == "54000100000000ffff03000c000000010400005e0100a80200"


def test_a_4e_frame_in_ascii_code() -> None:
    with asked(b"D4000001000000FF03FF00000C000056AB170F", frame="4e", code="ascii") as (
        plc,
        line,
    ):
        assert plc.read_words(Device("D", 350), 2).hex() == "ab560f17"
        assert line.sent == b"54000001000000FF03FF000018000004010000D*0003500002"


@pytest.mark.parametrize("code", ["binary", "ascii"])
def test_a_foreign_serial_number_is_no_answer(code: Code) -> None:
    """Stock pymcprotocol takes serial 9999h for its own."""
    reply = bytes.fromhex("d4009999000000ffff0300040000000100")
    if code == "ascii":
        reply = b"D4009999000000FF03FF00000800000001"
    with asked(reply, frame="4e", code=code) as (plc, _):
        with pytest.raises(FrameError, match="serial number"):
            plc.read_words(Device("D", 0), 1)
        with pytest.raises(ConnectionError):
            plc.fileno()


def test_iq_r_frames_have_wide_addresses() -> None:
    reply = bytes.fromhex("d00000ffff0300040000000100")
    with asked(reply, series="iQ-R") as (plc, line):
        assert plc.read_words(Device("D", 100), 1) == b"\1\0"
        assert line.sent.hex() == "500000ffff03000e0000000104020064000000a8000100"


DEVICES: dict[tuple[McSeries, Code, Device], str] = {
    ("Q", "binary", Device("X", 0x20)): "2000009c",
    ("Q", "binary", Device("W", 0x1F)): "1f0000b4",
    # A live QnUDV is asked for ZR393215 with these bytes.
    ("Q", "binary", Device("ZR", 393215)): "ffff05b0",
    ("Q", "binary", Device("STN", 5)): "050000c8",
    ("iQ-R", "binary", Device("ZR", 393215)): "ffff0500b000",
    ("iQ-L", "binary", Device("LCN", 7)): "070000005600",
    # X20 of an FX5 is its 17th input.
    ("FX5", "binary", Device("X", 0o20)): "1000009c",
    ("Q", "ascii", Device("D", 350)): "D*000350",
    ("Q", "ascii", Device("X", 0x20)): "X*000020",
    ("Q", "ascii", Device("W", 0x1F)): "W*00001F",
    ("Q", "ascii", Device("STN", 5)): "SN000005",
    ("iQ-R", "ascii", Device("STN", 5)): "STN*00000005",
    ("iQ-R", "ascii", Device("D", 350)): "D***00000350",
    ("iQ-R", "ascii", Device("LTN", 350)): "LTN*00000350",
    ("iQ-R", "ascii", Device("LSTN", 350)): "LSTN00000350",
    ("iQ-R", "ascii", Device("LZ", 1)): "LZ**00000001",
    ("iQ-R", "ascii", Device("RD", 350)): "RD**00000350",
    ("iQ-R", "binary", Device("RD", 350)): "5e0100002c00",
    ("iQ-R", "binary", Device("LZ", 1)): "010000006200",
    # SH-080956, 5.2: the digits of ZR are hexadecimal.
    ("Q", "ascii", Device("ZR", 393215)): "ZR05FFFF",
    ("iQ-R", "ascii", Device("ZR", 393215)): "ZR**0005FFFF",
    ("FX5", "ascii", Device("Y", 0o20)): "Y*000020",
    ("FX5", "ascii_xy_hex", Device("Y", 0o20)): "Y*000010",
    ("FX5", "ascii_xy_hex", Device("M", 20)): "M*000020",
}


@pytest.mark.parametrize(("series", "code", "device"), DEVICES)
def test_devices_as_they_stand_in_a_frame(series: McSeries, code: Code, device: Device) -> None:
    sent = Coding(series, code).device(device)
    assert (sent.hex() if code == "binary" else sent.decode()) == DEVICES[series, code, device]


def test_a_file_says_whether_the_digits_of_zr_are_decimal() -> None:
    assert Coding("Q", "ascii", "decimal").device(Device("ZR", 393215)) == b"ZR393215"
    assert Coding("Q", "binary", "decimal").device(Device("ZR", 16)) == b"\x10\0\0\xb0"


def test_no_two_devices_look_alike_in_a_frame() -> None:
    for series, profile in MC_PROFILES.items():
        for code in ("binary", "ascii"):
            coding = Coding(series, code)
            sent = {coding.device(Device(name, 7)) for name in profile.devices}
            assert len(sent) == len(profile.devices)


@given(st.binary(max_size=40).map(lambda half: half + half), st.sampled_from([2, 4]))
def test_content_reads_back_from_ascii_code(content: bytes, unit_bytes: int) -> None:
    content = content[: len(content) // 4 * 4]
    coding = Coding("Q", "ascii")
    assert coding.decode(coding.encode(content, unit_bytes), unit_bytes) == content


@pytest.mark.parametrize("data", [b"12 3", b"123", b"12", b"G000", b"\xff\xff\xff\xff"])
def test_what_is_not_ascii_code_is_no_value(data: bytes) -> None:
    with pytest.raises(FrameError):
        Coding("Q", "ascii").decode(data)


@given(st.binary(min_size=26, max_size=26))
def test_no_header_but_the_right_one_passes(received: bytes) -> None:
    request = b"54000001000000FF03FF000018"
    right = b"D4000001000000FF03FF00"
    header = Header(has_serial=True)
    header.check(request, right, is_ascii=True)
    if received[:8] != right[:8] or received[12:22] != right[12:22]:
        with pytest.raises(FrameError):
            header.check(request, received, is_ascii=True)


WRITES = {
    # SH-080008 8.2: M100 to M107 in bits has 2 a byte; here one bit.
    ("binary", "bit"): "500000ffff03000d0000000114010064000090010010",
    ("ascii", "bit"): b"500000FF03FF000019000014010001M*00010000011",
    ("binary", "words"): "500000ffff03001000000001140000640000a8020034120200",
    ("ascii", "words"): b"500000FF03FF000020000014010000D*000100000212340002",
    ("binary", "dword"): "500000ffff030010000000021400000001640000a834120200",
    ("ascii", "dword"): b"500000FF03FF0000200000140200000001D*00010000021234",
}


@pytest.mark.parametrize(("code", "what"), WRITES)
def test_writes_as_they_stand_in_a_frame(code: Code, what: str) -> None:
    reply = bytes.fromhex("d00000ffff030002000000")
    if code == "ascii":
        reply = b"D00000FF03FF0000040000"
    with asked(reply, code=code) as (plc, line):
        if what == "bit":
            plc.write_bit(Device("M", 100), True)
        elif what == "words":
            plc.write_words(Device("D", 100), bytes.fromhex("34120200"))
        else:
            plc.write_dword(Device("D", 100), bytes.fromhex("34120200"))
        expected = WRITES[code, what]
        assert line.sent == (expected if isinstance(expected, bytes) else bytes.fromhex(expected))


ROUTES: dict[Code, bytes] = {"binary": bytes.fromhex("0102e0031f"), "ascii": b"010203E01F"}


@pytest.mark.parametrize("code", ROUTES)
def test_a_route_to_a_cpu_behind_the_plc_is_sent_and_expected_back(code: Code) -> None:
    route = ROUTES[code]
    data = bytes.fromhex("040000000700") if code == "binary" else b"000800000007"
    right = (b"\xd0\x00" if code == "binary" else b"D000") + route + data
    wrong = right.replace(route, route[:-1] + bytes((route[-1] ^ 1,)))
    for reply, is_right in ((right, True), (wrong, False)):
        line = Line(reply)
        thread = threading.Thread(target=line.serve)
        thread.start()
        access = Access(
            coding=Coding("Q", code), network=1, station=2, module_io=0x3E0, module_station=31
        )
        plc = GuardedType3E(access)
        plc.connect("127.0.0.1", line.listener.getsockname()[1])
        if is_right:
            assert plc.read_words(Device("D", 0), 1) == b"\7\0"
        else:
            with pytest.raises(FrameError, match="route"):
                plc.read_words(Device("D", 0), 1)
        plc.close()
        thread.join(5)
        line.listener.close()
        start = 2 if code == "binary" else 4
        assert line.sent[start : start + len(route)] == route
