"""A small plant that the recovery policy looks after, and what must hold whatever happens there."""

import importlib.util
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import control_plane.recovery.policy
from control_plane.domain.recovery import (
    Decision,
    RecoveryAction,
    RecoveryConfig,
    Situation,
)

SOURCES = Path(control_plane.recovery.policy.__file__).parent
NAMES = ("a", "b", "c", "d", "e")
MAX_RESTARTS = 3
ACTION_S = 8.0
"""Longer than the shortest pause between two restarts."""
CONFIG = RecoveryConfig(settle_s=2.0, half_open_after_s=700.0, stable_after_s=120.0)

# What a trouble looks like to the policy.
TROUBLES: Mapping[str, dict[str, object]] = {
    "none": {},
    "crashed": {"process_code": "process.exited", "process_bad": True},
    "gave_up": {"process_code": "process.fatal", "process_bad": True},
    "frozen": {"process_code": "process.heartbeat_stale", "process_bad": True},
    "backoff": {"process_code": "process.backoff", "process_bad": True},
    "quarantined": {"process_code": "process.quarantined", "process_bad": True},
    "bad_config": {"process_code": "process.bad_config", "process_bad": True},
    "device": {"connection_code": "connection.silent", "connection_bad": True},
    "stale": {"data_code": "data.stale", "data_bad": True},
    "leak": {"resource_code": "resources.memory", "memory_ratio": 1.2},
    "busy": {"resource_code": "resources.cpu", "cpu_ratio": 1.1},
}
NEEDS_RESTART = {"crashed", "gave_up", "frozen", "leak", "stale", "bad_config"}
"""A restart may be right for these; for all others it is wrong."""


def load_engine(changes: Mapping[str, tuple[str, str]] = {}) -> ModuleType:
    """Return the policy, with text replaced in its modules: ``{module: (old, new)}``."""
    package = f"recovery_mutant_{abs(hash(tuple(sorted(changes.items()))))}"
    holder = ModuleType(package)
    holder.__path__ = []  # type: ignore[attr-defined]
    sys.modules[package] = holder
    for name in ("memory", "rules", "policy"):
        source = (SOURCES / f"{name}.py").read_text(encoding="utf-8")
        if name in changes:
            old, new = changes[name]
            assert source.count(old) >= 1, f"{name} does not hold {old!r} any more"
            source = source.replace(old, new)
        source = source.replace("control_plane.recovery.", f"{package}.")
        spec = importlib.util.spec_from_loader(f"{package}.{name}", loader=None)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return sys.modules[f"{package}.policy"]


@dataclass
class Machine:
    """One collector as it really is."""

    trouble: str = "none"
    wanted: bool = True
    in_maintenance: bool = False
    gateway: str = ""
    incurable: bool = False
    restarts: list[float] = field(default_factory=list)
    opened_at: float | None = None
    """When the policy gave up restarting it."""


class Plant(RuleBasedStateMachine):
    """Things go wrong at random; after each step the policy looks, and every action is judged."""

    engine = control_plane.recovery.policy
    memory_type = control_plane.recovery.policy.Memory

    @initialize(dry_run=st.sampled_from([False, False, False, True]))
    def build(self, dry_run: bool) -> None:
        self.config = replace(CONFIG, dry_run=dry_run)
        self.now = 1000.0
        self.reachable = True
        self.machines = {name: Machine() for name in NAMES}
        self.memories: dict[str, object] = {}
        self.alerts: dict[tuple[str, str, float], int] = defaultdict(int)
        self.in_flight: dict[str, float] = {}
        """When the action under way for a collector ends."""

    @rule(name=st.sampled_from(NAMES), trouble=st.sampled_from(sorted(TROUBLES)))
    def go_wrong(self, name: str, trouble: str) -> None:
        self.machines[name].trouble = trouble

    @rule(name=st.sampled_from(NAMES))
    def become_incurable(self, name: str) -> None:
        """Whatever is done, it crashes again."""
        self.machines[name].incurable = True
        self.machines[name].trouble = "crashed"

    @rule(trouble=st.sampled_from(["crashed", "device"]))
    def all_go_wrong(self, trouble: str) -> None:
        for machine in self.machines.values():
            machine.trouble, machine.gateway = trouble, "10.0.0.1"

    @rule(name=st.sampled_from(NAMES), wanted=st.booleans())
    def be_wanted(self, name: str, wanted: bool) -> None:
        self.machines[name].wanted = wanted
        if not wanted:
            self.machines[name].restarts.clear()
            self.machines[name].opened_at = None

    @rule(name=st.sampled_from(NAMES), on=st.booleans())
    def maintain(self, name: str, on: bool) -> None:
        self.machines[name].in_maintenance = on

    @rule(reachable=st.booleans())
    def lose_or_find_the_node(self, reachable: bool) -> None:
        self.reachable = reachable

    @rule()
    def restart_the_control_plane(self) -> None:
        for name, memory in self.memories.items():
            kept = json.loads(json.dumps(memory.dump()))
            self.memories[name] = type(memory).load(kept)

    @rule(
        seconds=st.sampled_from([0.5, 1.0, 3.0, 6.0, 12.0, 30.0, 130.0, 800.0]),
        looks=st.integers(1, 6),
    )
    def pass_time(self, seconds: float, looks: int) -> None:
        for _ in range(looks):
            self.now += seconds / looks
            self.look()

    @rule(looks=st.integers(1, 40))
    def look_often(self, looks: int) -> None:
        for _ in range(looks):
            self.now += 1.0
            self.look()

    @rule()
    def look_twice(self) -> None:
        """The same observation again changes nothing."""
        self.look()
        again = self._decide()
        assert not any(d.action.touches for d, _ in again), "a duplicate observation was acted on"

    def look(self) -> None:
        self._end_actions()
        for decision, memory in self._decide():
            self._judge(decision, memory)
            self.memories[decision.process] = memory
            if memory.circuit == "closed":  # type: ignore[attr-defined]
                self.machines[decision.process].opened_at = None
            self._carry_out(decision)

    def _decide(self) -> list[tuple[Decision, object]]:
        return self.engine.decide_all(
            [self._situation(name) for name in NAMES], self.memories, self.config, self.now
        )

    def _situation(self, name: str) -> Situation:
        machine = self.machines[name]
        return Situation(
            process=name,
            node="local",
            reachable=self.reachable,
            wanted=machine.wanted,
            in_maintenance=machine.in_maintenance,
            gateway=machine.gateway if machine.trouble == "device" else "",
            revision="r1",
            **TROUBLES[machine.trouble],  # type: ignore[arg-type]
        )

    def _judge(self, decision: Decision, memory: object) -> None:
        machine, action = self.machines[decision.process], decision.action
        if action.touches:
            assert self.reachable, "acted on a node that does not answer"
            assert machine.wanted, "acted on what an operator stopped"
            assert not machine.in_maintenance, "acted in maintenance"
            assert not self.config.dry_run, "acted in a dry run"
            assert decision.process not in self.in_flight, "acted while an action was under way"
        if action is RecoveryAction.RESTART_PROCESS:
            self._judge_restart(decision, machine)
        if action is RecoveryAction.ALERT_OPERATOR:
            assert not machine.in_maintenance
            key = (decision.process, memory.episode, memory.episode_since)  # type: ignore[attr-defined]
            self.alerts[key] += 1
            assert self.alerts[key] == 1, "told a person twice"
            if machine.trouble in NEEDS_RESTART - {"bad_config", "stale"}:
                machine.opened_at = self.now

    def _judge_restart(self, decision: Decision, machine: Machine) -> None:
        assert machine.trouble in NEEDS_RESTART, f"restarted for {machine.trouble}"
        lately = [at for at in machine.restarts if at > self.now - self.config.window_s]
        assert len(lately) < MAX_RESTARTS, "too many restarts in the window"
        if lately:
            pause_s = min(
                self.config.backoff_max_s, self.config.backoff_base_s * 2 ** (len(lately) - 1)
            )
            assert self.now - lately[-1] >= pause_s, "restarted before the pause was over"
        everywhere = [at for m in self.machines.values() for at in m.restarts if at > self.now - 60]
        stopped_lately = any(not m.wanted for m in self.machines.values())
        budget = self.config.fleet_restarts_per_minute
        assert stopped_lately or len(everywhere) < budget, "the installation restarts too much"
        if machine.opened_at is not None:
            pause_s = self.now - machine.opened_at
            assert pause_s >= self.config.half_open_after_s, "an open circuit was ignored"

    def _carry_out(self, decision: Decision) -> None:
        if decision.action.touches:
            self.in_flight[decision.process] = self.now + ACTION_S
        if decision.action is RecoveryAction.RESTART_PROCESS:
            self.machines[decision.process].restarts.append(self.now)
            self.machines[decision.process].opened_at = None

    def _end_actions(self) -> None:
        for name, ends_at in list(self.in_flight.items()):
            if self.now < ends_at:
                continue
            del self.in_flight[name]
            ended = replace(self.memories[name], in_flight="")  # type: ignore[type-var]
            self.memories[name] = ended
            machine = self.machines[name]
            if not machine.incurable and machine.restarts[-1:] == [ends_at - ACTION_S]:
                machine.trouble = "none"

    @invariant()
    def one_action_at_a_time(self) -> None:
        for name, memory in getattr(self, "memories", {}).items():
            assert bool(memory.in_flight) == (name in self.in_flight)  # type: ignore[attr-defined]
