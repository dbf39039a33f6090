"""The published MELSEC frames, sent to the running simulator by the collector's own frame code.

SH-080008, 8.1 and 8.3; the last one is a capture of a live QnUDV.
"""

import socket
import struct
from collections.abc import Iterator

import pytest

from collectors.mitsubishi_mc.frames import Access, Code, Coding, Device, EndCode
from collectors.mitsubishi_mc.guard import GuardedType3E, GuardedType4E
from simulators.testing import RunningSimulator

WORDS = {
    "D350": 0x56AB, "D351": 0x170F, "D0": 0x1995, "TN0": 0x1202,
    "D1500": 0x4F4E, "D1501": 0x4C54,
}  # fmt: skip
# Bits as words: M100 holds 2030h for the random read, X20 4849h, Y160 C3DEB9AFh, M1111 BADDBCB7h.
BITS = {"M100": 0x2030, "X20": 0x4849, "Y160": 0xB9AF, "Y170": 0xC3DE}
M1111 = 0xBADDBCB7


def signals() -> Iterator[str]:
    for address, word in WORDS.items():
        yield f'name = "{address}", type = "uint16", address = "{address}", {constant(word)}'
    for address, word in BITS.items():
        radix = 16 if address[0] in "XY" else 10
        first = int(address[1:], radix)
        for bit in range(16):
            name = f"{address[0]}{first + bit:{'X' if radix == 16 else 'd'}}"
            yield f'name = "{name}", type = "bool", address = "{name}", {constant(word >> bit & 1)}'
    for bit in range(32):
        name = f"M{1111 + bit}"
        yield f'name = "{name}", type = "bool", address = "{name}", {constant(M1111 >> bit & 1)}'


def constant(value: int) -> str:
    return f'wave = {{kind = "constant", value = {value}}}'


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    file = tmp_path_factory.mktemp("vectors") / "sim.toml"
    listed = ",\n".join(f"{{{signal}}}" for signal in signals())
    devices = "".join(
        f'[[devices]]\nid = "{code}"\ncode = "{code}"\nsignals = [\n{listed}\n]\n'
        for code in ("binary", "ascii")
    )
    file.write_text(f'protocol = "mitsubishi_mc"\n{devices}')
    with RunningSimulator(file) as simulator:
        yield simulator.ports


PORTS: list[tuple[type[GuardedType3E], Code]] = [
    (GuardedType3E, "binary"),
    (GuardedType3E, "ascii"),
    (GuardedType4E, "binary"),
    (GuardedType4E, "ascii"),
]


@pytest.fixture(params=PORTS, ids=lambda p: f"{p[0].__name__[-2:]}-{p[1]}")
def plc(ports: dict[str, int], request: pytest.FixtureRequest) -> Iterator[GuardedType3E]:
    kind, code = request.param
    plc = kind(Access(coding=Coding("Q", code), timeout_s=5.0, timer=0))
    plc.connect("127.0.0.1", ports[code])
    yield plc
    plc.close()


def test_the_published_values_come_back_in_each_frame_and_code(plc: GuardedType3E) -> None:
    assert plc.read_words(Device("D", 350), 2).hex() == "ab560f17"
    assert plc.read_words(Device("M", 100), 1).hex() == "3020"
    words = [Device("D", 0), Device("TN", 0), Device("M", 100), Device("X", 0x20)]
    dwords = [Device("D", 1500), Device("Y", 0x160), Device("M", 1111)]
    data = plc.read_random(words, dwords)
    assert data.hex() == "95190212302049484e4f544cafb9dec3b7bcddba"


def test_a_register_that_does_not_exist_is_end_code_4031(plc: GuardedType3E) -> None:
    for _ in range(2):
        with pytest.raises(EndCode) as caught:
            plc.read_words(Device("R", 32768), 1)
        assert caught.value.code == 0x4031
    assert plc.read_words(Device("D", 350), 1).hex() == "ab56"


RAW = {
    "D350": (
        "binary",
        "500000ffff03000c000000010400005e0100a80200",
        "d00000ffff030006000000ab560f17",
    ),
    "R32768": (
        "binary",
        "500000ffff03000c00100001040000008000af0100",
        "d00000ffff03000b00314000ffff030001040000",
    ),
    "random": (
        "binary",
        "500000ffff030024000000030400000403000000a8000000c2640000902000009cdc0500a86001009d57040090",
        "d00000ffff03001600000095190212302049484e4f544cafb9dec3b7bcddba",
    ),
    "M100 in ASCII code": (
        "ascii",
        b"500000FF03FF000018001004010000M*0001000001".hex(),
        b"D00000FF03FF0000080000" .hex() + b"2030".hex(),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "request_hex", "reply_hex"), RAW.values(), ids=RAW)
def test_the_published_bytes_get_the_published_answer(
    ports: dict[str, int], code: str, request_hex: str, reply_hex: str
) -> None:
    expected = bytes.fromhex(reply_hex)
    with socket.create_connection(("127.0.0.1", ports[code]), 5) as connection:
        connection.sendall(bytes.fromhex(request_hex))
        received = b""
        while len(received) < len(expected) and (piece := connection.recv(4096)):
            received += piece
    assert received.hex() == expected.hex()


def test_the_librarys_own_commands_agree(plc: GuardedType3E) -> None:
    assert plc.batchread_wordunits("D350", 2) == [0x56AB, 0x170F]
    assert plc.batchread_bitunits("X20", 16) == [0x4849 >> bit & 1 for bit in range(16)]
    words, doubles = plc.randomread(["TN0", "X20"], ["D1500"])
    assert struct.pack("<2hi", *words, *doubles).hex() == "021249484e4f544c"
