"""Commands on standard input: understood or refused, each obeyed once, none fatal."""

import asyncio
import json
import os
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.commands import (
    MAX_COMMAND_BYTES,
    CommandOutcome,
    CommandState,
    NotACommand,
    format_command,
    parse_command,
)
from collectors.contract.config import parse_collector
from collectors.contract.messages import LANGUAGES, catalogue
from collectors.contract.points import Quality, Sample, Value
from collectors.runtime.commands import CommandDesk, Hands
from collectors.runtime.device import DeviceTask, Outlet
from collectors.runtime.driver import ConnectionLost, OnLost, Traffic, WriteFailed, WriteRefused
from collectors.runtime.reachability import DeviceState
from collectors.runtime.stdin import LineReader, read_commands
from collectors.runtime.timing import Punctuality
from collectors.runtime.values import reading

SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
WRITE = {"command": "write", "device": "plc", "point": "level", "expires_at": SOON}


def line(**keys: object) -> bytes:
    return json.dumps({"id": "w1", **keys}).encode()


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no json": b"reset_connection",
    "half": b'{"id": "a", "command": "clear_cache"',
    "a list": b'["clear_cache"]',
    "a number": b"7",
    "nested": b"[" * 5000,
    "no command": line(),
    "unknown command": line(command="format_disk"),
    "unknown key": line(command="clear_cache", also=1),
    "no id": b'{"command": "clear_cache"}',
    "an id with spaces": b'{"id": "a b", "command": "clear_cache"}',
    "a long id": json.dumps({"id": "a" * 65, "command": "clear_cache"}).encode(),
    "a write without an end": line(command="write", device="plc", point="level", value=1),
    "a write of nothing": line(**WRITE),
    "a write of a list": line(**WRITE, value=[1]),
    "a write of not-a-number": line(**WRITE, value=1).replace(b": 1}", b": NaN}"),
    "a naive time": line(**{**WRITE, "value": 1, "expires_at": "2026-01-01T00:00:00"}),
    "a factor of nine": line(command="reduce_frequency", factor=9),
    "a factor of zero": line(command="reduce_frequency", factor=0),
    "a path as device": line(command="reset_connection", device="../plc"),
    "not utf-8": b'{"id": "\xff"}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_command_is_refused(text: bytes) -> None:
    with pytest.raises(NotACommand):
        parse_command(text)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail(text: bytes) -> None:
    with pytest.raises(NotACommand):
        parse_command(text)


def test_whoever_sends_a_wrong_command_can_find_its_answer() -> None:
    with pytest.raises(NotACommand) as caught:
        parse_command(line(command="write", device="plc"))
    assert caught.value.command_id == "w1"


@pytest.mark.parametrize("value", [True, 7, 2.5, "Rezept 一"])
def test_a_command_survives_being_written_down(value: Value) -> None:
    command = parse_command(line(**WRITE, value=value))
    assert parse_command(format_command(command).rstrip(b"\n")) == command
    assert type(command.value) is type(value)  # type: ignore[union-attr] # it is a write


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b)), st.data())
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(text + b"\n" for text in lines)
    taken: list[bytes | None] = []
    reader = LineReader(taken.append)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.data_received(stream[:size])
        stream = stream[size:]
    assert taken == [text for text in lines if text.strip()]


def test_an_endless_line_is_told_once_and_costs_no_memory() -> None:
    taken: list[bytes | None] = []
    reader = LineReader(taken.append)
    for _ in range(50):
        reader.data_received(b"x" * MAX_COMMAND_BYTES)
    assert taken == []
    assert len(reader._rest) <= MAX_COMMAND_BYTES
    reader.data_received(b"xx\nnext\n")
    assert taken == [None, b"next"]


def test_only_a_pipe_is_read() -> None:
    async def scenario() -> None:
        null = os.open(os.devnull, os.O_RDONLY)
        assert await read_commands(lambda _: None, null) is None
        os.close(null)
        assert await read_commands(lambda _: None, null) is None
        source, sink = os.pipe()
        lines: list[bytes | None] = []
        transport = await read_commands(lines.append, source)
        assert transport is not None
        os.write(sink, b"one\ntwo\n")
        os.close(sink)
        while len(lines) < 2:
            await asyncio.sleep(0.001)
        transport.close()
        await asyncio.sleep(0.01)
        os.close(source)

    asyncio.run(asyncio.wait_for(scenario(), 5))


@dataclass
class WritableDriver:
    """Takes every write, or does what a test says."""

    on_lost: OnLost
    on_write: Callable[[str, Value], Awaitable[Sample]]
    is_lost: bool = False

    async def connect(self) -> None:
        if self.is_lost:
            raise ConnectionLost("gone")

    async def read(self, group_id: str) -> list[Sample]:
        return [reading(f"plc/{name}", 1, 1, 2) for name in ("level", "speed")]

    async def write(self, point_name: str, value: Value) -> Sample:
        return await self.on_write(point_name, value)

    def adopt(self, device: object) -> bool:
        return False

    def forget(self) -> None:
        return

    async def close(self) -> None:
        return


async def accept(point: str, value: Value) -> Sample:
    return reading(f"plc/{point}", value, 1, 2)


@dataclass
class Bench:
    """A desk with one device, and all that was done through it."""

    on_write: Callable[[str, Value], Awaitable[Sample]] = accept
    done: list[Any] = field(default_factory=list)
    outcomes: deque[CommandOutcome] = field(default_factory=lambda: deque(maxlen=32))

    def __post_init__(self) -> None:
        points = [
            {"name": "level", "address": "holding:0", "writable": True, "clamp": [0, 10]},
            {"name": "speed", "address": "holding:1"},
        ]
        retry = {"base_s": 0.01, "max_s": 0.01}
        device = {"id": "plc", "host": "h", "retry": retry, "points": points}
        document = {"name": "line1", "protocol": "modbus_tcp", "devices": [device]}
        outlet = Outlet(
            deliver=lambda *_: None,
            connection_changed=lambda: None,
            punctuality_of=Punctuality,
        )
        self.task = DeviceTask(
            parse_collector(document, file="f").devices[0],
            self.make_driver,
            outlet,
            0.0,
            DeviceState(),
        )
        hands = Hands(
            device=lambda name: self.task if name == "plc" else None,
            reset=self.reset,
            set_factor=lambda factor: self.done.append(("factor", factor)),
            clear_cache=lambda: self.done.append("clear"),
        )
        self.desk = CommandDesk(hands, self.outcomes, lambda: None)

    def make_driver(self, _traffic: Traffic, on_lost: OnLost) -> WritableDriver:
        self.driver = WritableDriver(on_lost, self.on_write)
        return self.driver

    async def reset(self, device: str | None) -> None:
        self.done.append(("reset", device))

    async def started(self) -> None:
        self.task.start(lambda _: None)
        while not self.task.state.is_connected:
            await asyncio.sleep(0.001)
        self.desk.is_open = True

    async def say(self, text: bytes) -> CommandOutcome:
        before = len(self.outcomes)
        self.desk.receive(text)
        while len(self.outcomes) == before:
            await asyncio.sleep(0.001)
        return self.outcomes[-1]


def outcome_of(text: bytes, bench: Bench | None = None) -> tuple[CommandOutcome, Bench]:
    bench = bench or Bench()

    async def scenario() -> CommandOutcome:
        await bench.started()
        try:
            return await bench.say(text)
        finally:
            await bench.desk.close()
            await bench.task.stop()

    return asyncio.run(asyncio.wait_for(scenario(), 5)), bench


def test_a_write_is_done_and_tells_what_the_device_gives_back() -> None:
    outcome, _ = outcome_of(line(**WRITE, value=7))
    assert (outcome.id, outcome.command, outcome.state) == ("w1", "write", CommandState.DONE)
    assert (outcome.code, outcome.value) == ("", 7)


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"device": "pump", "value": 1}, "unknown_device"),
        ({"point": "lavel", "value": 1}, "unknown_point"),
        ({"point": "speed", "value": 1}, "not_writable"),
        ({"value": 11}, "outside_clamp"),
        ({"value": -0.1}, "outside_clamp"),
        ({"value": 1, "expires_at": "2026-01-01T00:00:00Z"}, "expired"),
    ],
)
def test_a_write_that_must_not_be_is_refused(keys: dict[str, object], code: str) -> None:
    async def never(point: str, value: Value) -> Sample:
        raise AssertionError("something was sent")

    outcome, _ = outcome_of(line(**{**WRITE, **keys}), Bench(never))
    assert (outcome.state, outcome.code, outcome.value) == (CommandState.REFUSED, code, None)


@pytest.mark.parametrize(
    ("error", "state", "native_code", "value"),
    [
        (WriteRefused("does_not_fit"), CommandState.REFUSED, 0, None),
        (WriteFailed("device_refused", 4), CommandState.FAILED, 4, None),
        (
            WriteFailed("read_back_differs", read_back=reading("plc/level", 3, 1, 2)),
            CommandState.FAILED,
            0,
            3,
        ),
        (ConnectionLost("closed", Quality.BAD_COMM), CommandState.FAILED, 0, None),
    ],
)
def test_a_write_that_goes_wrong_says_how(
    error: Exception, state: CommandState, native_code: int, value: Value | None
) -> None:
    async def fail(point: str, given: Value) -> Sample:
        raise error

    outcome, _ = outcome_of(line(**WRITE, value=7), Bench(fail))
    assert (outcome.state, outcome.native_code, outcome.value) == (state, native_code, value)
    assert outcome.code


def test_a_write_to_a_device_that_is_not_there_is_refused() -> None:
    bench = Bench()

    async def scenario() -> CommandOutcome:
        await bench.started()
        bench.driver.is_lost = True
        bench.driver.on_lost(ConnectionLost("closed by the device"))
        while bench.task.state.is_connected:
            await asyncio.sleep(0.001)
        outcome = await bench.say(line(**WRITE, value=7))
        await bench.task.stop()
        return outcome

    outcome = asyncio.run(asyncio.wait_for(scenario(), 5))
    assert (outcome.state, outcome.code) == (CommandState.REFUSED, "not_connected")


def test_a_stop_ends_a_write_that_waits_for_its_device() -> None:
    async def hang(point: str, value: Value) -> Sample:
        await asyncio.sleep(60)
        raise AssertionError

    bench = Bench(hang)

    async def scenario() -> None:
        await bench.started()
        bench.desk.receive(line(**WRITE, value=7))
        await asyncio.sleep(0.02)
        await bench.task.stop()
        while not bench.outcomes:
            await asyncio.sleep(0.001)
        await bench.desk.close()

    asyncio.run(asyncio.wait_for(scenario(), 5))
    assert (bench.outcomes[0].state, bench.outcomes[0].code) == ("failed", "connection_lost")


def test_the_same_command_twice_is_obeyed_once() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.started()
        for _ in range(3):
            bench.desk.receive(line(command="clear_cache"))
        await bench.say(line(command="clear_cache").replace(b"w1", b"w2"))
        await bench.task.stop()

    asyncio.run(asyncio.wait_for(scenario(), 5))
    assert bench.done == ["clear", "clear"]
    assert [outcome.id for outcome in bench.outcomes] == ["w1", "w2"]


@pytest.mark.parametrize(
    ("keys", "done"),
    [
        ({"command": "reset_connection"}, ("reset", None)),
        ({"command": "reset_connection", "device": "plc"}, ("reset", "plc")),
        ({"command": "reduce_frequency", "factor": 4}, ("factor", 4.0)),
        ({"command": "clear_cache"}, "clear"),
    ],
)
def test_each_command_moves_what_it_names(keys: dict[str, object], done: object) -> None:
    outcome, bench = outcome_of(line(**keys))
    assert (outcome.state, bench.done) == (CommandState.DONE, [done])


def test_a_collector_that_is_held_obeys_nothing() -> None:
    bench = Bench()

    async def scenario() -> CommandOutcome:
        return await bench.say(line(command="clear_cache"))

    outcome = asyncio.run(asyncio.wait_for(scenario(), 5))
    assert (outcome.state, outcome.code, bench.done) == (CommandState.REFUSED, "held", [])


def test_hostile_lines_are_answered_and_the_next_command_is_obeyed() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.started()
        for text in (None, *HOSTILE.values()):
            bench.desk.receive(text)
        await bench.say(line(command="clear_cache"))
        await bench.task.stop()

    asyncio.run(asyncio.wait_for(scenario(), 5))
    assert len(bench.outcomes) == len(HOSTILE) + 2
    assert {o.code for o in bench.outcomes} == {"line_too_long", "not_a_command", ""}
    assert bench.done == ["clear"]


def test_every_code_of_an_outcome_has_its_sentence() -> None:
    codes = {
        "not_a_command", "line_too_long", "held", "too_many", "expired", "unknown_device",
        "unknown_point", "not_writable", "outside_clamp", "not_connected", "not_supported",
        "wrong_type", "does_not_fit", "device_refused", "read_back_differs", "connection_lost",
    }  # fmt: skip
    for language in LANGUAGES:
        known = {c for c in catalogue("collectors.contract", language) if c.startswith("command.")}
        assert known >= {f"command.{code}" for code in codes}
