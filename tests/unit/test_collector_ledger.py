"""Which starts of a collector are unplanned, and when there are too many of them."""

import configparser
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.runtime.ledger import (
    MAX_RESTART_ATTEMPTS,
    WINDOW_S,
    BootLedger,
    Ledger,
    RunState,
    admit,
    boottime_s,
    read_boot_id,
)
from collectors.runtime.process import QUARANTINE_S, STARTSECS

BOOT = "boot-1"


def ledger(run: RunState, *unplanned_at_s: float, boot_id: str = BOOT) -> Ledger:
    return Ledger(boot_id=boot_id, run=run, unplanned_at_s=unplanned_at_s)


RUNNING, ENDED, QUARANTINED = RunState.RUNNING, RunState.ENDED, RunState.QUARANTINED


@pytest.mark.parametrize(
    ("last", "starts", "hold_s", "is_refused", "kept"),
    [
        pytest.param(None, 0, 0.0, False, (), id="nothing is known"),
        pytest.param(ledger(ENDED), 0, 0.0, False, (), id="after a clean end"),
        pytest.param(ledger(RUNNING), 1, 0.0, False, (1000.0,), id="first"),
        pytest.param(ledger(RUNNING, 990.0), 2, 5.0, False, (990.0, 1000.0), id="second"),
        pytest.param(
            ledger(RUNNING, 900.0, 990.0), 3, 10.0, False, (900.0, 990.0, 1000.0), id="third"
        ),
        pytest.param(
            ledger(RUNNING, 400.0, 900.0, 990.0), 4, 0.0, True, (400.0, 900.0, 990.0), id="fourth"
        ),
        pytest.param(
            ledger(RUNNING, 399.9, 900.0, 990.0),
            3,
            10.0,
            False,
            (900.0, 990.0, 1000.0),
            id="the oldest has left the window",
        ),
        pytest.param(
            ledger(RUNNING, 100.0, 200.0, 300.0), 1, 0.0, False, (1000.0,), id="a healthy run"
        ),
        pytest.param(
            ledger(ENDED, 100.0, 900.0, 990.0),
            0,
            0.0,
            False,
            (900.0, 990.0),
            id="a clean end does not wash the others away",
        ),
        pytest.param(
            ledger(QUARANTINED, 900.0, 980.0, 990.0), 0, 0.0, False, (), id="a person's start"
        ),
        pytest.param(
            ledger(RUNNING, 900.0, 980.0, 990.0, boot_id="boot-0"),
            0,
            0.0,
            False,
            (),
            id="the machine went down",
        ),
    ],
)
def test_a_start_is_judged_by_how_the_run_before_it_stands(
    last: Ledger | None, starts: int, hold_s: float, is_refused: bool, kept: tuple[float, ...]
) -> None:
    admission = admit(last, boot_id=BOOT, now_s=1000.0)
    assert (admission.unplanned_starts, admission.hold_s) == (starts, hold_s)
    assert admission.is_refused is is_refused
    assert admission.ledger == ledger(RUNNING, *kept)


@dataclass
class Machine:
    """A clock and a boot id that tests turn, and a ledger file."""

    path: Path
    now_s: float = 100.0
    boots: int = 1
    current: BootLedger | None = None

    def start(self) -> BootLedger:
        self.current = BootLedger(
            self.path, boot_id=lambda: f"boot-{self.boots}", now_s=lambda: self.now_s
        )
        return self.current


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "run" / "ledger" / "line1.json")


def test_a_crash_loop_is_slowed_down_and_then_ended_until_a_person_starts_it(
    machine: Machine,
) -> None:
    seen = []
    for _ in range(6):
        admission = machine.start().begin()
        seen.append((admission.unplanned_starts, admission.hold_s, admission.is_refused))
        machine.now_s += 20
    assert seen == [
        (0, 0.0, False),
        (1, 0.0, False),
        (2, 5.0, False),
        (3, 10.0, False),
        (4, 0.0, True),
        # Killed before its quarantine was over: still no person has decided anything.
        (4, 0.0, True),
    ]
    assert machine.current is not None
    machine.current.quarantine()
    again = machine.start().begin()
    assert (again.unplanned_starts, again.hold_s, again.is_refused) == (0, 0.0, False)
    assert machine.start().begin().unplanned_starts == 1


def test_clean_ends_are_never_counted(machine: Machine) -> None:
    for _ in range(20):
        running = machine.start()
        assert running.begin().unplanned_starts == 0
        running.end()
        machine.now_s += 1


DAMAGES = {
    "empty": b"",
    "no JSON": b"\x00\xff\xfe",
    "a list": b"[]",
    "a later version": b'{"schema_version":2,"boot_id":"boot-1","run":"running"}',
    "an unknown state": b'{"schema_version":1,"boot_id":"boot-1","run":"walking"}',
    "no time": b'{"boot_id":"boot-1","run":"running","unplanned_at_s":[NaN,1,2]}',
    "from the future": b'{"boot_id":"boot-1","run":"running","unplanned_at_s":[1,2,1e9]}',
    "nested too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_ledger_counts_from_zero_and_says_so(
    machine: Machine, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    machine.path.parent.mkdir(parents=True)
    machine.path.write_bytes(text)
    assert machine.start().begin().unplanned_starts == 0
    (record,) = caplog.records
    assert record.getMessage() == "boot ledger is damaged; counting from zero"
    assert vars(record)["file"] == machine.path
    assert vars(record)["reason"]
    assert machine.start().begin().unplanned_starts == 1


def test_a_ledger_that_can_be_neither_read_nor_written_stops_nothing(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.path.mkdir(parents=True)
    running = machine.start()
    assert running.begin().unplanned_starts == 0
    running.end()
    assert [record.getMessage() for record in caplog.records] == [
        "boot ledger cannot be read; counting from zero",
        "boot ledger cannot be written",
        "boot ledger cannot be written",
    ]


def test_the_limit_holds_where_there_is_no_room_for_a_new_file(machine: Machine) -> None:
    machine.start().begin()
    machine.path.with_suffix(".tmp").mkdir()
    refused = [machine.start().begin().is_refused for _ in range(5)]
    assert refused == [False, False, False, True, True]
    assert machine.current is not None
    machine.current.end()
    assert json.loads(machine.path.read_bytes())["run"] == "ended"


def test_the_wall_clock_is_not_asked(machine: Machine) -> None:
    before_s = boottime_s()
    ours = BootLedger(machine.path)
    ours.begin()
    BootLedger(machine.path).begin()
    kept = json.loads(machine.path.read_bytes())
    assert kept["boot_id"] == read_boot_id() != ""
    (at_s,) = kept["unplanned_at_s"]
    assert before_s <= at_s <= boottime_s()


def test_a_refused_start_outlives_the_startsecs_of_the_template() -> None:
    template = configparser.RawConfigParser()
    template.read(Path(__file__).parents[2] / "supervisord.conf.d" / "collector.conf")
    program = template["program:@NAME@"]
    assert float(program["startsecs"]) == STARTSECS < QUARANTINE_S
    assert program["autorestart"] == "unexpected"
    assert "78" in program["exitcodes"].split(",")


@dataclass
class History:
    """What an observer who knows everything writes down beside the ledger."""

    machine: Machine
    is_known: bool = False
    """The ledger knows how the newest run stands."""
    let_through_s: list[float] = field(default_factory=list)

    def forget(self) -> None:
        self.is_known = False
        self.let_through_s.clear()

    def start_and(self, end: str) -> None:
        running = self.machine.start()
        admission = running.begin()
        now_s = self.machine.now_s
        recent = [at for at in self.let_through_s if now_s - at <= WINDOW_S]
        # Refused for a reason, and for no other.
        must_refuse = self.is_known and len(recent) >= MAX_RESTART_ATTEMPTS
        assert admission.is_refused is must_refuse
        assert bool(admission.unplanned_starts) is self.is_known
        if self.is_known and not must_refuse:
            self.let_through_s.append(now_s)
        within = [at for at in self.let_through_s if now_s - at <= WINDOW_S]
        assert len(within) <= MAX_RESTART_ATTEMPTS
        self.is_known = True
        if end == "crash":
            return
        if admission.is_refused:
            running.quarantine()
            self.forget()
        else:
            running.end()
            self.is_known = False


# Around the window's edge, also when several spans add up.
EDGES_S = st.sampled_from([0.0, 1.0, 199.0, 200.0, 299.0, 300.0, 597.0, 599.0, WINDOW_S, 601.0])
SPANS_S = st.one_of(EDGES_S, EDGES_S, st.floats(0.0, 30.0), st.floats(0.0, 700.0))
ENDS = st.sampled_from(["crash", "crash", "crash", "clean"])
INCIDENTS = st.one_of(
    st.none(), st.none(), st.none(), st.just("reboot"), st.binary(max_size=40).map(bytes)
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(SPANS_S, ENDS, INCIDENTS), max_size=40))
def test_no_history_has_more_than_three_unplanned_starts_within_ten_minutes(
    steps: list[tuple[float, str, str | bytes | None]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        history = History(Machine(Path(directory) / "line1.json"))
        for span_s, end, incident in steps:
            history.machine.now_s += span_s
            if incident == "reboot":
                history.machine.boots += 1
                history.machine.now_s = span_s
                history.forget()
            elif isinstance(incident, bytes):
                history.machine.path.write_bytes(incident)
                history.forget()
            history.start_and(end)
