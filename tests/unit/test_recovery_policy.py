"""The recovery policy: single rules, what must always hold, and proof that the tests bite."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from recovery_model import CONFIG, Plant, load_engine

from control_plane.domain.recovery import (
    Circuit,
    Decision,
    Guard,
    RecoveryAction,
    RecoveryConfig,
    Situation,
)
from control_plane.recovery.memory import Memory
from control_plane.recovery.policy import decide_all

CRASHED = {"process_code": "process.exited", "process_bad": True}
SILENT = {"connection_code": "connection.silent", "connection_bad": True}


def situation(name: str = "press", **facts: object) -> Situation:
    usual = {"process": name, "node": "local", "reachable": True, "wanted": True}
    return Situation(**(usual | facts))  # type: ignore[arg-type]


class Collector:
    """One collector over time; an action ends before the next look."""

    def __init__(self, config: RecoveryConfig = RecoveryConfig()) -> None:  # noqa: B008 - frozen
        self.config = config
        self.now = 10_000.0
        self.memory = Memory()

    def look(self, after_s: float = 0.0, **facts: object) -> Decision:
        self.now += after_s
        memories = {"press": replace(self.memory, in_flight="")}
        ((decision, memory),) = decide_all([situation(**facts)], memories, self.config, self.now)
        self.memory = memory
        return decision


def test_three_restarts_with_growing_pauses_then_one_alert_then_silence() -> None:
    collector, seen = Collector(), []
    for _ in range(400):
        decision = collector.look(1, **CRASHED)
        if decision.action is not RecoveryAction.NO_ACTION:
            seen.append((decision.action, collector.now))
    restart, alert = RecoveryAction.RESTART_PROCESS, RecoveryAction.ALERT_OPERATOR
    assert [action for action, _ in seen] == [restart, restart, restart, alert]
    assert collector.look(1, **CRASHED).guard is Guard.CIRCUIT_OPEN


def test_an_open_circuit_tries_once_and_then_waits_twice_as_long() -> None:
    collector = Collector()
    for _ in range(400):
        collector.look(1, **CRASHED)
    opened_at = collector.memory.circuit_until - 1800
    restart = RecoveryAction.RESTART_PROCESS
    looks = ((collector.look(1, **CRASHED), collector.now) for _ in range(2 * 3600))
    tries = [now - opened_at for decision, now in looks if decision.action is restart]
    assert len(tries) == 2
    assert tries[0] == pytest.approx(1800, abs=2)
    assert tries[1] - tries[0] == pytest.approx(3600, abs=30)


def test_ten_quiet_minutes_close_the_circuit() -> None:
    collector = Collector()
    for _ in range(400):
        collector.look(1, **CRASHED)
    collector.look(1800, **CRASHED)
    assert collector.memory.circuit is Circuit.HALF_OPEN
    collector.look(30)
    collector.look(600)
    assert (collector.memory.circuit, collector.memory.opened) == (Circuit.CLOSED, 0)


def test_a_dead_device_is_only_connected_anew_ever_more_rarely() -> None:
    collector, resets = Collector(), []
    for _ in range(1200):
        decision = collector.look(1, gateway="10.0.0.7", **SILENT)
        assert decision.wanted is RecoveryAction.RESET_CONNECTION
        if decision.action is RecoveryAction.RESET_CONNECTION:
            resets.append(collector.now)
    gaps = [round(b - a) for a, b in pairwise(resets)]
    assert gaps == [5, 10, 20, 40, 80, 160, 300, 300][: len(gaps)]
    assert len(gaps) >= 7


def test_stale_data_is_reset_twice_restarted_once_and_then_a_persons_matter() -> None:
    collector, seen = Collector(), []
    for _ in range(300):
        decision = collector.look(1, data_code="data.stale", data_bad=True)
        if decision.action is not RecoveryAction.NO_ACTION:
            seen.append(decision.action.value)
    assert seen == ["reset_connection", "reset_connection", "restart_process", "alert_operator"]


def test_a_broken_file_is_told_once_and_its_change_is_a_new_chance() -> None:
    collector = Collector()
    broken = {"process_code": "process.bad_config", "process_bad": True}
    assert collector.look(1, revision="r1", **broken).action is RecoveryAction.ALERT_OPERATOR
    assert collector.look(60, revision="r1", **broken).guard is Guard.ALERTED
    mended = collector.look(60, revision="r2", process_code="process.exited", process_bad=True)
    assert (mended.rule, mended.action) == ("config_mended", RecoveryAction.RESTART_PROCESS)


def test_a_quarantined_collector_waits_for_a_person() -> None:
    collector = Collector()
    facts = {"process_code": "process.quarantined", "process_bad": True}
    assert collector.look(1, **facts).action is RecoveryAction.ALERT_OPERATOR
    for _ in range(100):
        assert collector.look(100, **facts).action is RecoveryAction.NO_ACTION


def test_a_collector_that_cannot_keep_pace_reads_less_often_and_gets_it_back() -> None:
    collector, factors = Collector(), []
    for _ in range(400):
        collector.look(1, overrun=0.5)
        factors.append(collector.memory.factor)
    assert max(factors) == 8
    for _ in range(4000):
        collector.look(1)
    assert collector.memory.factor == 1


def test_many_that_fail_at_once_have_a_cause_that_restarts_do_not_mend() -> None:
    names = [f"c{i}" for i in range(10)]
    failing = [situation(name, **(CRASHED if i < 4 else {})) for i, name in enumerate(names)]
    decisions = [d for d, _ in decide_all(failing, {}, RecoveryConfig(), 1000.0)]
    assert [d.guard for d in decisions[:4]] == [Guard.COMMON_CAUSE] * 4
    assert {d.rule for d in decisions[4:]} == {"fine"}


def test_one_gateway_for_many_silent_devices_is_not_hammered() -> None:
    silent = [situation(f"c{i}", gateway="10.0.0.1", **SILENT) for i in range(3)]
    assert {d.guard for d, _ in decide_all(silent, {}, RecoveryConfig(), 1.0)} == {
        Guard.COMMON_CAUSE
    }


@pytest.mark.parametrize(
    ("facts", "guard"),
    [
        ({"reachable": False}, Guard.UNREACHABLE),
        ({"wanted": False}, Guard.STOPPED),
        ({"in_maintenance": True}, Guard.MAINTENANCE),
    ],
)
def test_guards_say_why_nothing_happens(facts: dict[str, object], guard: Guard) -> None:
    decision = Collector().look(1, **{**CRASHED, **facts})
    assert (decision.action, decision.guard) == (RecoveryAction.NO_ACTION, guard)


def test_a_dry_run_says_what_it_would_do() -> None:
    decision = Collector(RecoveryConfig(dry_run=True)).look(1, **CRASHED)
    assert (decision.wanted, decision.guard) == (RecoveryAction.RESTART_PROCESS, Guard.DRY_RUN)


def test_while_supervisord_tries_by_itself_nothing_is_done() -> None:
    decision = Collector().look(1, process_code="process.backoff", process_bad=True)
    assert (decision.rule, decision.action) == ("fine", RecoveryAction.NO_ACTION)


def test_a_reboot_moves_every_time_but_no_decision() -> None:
    collector = Collector()
    for _ in range(30):
        collector.look(1, **CRASHED)
    moved = collector.memory.moved(-9000.0)
    here = decide_all([situation(**CRASHED)], {"press": collector.memory}, CONFIG, collector.now)
    there = decide_all([situation(**CRASHED)], {"press": moved}, CONFIG, collector.now - 9000)
    assert here[0][0] == there[0][0]


QUICK = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_the_invariants_hold() -> None:
    run_state_machine_as_test(Plant, settings=settings(QUICK, max_examples=150))


MUTANTS = {
    "no window": ("policy", ">= seen.max_restart_attempts", ">= 10**9"),
    "no pause": ("policy", "config.backoff_base_s * 2.0 ** max", "0.0 * 2.0 ** max"),
    "ignores the operator's stop": (
        "policy",
        "if not seen.wanted:",
        "if False:",
    ),
    "ignores maintenance": ("policy", "if seen.in_maintenance:", "if False:"),
    "ignores the dry run": ("policy", "Guard.DRY_RUN if config.dry_run else None", "None"),
    "alerts at every look": ("policy", "Guard.ALERTED if memory.told else None", "None"),
    "forgets restarts with the control plane": (
        "memory",
        'values["restarts"] = tuple(values.get("restarts", ()))',
        'values["restarts"] = ()',
    ),
    "acts twice on one observation": (
        "policy",
        "if now < memory.acted_at + pause_s(memory, wanted, config):",
        "if False:",
    ),
    "ignores an action under way": (
        "policy",
        "    if memory.in_flight:\n        return Guard.IN_FLIGHT\n    if now <",
        "    if now <",
    ),
    "acts when blind": ("policy", "if not seen.reachable:", "if False:"),
    "restarts for a dead device": (
        "rules",
        'DEVICE = _rule("device", _E.CONNECTION_ERROR, _A.RESET_CONNECTION)',
        'DEVICE = _rule("device", _E.CONNECTION_ERROR, _A.RESTART_PROCESS)',
    ),
    "ignores an open circuit": (
        "policy",
        "if memory.circuit is Circuit.OPEN:\n        return",
        "if False:\n        return",
    ),
    "has no budget": ("policy", ">= config.fleet_restarts_per_minute", ">= 10**9"),
    "tries an open circuit at once": ("policy", "circuit_until=now + pause_s", "circuit_until=now"),
    "restarts while supervisord is at it": (
        "rules",
        '_DOWN = ("process.exited", "process.not_running")',
        '_DOWN = ("process.exited", "process.not_running", "process.backoff")',
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_every_planted_mistake_is_caught(name: str) -> None:
    module, old, new = MUTANTS[name]
    engine = load_engine({module: (old, new)})
    mutant = type("Mutant", (Plant,), {"engine": engine})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(mutant, settings=QUICK)
