"""Which requests meet a fault, and that the same seed throws the same dice."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulators.clock import Clock
from simulators.faults import (
    FAULT_KINDS,
    LISTENER_FAULTS,
    REQUEST_FAULTS,
    SPOILING_FAULTS,
    SUPPORTED,
    Fault,
    FaultBoard,
    FaultOrder,
)
from simulators.modbus_tcp import ModbusServer
from simulators.problems import LANGUAGES, parse_simulator
from simulators.truth import TruthLog

ROOT = Path(__file__).parents[2]


def kinds_of(board, unit=None):
    return [effect.kind for effect in board.take(unit)]


@given(every=st.integers(1, 7), count=st.integers(1, 9))
def test_each_nth_request_meets_a_fault_until_it_met_enough(every, count):
    board = FaultBoard()
    board.start(Fault(fault="drop", every=every, count=count))
    met = [number for number in range(1, 80) if board.take()]
    assert met == [every * n for n in range(1, count + 1)]
    assert board.counters.requests == 79
    assert board.counters.faults == {"drop": count}
    assert board.describe() == []


def test_a_fault_of_one_unit_leaves_the_others_alone():
    board = FaultBoard()
    board.start(Fault(fault="silent"), unit=2)
    assert (kinds_of(board, 1), kinds_of(board, 2)) == ([], ["silent"])
    board.start(Fault(fault="drop"))
    assert (kinds_of(board, 1), kinds_of(board, 2)) == (["drop"], ["silent", "drop"])
    board.clear(unit=2)
    assert (kinds_of(board, 1), kinds_of(board, 2)) == (["drop"], ["drop"])
    board.clear()
    assert kinds_of(board, 1) == []


def test_a_fault_takes_the_place_of_one_of_its_kind():
    board = FaultBoard()
    board.start(Fault(fault="delay", delay_s=1.0))
    board.start(Fault(fault="delay", delay_s=2.0))
    (effect,) = board.take()
    assert effect.fault.delay_s == 2.0


def test_a_fault_ends_after_its_time_and_says_so():
    async def scenario():
        changes = []
        board = FaultBoard()
        board.changed = changes.append
        board.start(Fault(fault="refuse"), for_s=0.01)
        while board.find("refuse") is not None:
            await asyncio.sleep(0.001)
        return [fault.fault for fault in changes]

    assert asyncio.run(asyncio.wait_for(scenario(), 5)) == ["refuse", "refuse"]


def test_values_stand_still_only_while_frozen():
    board = FaultBoard(Clock())
    board.start(Fault(fault="freeze"), unit=3)
    first, second = board.now(3), board.now(3)
    assert first.t_s == second.t_s
    assert first.t_ns < board.now(3).t_ns
    assert board.now(4).t_s > first.t_s
    board.clear("freeze")
    assert board.now(3).t_s > first.t_s


def throws(seed):
    board = FaultBoard(seed=seed)
    board.start(Fault(fault="garbage"))
    return [board.take()[0].dice.randbytes(8) for _ in range(5)]


def test_the_same_seed_throws_the_same_dice():
    assert throws("1/press") == throws("1/press")
    assert throws("1/press") != throws("1/mixer")
    assert len(set(throws("1/press"))) == 5


@pytest.mark.parametrize(
    "order",
    [
        {"fault": "freeze", "count": 1},
        {"fault": "drop", "delay_s": 1.0},
        {"fault": "restart", "for_s": 1.0},
        {"fault": "refuse", "unit": 1},
        {"fault": "split", "chunk_bytes": 0},
        {"fault": "meteor"},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(order):
    with pytest.raises(ValidationError):
        FaultOrder.model_validate(order)


def test_every_fault_is_described_and_can_be_had():
    text = (ROOT / "docs" / "simulators.md").read_text(encoding="utf-8")
    table = text[text.index("| fault |") : text.index("Where they make sense")]
    described = re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| ([^|]*)", table, re.M)))
    assert sorted(described) == sorted(FAULT_KINDS)
    assert set().union(*SUPPORTED.values()) == set(FAULT_KINDS)
    assert SPOILING_FAULTS < REQUEST_FAULTS
    assert not LISTENER_FAULTS & REQUEST_FAULTS


def test_every_sentence_is_used():
    sources = "".join(p.read_text() for p in (ROOT / "simulators").glob("*.py"))
    codes = json.loads((ROOT / "simulators" / f"messages.{LANGUAGES[0]}.json").read_text())
    # Made of a prefix and the reason: address_mc_range, wave_kind, help_delay_s.
    made = ("address_", "wave_", "help_")
    unused = [
        code
        for code in codes
        if f'"{code}"' not in sources
        and not any(
            code.startswith(prefix) and f'"{code.removeprefix(prefix)}"' in sources
            for prefix in made
        )
    ]
    assert unused == []


def modbus(faults):
    document = {
        "protocol": "modbus_tcp",
        "units": [
            {
                "signals": [
                    {
                        "name": "a",
                        "address": "holding:0",
                        "type": "int16",
                        "wave": {"kind": "constant", "value": 1},
                    }
                ]
            }
        ],
    }
    config = parse_simulator(document, file="test").devices[0]
    return ModbusServer(config, TruthLog(None), faults=faults)


@given(
    pdu=st.binary(min_size=1, max_size=60),
    kinds=st.sets(st.sampled_from(sorted(REQUEST_FAULTS & SUPPORTED["modbus_tcp"]))),
)
def test_any_faults_together_leave_a_server_that_answers_or_is_silent(pdu, kinds):
    board = FaultBoard()
    for kind in kinds:
        board.start(Fault(fault=kind))
    frame = b"\0\1\0\0" + (1 + len(pdu)).to_bytes(2, "big") + b"\1" + pdu
    reply = modbus(board).answer(frame)
    assert (reply is None) is ("silent" in kinds)
    assert reply is None or {effect.kind for effect in reply.effects} == kinds
