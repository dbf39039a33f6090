"""Makes faults, several at once, and writes down what came of each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from fault_list import Fault
from fault_plant import FaultPlant, Told
from installation import wait_for

_LOOK_S = 0.1
_ASK_S = 0.7
_OVER_S = 60.0
"""A test that waits for longer than this for the end of an alert waits in vain."""
_SLACK_S = 25.0
"""Past the published time the run goes on, so that the table shows by how much it was late."""


@dataclass
class Outcome:
    """What came of one fault.

    Attributes:
        notices: All that people were told about its subject.
        strangers: What they were told meanwhile about anything that had no fault.
        actions: What recovery did to the collector, each with its outcome.
        detected_s: From the fault until people were told.
        resolved_s: From the mending, or from the fault where nobody mends, until the end was told.
        renewed: Collectors that are another process afterwards, of all in the plant.
    """

    fault: Fault
    notices: list[Told] = field(default_factory=list)
    strangers: list[Told] = field(default_factory=list)
    actions: list[tuple[str, str]] = field(default_factory=list)
    detected_s: float | None = None
    resolved_s: float | None = None
    renewed: frozenset[str] = frozenset()

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Rule and kind of each notice, severities that rise left out."""
        return [(told.rule, told.kind) for told in self.notices if told.kind != "updated"]

    @property
    def words(self) -> str:
        return next((str(told.alert["message"]) for told in self.notices), "")


@dataclass
class _Running:
    fault: Fault
    outcome: Outcome
    about: str
    decided_before: int
    began_mono: float = 0.0
    mended_mono: float | None = None
    over: bool = False


class Run:
    """One wave: faults that happen at the same time, each to another collector."""

    def __init__(self, plant: FaultPlant, faults: Sequence[Fault]) -> None:
        self._plant = plant
        self._told_before = len(plant.told())
        decided = max((d["id"] for d in plant.decisions()), default=0)
        self._running = [_Running(f, Outcome(f), f.about(plant), decided) for f in faults]
        self._asked_mono = 0.0

    def run(self, names: Sequence[str]) -> dict[str, Outcome]:
        """Make, await, mend and await; return what came of each fault, by its name.

        ``names`` are the collectors of the plant, which all have to be well at the end.
        """
        before = {name: self._plant.pid(name) for name in names}
        for each in self._running:
            each.began_mono = time.monotonic()
            each.fault.inject(self._plant)
        longest_s = max(f.fault.within_s for f in self._running) + _SLACK_S + _OVER_S
        deadline_mono = time.monotonic() + longest_s
        while not all(each.over for each in self._running) and time.monotonic() < deadline_mono:
            self._look()
            time.sleep(_LOOK_S)
        for each in self._running:
            if each.fault.mend is not None and each.mended_mono is None:
                each.fault.mend(self._plant)
        self._plant.calm_down(names)
        self._take_stock()
        renewed = frozenset(name for name in names if self._plant.pid(name) != before[name])
        for each in self._running:
            each.outcome.renewed = renewed
        return {each.fault.name: each.outcome for each in self._running}

    def _look(self) -> None:
        told = self._plant.told()[self._told_before :]
        self._note_actions()
        for each in self._running:
            own = [t for t in told if t.subject == each.about and t.rule == each.fault.rule]
            fired = next((t for t in own if t.kind == "fired"), None)
            if fired is None:
                continue
            each.outcome.detected_s = round(fired.at_mono - each.began_mono, 1)
            if each.fault.mend is not None and each.mended_mono is None:
                if not self._has_acted(each):
                    continue
                each.mended_mono = time.monotonic()
                each.fault.mend(self._plant)
            over = next((t for t in own if t.kind == "resolved"), None)
            if over is not None:
                since = each.began_mono if each.mended_mono is None else each.mended_mono
                each.outcome.resolved_s = round(over.at_mono - since, 1)
                each.over = True

    def _has_acted(self, each: _Running) -> bool:
        """The first action shows that recovery has understood; what mends comes after that."""
        if not each.fault.actions:
            return True
        return each.fault.actions[0] in [action for action, _ in each.outcome.actions]

    def _note_actions(self) -> None:
        if time.monotonic() - self._asked_mono < _ASK_S:
            return
        self._asked_mono = time.monotonic()
        decisions = self._plant.decisions()
        for each in self._running:
            each.outcome.actions = [
                (d["action"], d["outcome"])
                for d in decisions
                if d["process"] == each.fault.name
                and d["id"] > each.decided_before
                and d["action"] != "no_action"
            ]

    def _take_stock(self) -> None:
        self._asked_mono = 0.0
        wait_for(self._nothing_planned, "every action has ended", 20)
        subjects = {each.about for each in self._running}
        told = self._plant.told()[self._told_before :]
        for each in self._running:
            each.outcome.notices = [t for t in told if t.subject == each.about]
            each.outcome.strangers = [t for t in told if t.subject not in subjects]

    def _nothing_planned(self) -> bool:
        self._asked_mono = 0.0
        self._note_actions()
        outcomes = [o for each in self._running for _, o in each.outcome.actions]
        return not {"planned", "sent"} & set(outcomes)
