"""Few requests for many points: neighbours together, what lies alone in a random read."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.config_mc import McDevice, McPoint
from collectors.mitsubishi_mc.frames import Device
from collectors.mitsubishi_mc.plan import RANDOM, describe, first_device, plan, random_devices
from collectors.runtime.planner import Block, halve


def type_of(address: str, kind: str) -> str:
    return "bool" if address.startswith(("M", "X", "TS")) else kind


def blocks_of(*addresses: str, kind: str = "int16", **device: Any) -> tuple[Block, ...]:
    points = tuple(
        McPoint(name=address, address=address, type=type_of(address, kind))  # type: ignore[arg-type] # given
        for address in addresses
    )
    return plan(McDevice(id="plc", host="h", points=points, **device))["default"]


def described(*addresses: str, **device: Any) -> list[str]:
    return [describe(block) for block in blocks_of(*addresses, **device)]


def test_relays_are_read_as_words_from_a_multiple_of_sixteen() -> None:
    blocks = blocks_of("M100", "M8191", "M131", max_gap=4, max_random_points=0)
    assert [describe(block) for block in blocks] == ["M96-M143 (3)", "M8176-M8191 (1)"]
    assert [first_device(block) for block in blocks] == [Device("M", 96), Device("M", 8176)]


def test_words_are_merged_across_small_gaps() -> None:
    requests = described("D100", "D132", "D200", "W10", max_gap=31, max_random_points=0)
    assert requests == ["D100-D132 (33)", "D200 (1)", "W10 (1)"]


def test_what_lies_alone_is_one_random_read() -> None:
    assert described("D100", "D200", "W1F", "M100") == ["0403 D100, D200, W1F, M96 (4)"]


def test_a_lone_point_stays_a_batch_read() -> None:
    assert described("D100") == ["D100 (1)"]


def test_a_long_run_stays_a_batch_read() -> None:
    run = [f"D{n}" for n in range(30)]
    assert described(*run, "D500", "W0") == ["D0-D29 (30)", "0403 D500, W0 (2)"]


def test_the_random_read_of_an_fx5_shows_octal_numbers() -> None:
    assert described("X17", "D0", "D99", series="FX5", max_gap=0) == ["0403 X0, D0, D99 (3)"]


def test_timer_contacts_are_never_read_at_random() -> None:
    assert described("TS5", "D0", "D99") == ["TS0-TS15 (1)", "0403 D0, D99 (2)"]


def test_no_random_read_is_longer_than_the_plc_allows() -> None:
    addresses = [f"D{100 * n}" for n in range(20)]
    blocks = blocks_of(*addresses, max_random_points=8)
    assert [len(block.fields) for block in blocks] == [8, 8, 4]


def test_double_words_follow_the_single_words() -> None:
    points = tuple(
        McPoint(name=address, address=address, type=kind)
        for address, kind in (("D0", "int32"), ("D100", "int16"), ("D200", "float64"))
    )
    [block] = plan(McDevice(id="plc", host="h", points=points))["default"]
    words, dwords = random_devices(block)
    assert words == [Device("D", 100)]
    assert dwords == [Device("D", 0), Device("D", 200), Device("D", 202)]
    assert [(field.point, field.start) for field in block.fields] == [
        ("plc/D100", 0),
        ("plc/D0", 1),
        ("plc/D200", 3),
    ]


def test_two_bits_of_a_word_are_asked_for_once() -> None:
    points = tuple(
        McPoint(name=address, address=address, type="bool")
        for address in ("D7.0", "D7.F", "M3", "M4")
    )
    [block] = plan(McDevice(id="plc", host="h", points=points))["default"]
    assert random_devices(block) == ([Device("D", 7), Device("M", 0)], [])


def test_long_devices_need_a_random_read_even_where_it_is_switched_off() -> None:
    longs = ("LTN3", "LTN4", "LZ1")
    for device in ({"max_random_points": 0}, {}):
        blocks = blocks_of(*longs, "D0", kind="int32", series="iQ-R", **device)
        [random] = [block for block in blocks if block.area == RANDOM]
        assert random_devices(random)[1][:3] == [Device(n[:-1], int(n[-1])) for n in longs]


ADDRESSES = st.lists(
    st.builds(
        lambda device, number: f"{device}{number}",
        st.sampled_from(["D", "R", "ZR", "M", "TN"]),
        st.integers(0, 400),
    ),
    min_size=1,
    max_size=60,
    unique=True,
)


@given(ADDRESSES, st.integers(0, 30), st.sampled_from([0, 1, 3, 192]))
def test_every_point_is_read_once_and_halves_ask_for_what_they_decode(
    addresses: list[str], max_gap: int, max_random: int
) -> None:
    blocks = blocks_of(*addresses, kind="int32", max_gap=max_gap, max_random_points=max_random)
    read = sorted(field.point for block in blocks for field in block.fields)
    assert read == sorted(f"plc/{address}" for address in addresses)
    for block in blocks:
        parts = [block, *(halve(block) if len(block.fields) > 1 else ())]
        for part in parts:
            if part.area == RANDOM:
                words, dwords = random_devices(part)
                assert len(words) + 2 * len(dwords) == part.count
                assert len(words) + len(dwords) <= max_random
            for field in part.fields:
                assert field.start - part.start >= 0
                assert field.start - part.start + field.count <= part.count
