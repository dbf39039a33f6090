"""The life of an alert: laws that hold for every history, and its single steps."""

from dataclasses import replace
from datetime import timedelta

import pytest
from alert_samples import (
    BLIND,
    CRASHED,
    DEVICE_DEAD,
    DEVICE_LOST,
    NO_DATA,
    START,
    Plant,
    facts,
    node,
    status,
    told,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from control_plane.alerting.engine import EngineState, Step, acknowledge
from control_plane.alerting.flapping import STATES, change_percent, remember
from control_plane.alerting.limits import DEFAULT_RULES, AlertLimits
from control_plane.alerting.rules import judge
from control_plane.domain.alerts import AlertEventKind, AlertState, Note, Silence
from control_plane.domain.process import Desired

STATE = TypeAdapter(EngineState)
QUICK = AlertLimits(
    rules={
        name: replace(rule, for_s=min(rule.for_s, 2.0), clear_s=2.0)
        for name, rule in DEFAULT_RULES.items()
    },
    repeat_s=0,
)
CHECKS = {
    "good": {}, "crashed": CRASHED, "lost": DEVICE_LOST, "dead": DEVICE_DEAD, "late": NO_DATA,
    "blind": BLIND,
}  # fmt: skip
CRASH, FINE = facts(status(checks=CRASHED)), facts(status(uptime_s=1e6))


def look_of(drawn: tuple[str, str, str, float]) -> object:
    first, second, how, _ = drawn
    processes = [
        status("a", CHECKS[first], desired=Desired.STOP if how == "stopped" else Desired.RUN,
               uptime_s=1e6),
        status("b@far", CHECKS[second], node="far", uptime_s=1e6),
    ]  # fmt: skip
    return facts(
        *(processes[1:] if how == "removed" else processes),
        nodes=(node(), node("far", reachable=how != "away")),
        maintenance=frozenset({"a"} if how == "maintenance" else ()),
    )


LOOKS = st.lists(
    st.tuples(
        st.sampled_from(list(CHECKS)),
        st.sampled_from(list(CHECKS)),
        st.sampled_from(["run"] * 6 + ["stopped", "maintenance", "away", "removed"]),
        st.sampled_from([0.0, 0.5, 1.0, 1.0, 1.0, 3.0, 40.0]),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(LOOKS)
def test_each_alert_fires_once_and_ends_once(drawn: list[tuple[str, str, str, float]]) -> None:
    plant, open_ids, ever = Plant(limits=QUICK), {}, set()
    for each in drawn:
        for event in plant.look(look_of(each), each[3]):
            alert = event.alert
            if event.kind is AlertEventKind.FIRED:
                assert alert.fingerprint not in open_ids, "a second open alert"
                assert alert.id not in ever, "an id used again"
                assert alert.id > max(ever, default=0)
                open_ids[alert.fingerprint] = alert.id
                ever.add(alert.id)
            else:
                assert open_ids.get(alert.fingerprint) == alert.id, "an event without its alert"
            if event.kind is AlertEventKind.RESOLVED:
                del open_ids[alert.fingerprint]
            if each[2] in ("stopped", "maintenance") and alert.subject.name == "a":
                assert event.kind is AlertEventKind.RESOLVED
        now_open = {f: a.id for f, a in plant.state.open_alerts().items()}
        assert now_open == open_ids
        if each[2] in ("stopped", "maintenance") and each[3] > 0:
            assert all(a.subject.name != "a" for a in plant.state.open_alerts().values())
    plant.limits = replace(QUICK, flapping=False)
    plant.look(facts(status("a", uptime_s=1e6), status("b@far", node="far", uptime_s=1e6),
                     nodes=(node(), node("far")),
                     request_errors={"a": 0.0, "b@far": 0.0}), times=10)  # fmt: skip
    assert {a.rule for a in plant.state.open_alerts().values()} <= {"historian"}


@settings(max_examples=100, deadline=None)
@given(LOOKS)
def test_a_restart_of_the_control_plane_changes_nothing_later(
    drawn: list[tuple[str, str, str, float]],
) -> None:
    steady, restarted = Plant(limits=QUICK), Plant(limits=QUICK)
    for each in drawn:
        seen = look_of(each)
        expected = steady.look(seen, each[3])
        restarted.state = STATE.validate_json(STATE.dump_json(restarted.state))
        assert told(restarted.look(seen, each[3])) == told(expected)
    assert STATE.dump_python(steady.state) == STATE.dump_python(restarted.state)


@settings(max_examples=100, deadline=None)
@given(LOOKS, st.floats(-1e6, 1e6))
def test_the_same_or_an_older_look_changes_nothing(
    drawn: list[tuple[str, str, str, float]], shift_s: float
) -> None:
    plant = Plant(limits=QUICK)
    for each in drawn:
        plant.look(look_of(each), each[3])
        judgement = judge(CRASH, QUICK, plant.state.open_alerts())
        mono = plant.mono - abs(shift_s)
        again = Step(plant.state, QUICK, (), plant.now, mono).run(judgement)
        assert again == (plant.state, ())


def test_another_boot_shifts_the_monotonic_clock_and_nothing_else() -> None:
    plant = Plant()
    plant.look(facts(status(cpu=99.0)), times=60)
    plant.state = plant.state.rebased(-500.0)
    plant.mono -= 500.0
    assert plant.look(facts(status(cpu=99.0)), times=25) == [
        e for e in plant.events if e.alert.rule == "historian" and e.at > plant.now
    ]
    assert "cpu" in {e.alert.rule for e in plant.look(facts(status(cpu=99.0)), times=10)}


def test_a_wall_clock_that_jumps_changes_no_duration() -> None:
    plant = Plant()
    plant.look(facts(status(cpu=99.0)), times=30)
    plant.now -= timedelta(hours=1)
    assert "cpu" not in {e.alert.rule for e in plant.look(facts(status(cpu=99.0)), times=55)}
    plant.now += timedelta(hours=2)
    assert "cpu" in {e.alert.rule for e in plant.look(facts(status(cpu=99.0)), times=10)}


def test_what_comes_and_goes_is_one_flapping_alert_until_it_is_quiet() -> None:
    plant = Plant(limits=QUICK)
    for _ in range(20):
        plant.look(CRASH, times=4)
        plant.look(FINE, times=4)
    process = [e for e in plant.events if e.alert.rule == "process_state"]
    kinds = [e.kind.value for e in process]
    assert kinds == ["fired", "resolved"] * 2 + ["fired", "flapping"]
    assert process[-1].alert.flapping
    (open_one,) = [a for a in plant.state.open_alerts().values() if a.rule == "process_state"]
    assert open_one.count > 10
    quiet = [e for e in plant.look(FINE, 1.0, 700) if e.alert.rule == "process_state"]
    assert [(e.kind.value, e.alert.id) for e in quiet] == [("resolved", open_one.id)]
    assert quiet[0].at - process[-1].at > timedelta(minutes=5)


def test_a_flapping_alert_that_stays_bad_becomes_a_plain_one() -> None:
    plant = Plant(limits=QUICK)
    for _ in range(4):
        plant.look(FINE, times=4)
        plant.look(CRASH, times=4)
    events = [e for e in plant.look(CRASH, 1.0, 700) if e.alert.rule == "process_state"]
    assert [e.kind.value for e in events] == ["steady"]
    (over,) = [e for e in plant.look(FINE, times=10) if e.alert.rule == "process_state"]
    assert over.kind is AlertEventKind.RESOLVED


@given(st.lists(st.booleans(), max_size=60))
def test_the_share_of_changes_is_a_percentage(bad: list[bool]) -> None:
    history = 0
    for each in bad:
        history = remember(history, each)
        assert 0 <= change_percent(history) <= 100


@pytest.mark.parametrize(
    ("history", "percent"),
    [
        (0, 0.0),
        ((1 << STATES) - 1, 0.0),
        (int("01" * 11, 2) & ((1 << STATES) - 1), 100.0),
        # The three newest changes: 1.25, 1.2237 and 1.1974 of 20.
        (0b101, 18.4),
        (1 << (STATES - 1), 3.75),
    ],
)
def test_the_share_is_that_of_nagios(history: int, percent: float) -> None:
    assert change_percent(history) == pytest.approx(percent, abs=0.05)


NOTE = Note(by="bob", at=START, reason="on my way")


def process_alert(plant: Plant) -> object:
    return next(a for a in plant.state.open_alerts().values() if a.rule == "process_state")


def test_nobody_acknowledges_so_it_is_told_again_and_acknowledging_ends_that() -> None:
    plant = Plant(limits=replace(QUICK, repeat_s=60.0))
    plant.look(CRASH, times=5)
    repeated = [e for e in plant.look(CRASH, times=125) if e.alert.rule == "process_state"]
    assert [e.kind.value for e in repeated] == ["repeated", "repeated"]
    plant.state, event = acknowledge(plant.state, process_alert(plant).id, NOTE)
    assert (event.kind.value, event.actor, event.reason) == ("acknowledged", "bob", "on my way")
    assert event.alert.alarm_state == "active_acknowledged"
    assert [e for e in plant.look(CRASH, times=200) if e.alert.rule == "process_state"] == []
    over = [e for e in plant.look(FINE, times=10) if e.alert.rule == "process_state"]
    assert [e.alert.alarm_state for e in over] == ["normal"]


def test_only_an_open_alert_can_be_acknowledged_here() -> None:
    plant = Plant(limits=QUICK)
    plant.look(CRASH, times=5)
    assert acknowledge(plant.state, 1, NOTE) == (plant.state, None)
    # One that is not certain yet has no number.
    plant.look(facts(status(checks=CRASHED), status("line2", cpu=99.0)))
    assert "cpu" in {t.alert.rule for t in plant.state.tracks.values() if t.alert}
    assert acknowledge(plant.state, 0, NOTE) == (plant.state, None)


def test_one_good_look_ends_nothing() -> None:
    plant = Plant(limits=QUICK)
    plant.look(CRASH, times=5)
    for _ in range(3):
        events = plant.look(FINE) + plant.look(CRASH, times=5)
        assert [e for e in events if e.alert.rule == "process_state"] == []
    plant.look(FINE)
    assert process_alert(plant).state is AlertState.FIRING


def test_a_shelved_alert_is_quiet_until_the_shelf_ends() -> None:
    plant = Plant(limits=replace(QUICK, repeat_s=30.0))
    plant.silences = (
        Silence(
            id=1, rule="process_*", subject="line*", alert_id=None,
            until=START + timedelta(seconds=100), note=NOTE,
        ),
    )  # fmt: skip
    fired = [e for e in plant.look(CRASH, times=90) if e.alert.rule == "process_state"]
    assert [(e.kind.value, e.alert.state) for e in fired] == [("fired", AlertState.SHELVED)]
    assert process_alert(plant).alarm_state == "shelved"
    back = [e for e in plant.look(CRASH, times=20) if e.alert.rule == "process_state"]
    assert [(e.kind.value, e.alert.state) for e in back] == [("unshelved", AlertState.FIRING)]


def test_shelving_one_alert_spares_the_next_one_of_its_kind() -> None:
    plant = Plant(limits=QUICK)
    plant.look(CRASH, times=5)
    shelf = Silence(
        id=1, rule="*", subject="*", alert_id=process_alert(plant).id,
        until=START + timedelta(days=1), note=NOTE,
    )  # fmt: skip
    plant.silences = (shelf,)
    (shelved,) = plant.look(CRASH)
    assert shelved.kind is AlertEventKind.SHELVED
    plant.look(FINE, times=10)
    again = [e for e in plant.look(CRASH, times=5) if e.alert.rule == "process_state"]
    assert again[0].alert.state is AlertState.FIRING
    assert again[0].alert.alarm_state == "active_unacknowledged"
