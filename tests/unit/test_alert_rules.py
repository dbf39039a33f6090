"""One alert and one end for each fault, whatever it causes."""

from dataclasses import replace

import pytest
from alert_samples import (
    BLIND,
    CRASHED,
    DEVICE_DEAD,
    DEVICE_LOST,
    NO_DATA,
    Plant,
    device,
    facts,
    node,
    status,
    told,
)

from collectors.contract.config_problems import ConfigProblem
from control_plane.alerting.facts import Disk, OwnFigures, Spool
from control_plane.alerting.limits import AlertLimits
from control_plane.alerting.texts import advice_for, ending_of, message_of, rule_name
from control_plane.domain.alerts import AlertSeverity
from control_plane.domain.health import HealthCheckType, HealthStatus
from control_plane.domain.process import Desired
from control_plane.domain.storage import StorageView, StoreLedger, StoreView

STORED = StorageView(
    age_s=1.0,
    stores=(StoreView(name="embedded", url="embedded:", error=None, retry_in_s=0.0),),
    ledgers=(StoreLedger(collector="line1", store="embedded"),),
)


def look_at(*statuses: object, **more: object) -> object:
    return facts(*statuses, **({"storage": STORED} | more))  # type: ignore[arg-type]


def test_a_healthy_plant_has_no_alert() -> None:
    plant = Plant()
    assert plant.look(look_at(status("line1"), status("line2")), times=50) == []
    assert plant.state.tracks == {}


def test_a_crash_is_one_alert_until_the_process_has_lasted() -> None:
    plant = Plant()
    fired = plant.look(look_at(status(checks=CRASHED)), times=3)
    assert told(fired) == [("fired", "process_state", "line1")]
    assert fired[0].alert.severity is AlertSeverity.CRITICAL
    back = plant.look(look_at(status(uptime_s=3.0)), times=20)
    assert [e.kind for e in back] == ["updated"]
    assert back[0].alert.severity is AlertSeverity.WARNING
    over = plant.look(look_at(status(uptime_s=601.0)), times=20)
    assert told(over) == [("resolved", "process_state", "line1")]
    assert over[0].alert.id == fired[0].alert.id


def test_a_crash_between_two_looks_is_an_alert_too() -> None:
    plant = Plant()
    events = plant.look(look_at(status(uptime_s=0.2), restarted=frozenset({"line1"})))
    assert told(events) == [("fired", "process_state", "line1")]
    assert plant.look(look_at(status(uptime_s=5.0)), times=10) == []


def test_a_dead_process_is_not_blamed_for_its_devices() -> None:
    plant = Plant()
    events = plant.look(look_at(status(checks={**DEVICE_DEAD, **CRASHED})), times=5)
    assert told(events) == [("fired", "process_state", "line1")]


@pytest.mark.parametrize("code", ["process.held", "process.starting", "process.heartbeat_late"])
def test_one_that_only_starts_or_is_held_back_is_not_blamed_for_its_devices(code: str) -> None:
    plant = Plant()
    held = {HealthCheckType.PROCESS_ALIVE: (HealthStatus.WARNING, code, {})}
    assert plant.look(look_at(status(checks={**DEVICE_DEAD, **held})), times=100) == []


def test_a_dead_device_is_one_alert_and_missing_data_is_not_another() -> None:
    plant = Plant()
    assert plant.look(look_at(status(checks=DEVICE_LOST)), times=60) == []
    fired = plant.look(look_at(status(checks=DEVICE_DEAD | NO_DATA)), times=200)
    assert told(fired) == [("fired", "connection", "line1")]
    # On the way back data is still late, and the link not yet good.
    assert plant.look(look_at(status(checks=DEVICE_LOST)), times=10) == []
    over = plant.look(look_at(status(checks=NO_DATA)), times=8) + plant.look(
        look_at(status()), times=20
    )
    assert told(over) == [("resolved", "connection", "line1")]


def test_data_that_stops_while_devices_answer_is_an_alert_of_its_own() -> None:
    plant = Plant()
    assert told(plant.look(look_at(status(checks=NO_DATA)), times=30)) == [
        ("fired", "data_flow", "line1")
    ]


def test_a_figure_must_stay_above_its_limit() -> None:
    plant = Plant()
    for _ in range(5):
        assert plant.look(look_at(status(cpu=95.0)), times=60) == []
        assert plant.look(look_at(status(cpu=20.0)), times=2) == []
    (fired,) = plant.look(look_at(status(cpu=95.0)), times=100)
    assert (fired.alert.rule, fired.alert.value, fired.alert.threshold) == ("cpu", 95.0, 80.0)
    assert "95" in message_of(fired.alert)


def test_memory_far_above_its_limit_is_critical() -> None:
    plant = Plant()
    (fired,) = plant.look(look_at(status(memory=600.0)), times=100)
    assert fired.alert.severity is AlertSeverity.WARNING
    (worse,) = plant.look(look_at(status(memory=800.0)))
    assert (worse.kind, worse.alert.severity) == ("updated", AlertSeverity.CRITICAL)


def test_a_node_that_is_away_speaks_for_its_collectors() -> None:
    plant = Plant()
    both = [status(f"p{n}@line2", node="line2") for n in range(3)]
    nodes = (node(), node("line2"))
    dead = [replace(each, health=status(checks=DEVICE_DEAD).health) for each in both[:1]]
    fired = plant.look(look_at(*dead, *both[1:], nodes=nodes), times=3)
    assert told(fired) == [("fired", "connection", "p0@line2")]
    gone = [replace(each, health=status(checks=BLIND).health) for each in both]
    away = plant.look(look_at(*gone, nodes=(node(), node("line2", reachable=False))), times=200)
    assert told(away) == [("fired", "node", "line2")]
    assert away[0].alert.members == ("p0@line2", "p1@line2", "p2@line2")
    back = plant.look(look_at(*both, nodes=nodes), times=20)
    assert sorted(told(back)) == [
        ("resolved", "connection", "p0@line2"), ("resolved", "node", "line2"),
    ]  # fmt: skip


def test_a_host_that_answers_nobody_is_blamed_once() -> None:
    plant = Plant()
    lost = (device(connected=False),)
    dead = status("line0", DEVICE_DEAD, devices=lost)
    others = [status(f"line{n}", DEVICE_LOST, devices=lost) for n in range(1, 4)]
    fired = plant.look(look_at(dead, *others))
    assert told(fired) == [("fired", "gateway", "10.0.0.9")]
    assert fired[0].alert.members == ("line0", "line1", "line2", "line3")
    all_dead = [status(f"line{n}", DEVICE_DEAD, devices=lost) for n in range(4)]
    assert plant.look(look_at(*all_dead), times=100) == []
    # They come back one by one; the last of them still belongs to the same fault.
    up = [status(f"line{n}", devices=(device(),)) for n in range(3)]
    assert {e.kind for e in plant.look(look_at(all_dead[3], *up), times=30)} == {"updated"}
    over = plant.look(look_at(*up, status("line3", devices=(device(),))), times=30)
    assert told(over) == [("resolved", "gateway", "10.0.0.9")]


def test_a_host_that_answers_somebody_is_not_blamed() -> None:
    plant = Plant()
    lost = (device(connected=False),)
    dead = [status(f"line{n}", DEVICE_DEAD, devices=lost) for n in range(3)]
    fired = plant.look(look_at(*dead, status("line9", devices=(device(),))))
    assert {rule for _, rule, _ in told(fired)} == {"connection"}


@pytest.mark.parametrize("excuse", ["stopped", "maintenance"])
def test_an_excused_process_has_no_alert_and_an_open_one_ends(excuse: str) -> None:
    plant = Plant()
    plant.look(look_at(status(checks=CRASHED)), times=3)
    meant = status(checks=CRASHED, desired=Desired.STOP if excuse == "stopped" else Desired.RUN)
    names = frozenset({"line1"}) if excuse == "maintenance" else frozenset()
    (over,) = plant.look(look_at(meant, maintenance=names), times=50)
    assert (over.kind, over.alert.ended) == ("resolved", excuse)
    assert ending_of(over.alert)
    assert ending_of(over.alert, "zh-CN") != ending_of(over.alert)


def test_what_cannot_be_seen_keeps_its_alert_and_gets_one_of_its_own() -> None:
    plant = Plant()
    plant.look(look_at(status(checks=DEVICE_DEAD)))
    events = plant.look(look_at(status(checks=BLIND)), times=100)
    assert told(events) == [("fired", "blind", "line1")]
    assert {a.rule for a in plant.state.open_alerts().values()} == {"blind", "connection"}


def test_a_collector_that_is_removed_takes_its_alerts_with_it() -> None:
    plant = Plant()
    plant.look(look_at(status(checks=CRASHED), status("line2")))
    (over,) = plant.look(look_at(status("line2")))
    assert over.alert.ended == "removed"


def test_a_spool_gets_worse_in_steps_and_has_slack_at_its_limit() -> None:
    plant = Plant()
    seen = {}
    for percent in (49, 51, 81, 96, 47, 44):
        spools = {"line1": Spool(queued_bytes=percent * 10**6, limit_bytes=10**8)}
        events = plant.look(look_at(status(), spools=spools), times=60)
        seen[percent] = [(e.kind.value, e.alert.severity.value) for e in events]
    assert seen == {
        49: [],
        51: [("fired", "advisory")],
        81: [("updated", "warning")],
        96: [("updated", "critical")],
        47: [("updated", "advisory")],
        44: [("resolved", "advisory")],
    }


def test_a_store_that_is_down_has_no_lag_and_the_historian_speaks_for_both() -> None:
    plant = Plant()
    ledger = StoreLedger(collector="line1", store="embedded", lag_s=1000.0)
    behind = replace(STORED, ledgers=(ledger,))
    down = replace(behind, stores=(replace(STORED.stores[0], error="disk full"),))
    assert told(plant.look(look_at(status(), storage=behind), times=100)) == [
        ("fired", "store_lag", "embedded")
    ]
    assert told(plant.look(look_at(status(), storage=down), times=100)) == [
        ("fired", "store_down", "embedded")
    ]
    silent = replace(down, age_s=60.0)
    assert told(plant.look(look_at(status(), storage=silent), times=100)) == [
        ("fired", "historian", "local")
    ]
    over = plant.look(look_at(status()), times=100)
    assert sorted(told(over)) == [
        ("resolved", "historian", "local"),
        ("resolved", "store_down", "embedded"),
        ("resolved", "store_lag", "embedded"),
    ]


OWN = {
    "disk": {"disk": Disk(free_bytes=10**8, free_percent=3.0)},
    "clock_step": {"clock_step_s": -3600.0},
    "monitor_stalled": {"own": OwnFigures(look_age_s=30.0)},
    "slow_look": {"own": OwnFigures(look_ms=5000.0)},
    "live_dropped": {"own": OwnFigures(live_dropped=3)},
    "notify_queue": {"own": OwnFigures(notify_queued=500)},
    "state_database": {"own": OwnFigures(database_error="disk I/O error")},
    "client_banned": {"own": OwnFigures(banned=("192.0.2.1", "192.0.2.2", "192.0.2.3", "::1"))},
    "audit_trail": {"own": OwnFigures(audit_findings=2)},
    "sealed_logs": {"own": OwnFigures(log_findings=2)},
    "records_missing": {"storage": replace(STORED, ledgers=(
        StoreLedger(collector="line1", store="embedded", records_missing=2),
    ))},
    "request_errors": {"request_errors": {"line1": 33.3}},
}  # fmt: skip


@pytest.mark.parametrize("rule", OWN)
def test_the_installation_itself_is_watched(rule: str) -> None:
    plant = Plant()
    fired = plant.look(look_at(status(), **OWN[rule]), times=120)
    assert [e.alert.rule for e in fired] == [rule]
    for language in ("en", "zh-CN"):
        assert "{" not in message_of(fired[0].alert, language)
        assert rule_name(rule, language)
    over = plant.look(look_at(status(), request_errors={"line1": 1.0}), times=120)
    assert [(e.kind.value, e.alert.rule) for e in over] == [("resolved", rule)]


@pytest.mark.parametrize(
    ("rule", "figure"), [("audit_trail", "audit_findings"), ("sealed_logs", "log_findings")]
)
def test_what_was_tampered_with_stays_an_alert_until_a_check_says_otherwise(
    rule: str, figure: str
) -> None:
    plant = Plant()
    plant.look(look_at(status(), own=OwnFigures(**{figure: 1})), times=3)
    unchecked = look_at(status(), own=OwnFigures(**{figure: None}))
    assert plant.look(unchecked, times=50) == []  # The control plane was started anew.
    over = plant.look(look_at(status()), times=50)
    assert told(over) == [("resolved", rule, "local")]


def test_errors_in_the_log_are_judged_by_their_number() -> None:
    plant = Plant()
    kind = HealthCheckType.LOG_ERRORS
    many = {kind: (HealthStatus.WARNING, "log.errors", {"count": 9})}
    assert told(plant.look(look_at(status(checks=many)), times=100)) == [
        ("fired", "log_errors", "line1")
    ]


def test_what_recovery_leaves_to_people_is_told_unless_another_alert_tells_of_it() -> None:
    plant = Plant()
    causes = {"line1": ("points are bad", "点位异常")}
    dead = status(checks=DEVICE_DEAD)
    assert told(plant.look(look_at(dead, given_up=causes), times=60)) == [
        ("fired", "connection", "line1")
    ]
    plant.look(look_at(status()), times=10)
    (fired,) = plant.look(look_at(status(), given_up=causes), times=60)
    assert fired.alert.rule == "recovery"
    assert "points are bad" in message_of(fired.alert)
    assert "点位异常" in message_of(fired.alert, "zh-CN")
    assert told(plant.look(look_at(status()), times=10)) == [("resolved", "recovery", "line1")]


def test_a_restart_by_recovery_is_one_alert_that_says_why() -> None:
    plant = Plant()
    causes = {"line1": ("it leaks", "内存泄漏")}
    events = plant.look(look_at(status(), recovered=causes, commanded=frozenset({"line1"})))
    # Between its stop and its start there is no process, which is no fault of its own.
    events += plant.look(look_at(status(checks=CRASHED), commanded=frozenset({"line1"})), times=9)
    events += plant.look(look_at(status(uptime_s=3.0)), times=9)
    assert told(events) == [("fired", "process_state", "line1")]
    assert "it leaks" in message_of(events[0].alert)
    assert "内存泄漏" in message_of(plant.state.open_alerts().popitem()[1], "zh-CN")
    over = plant.look(look_at(status(uptime_s=601.0)), times=9)
    assert told(over) == [("resolved", "process_state", "line1")]


def test_a_restart_by_recovery_for_what_is_told_already_is_no_second_alert() -> None:
    plant = Plant()
    assert told(plant.look(look_at(status(checks=NO_DATA)), times=20)) == [
        ("fired", "data_flow", "line1")
    ]
    causes = {"line1": ("stands still", "停滞")}
    events = plant.look(look_at(status(checks=NO_DATA), recovered=causes))
    events += plant.look(look_at(status(uptime_s=2.0)), times=9)
    assert told(events) == [("resolved", "data_flow", "line1")]


def test_a_persons_restart_is_no_fault() -> None:
    plant = Plant()
    under_way = {"commanded": frozenset({"line1"})}
    events = plant.look(look_at(status(checks=CRASHED), **under_way), times=9)
    assert events + plant.look(look_at(status(uptime_s=1.0)), times=9) == []


def test_a_file_that_is_refused_while_its_collector_runs_is_told() -> None:
    plant = Plant()
    problem = ConfigProblem(file="line1.toml", key="name", code="missing")
    refused = {"refused_files": {"line1": problem}}
    assert plant.look(look_at(status(), **refused), times=5) == []
    events = plant.look(look_at(status(), **refused), times=9)
    assert told(events) == [("fired", "configuration", "line1")]
    assert "line1.toml" in message_of(events[0].alert)
    over = plant.look(look_at(status()), times=9)
    assert told(over) == [("resolved", "configuration", "line1")]


def test_a_refused_file_of_a_dead_process_is_told_once() -> None:
    plant = Plant()
    problem = ConfigProblem(file="line1.toml", key="name", code="missing")
    refused = {"refused_files": {"line1": problem}}
    events = plant.look(look_at(status(checks=CRASHED), **refused), times=20)
    events += plant.look(look_at(status(uptime_s=3.0), **refused), times=20)
    assert told([e for e in events if e.kind == "fired"]) == [("fired", "process_state", "line1")]


def test_values_that_stand_still_are_an_alert_of_their_own() -> None:
    plant = Plant()
    figures = {"device": "press1", "points": 3}
    frozen = {HealthCheckType.DATA_FLOW: (HealthStatus.WARNING, "data.frozen", figures)}
    events = plant.look(look_at(status(checks=frozen)), times=20)
    assert told(events) == [("fired", "frozen_values", "line1")]
    # A lost connection says nothing of the values.
    assert plant.look(look_at(status(checks=DEVICE_LOST)), times=20) == []
    over = plant.look(look_at(status()), times=20)
    assert told(over) == [("resolved", "frozen_values", "line1")]


def test_a_full_disk_is_one_alert_for_all_that_cannot_be_written() -> None:
    plant = Plant()
    silent = {
        HealthCheckType.PROCESS_ALIVE: (HealthStatus.UNKNOWN, "process.disk_full", {}),
    }
    events = plant.look(
        look_at(
            status(checks=silent),
            disk=Disk(free_bytes=0, free_percent=0.0),
            storage=replace(STORED, age_s=90.0),
            own=OwnFigures(database_error="disk is full"),
        ),
        times=300,
    )
    assert told(events) == [("fired", "disk", "local")]


def test_advice_of_the_check_comes_with_the_alert() -> None:
    plant = Plant()
    health = status(checks=CRASHED).health
    checks = tuple(
        replace(c, recommendations=("read_log",)) if c.check_type == "process_alive" else c
        for c in health.checks
    )
    seen = replace(status(), health=replace(health, checks=checks))
    (fired,) = plant.look(look_at(seen))
    assert len(advice_for(fired.alert)) == 1
    assert advice_for(fired.alert, "zh-CN") != advice_for(fired.alert)


def test_before_anything_was_stored_the_historian_is_given_time() -> None:
    plant = Plant()
    assert plant.look(facts(status()), times=29) == []
    assert told(plant.look(facts(status()), times=5)) == [("fired", "historian", "local")]
    assert Plant().look(facts(), times=100) == []


def test_nothing_is_said_of_a_rule_that_is_switched_off() -> None:
    plant = Plant()
    plant.look(look_at(status(checks=CRASHED)))
    rules = dict(plant.limits.rules)
    rules["process_state"] = replace(rules["process_state"], enabled=False)
    plant.limits = AlertLimits(rules=rules)
    (over,) = plant.look(look_at(status(checks=CRASHED)))
    assert over.alert.ended == "disabled"
