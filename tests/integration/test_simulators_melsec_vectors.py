"""A running MC simulator answers the published frames of SH-080008 byte by byte."""

import socket

import pytest

from simulators.testing import RunningSimulator

WORDS = {
    "D350": 0x56AB,
    "D351": 0x170F,
    "D0": 0x1995,
    "TN0": 0x1202,
    "D1500": 0x4F4E,
    "D1501": 0x4C54,
}
BITS = {
    ("M", 10, 100): 0x1234,
    ("M", 10, 116): 0x0002,
    ("M", 10, 1111): 0xBCB7,
    ("M", 10, 1127): 0xBADD,
    ("X", 16, 0x20): 0x4849,
    ("Y", 16, 0x160): 0xB9AF,
    ("Y", 16, 0x170): 0xC3DE,
}
"""Sixteen bits from the first one up."""
READ_RANDOM = (
    "500000ffff030024000000030400000403000000a8000000c2640000902000009cdc0500a86001009d57040090"
)


@pytest.fixture(scope="module")
def plc(tmp_path_factory):
    held = dict(WORDS)
    kinds = dict.fromkeys(WORDS, "uint16")
    for (device, radix, first), pattern in BITS.items():
        for bit in range(16):
            address = f"{device}{first + bit:{'X' if radix == 16 else 'd'}}"
            held[address], kinds[address] = bool(pattern >> bit & 1), "bool"
    signals = ",\n".join(
        f'{{name = "{address}", address = "{address}", type = "{kinds[address]}", '
        f'wave = {{kind = "writable", value = {str(value).lower()}}}}}'
        for address, value in held.items()
    )
    file = tmp_path_factory.mktemp("vectors") / "plc.toml"
    file.write_text(f'protocol = "mitsubishi_mc"\ncode = "any"\nsignals = [\n{signals}\n]\n')
    with RunningSimulator(file) as running:
        yield running


def ask(plc, request, answer_bytes):
    with socket.create_connection((plc.host, plc.port), timeout=5) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as stream:
            return stream.read(answer_bytes)


@pytest.mark.parametrize(
    ("request_hex", "answer_hex"),
    [
        ("500000ffff03000c000000010400005e0100a80200", "d00000ffff030006000000ab560f17"),
        ("500000ffff03000c00000001040000640000900200", "d00000ffff03000600000034120200"),
        # The error of a live QnUDV CPU: end code 4031 and nine bytes of error information.
        ("500000ffff03000c00100001040000008000af0100", "d00000ffff03000b00314000ffff030001040000"),
        # The same words with a serial number.
        (
            "540034120000" + "00ffff03000c000000010400005e0100a80200",
            "d40034120000" + "00ffff030006000000ab560f17",
        ),
    ],
)
def test_a_published_binary_request_gets_its_published_answer(plc, request_hex, answer_hex):
    answer = bytes.fromhex(answer_hex)
    assert ask(plc, bytes.fromhex(request_hex), len(answer)) == answer


def test_the_published_random_read_gets_its_published_answer(plc):
    for bit in range(16):
        plc.write(f"M{100 + bit}", bool(0x2030 >> bit & 1))
    answer = bytes.fromhex("d00000ffff03001600000095190212302049484e4f544cafb9dec3b7bcddba")
    try:
        assert ask(plc, bytes.fromhex(READ_RANDOM), len(answer)) == answer
    finally:
        for bit in range(16):
            plc.write(f"M{100 + bit}", None)


@pytest.mark.parametrize(
    ("request_text", "answer_text"),
    [
        ("500000FF03FF000018001004010000M*0001000002", "D00000FF03FF00000C000012340002"),
        ("500000FF03FF000018001004010000D*0003500002", "D00000FF03FF00000C000056AB170F"),
        (
            "54001234000000FF03FF000018001004010000D*0003500001",
            "D4001234000000FF03FF000008000056AB",
        ),
    ],
)
def test_an_ascii_request_gets_its_answer(plc, request_text, answer_text):
    assert ask(plc, request_text.encode(), len(answer_text)) == answer_text.encode()
