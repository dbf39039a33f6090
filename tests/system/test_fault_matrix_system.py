"""Every fault on the real system: seen in time, the right action or none, one alert and one end.

``make fault-matrix`` writes what came of them into docs/fault-matrix.md.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from engines import find_engine
from fault_gear import SmallDisk
from fault_list import COLLECTORS, DISK_FULL, FAULTS, STORE, WAVES, Fault
from fault_plant import fault_plant
from fault_run import Outcome, Run
from fault_table import TABLE, rows_of, table_of

pytestmark = [
    pytest.mark.supervisord,
    pytest.mark.timeout(420),
    pytest.mark.skipif(shutil.which("cc") is None, reason="the clock shim needs a C compiler"),
]


def _possible(faults: Sequence[Fault]) -> list[Fault]:
    has_store = find_engine("victoria-metrics") is not None
    return [fault for fault in faults if fault.subject != STORE or has_store]


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Outcome]]:
    """Run the whole matrix once; every test looks at one fault of it."""
    outcomes: dict[str, Outcome] = {}
    with fault_plant(COLLECTORS, clock=True, store=True, far=True) as plant:
        plant.calm_down(COLLECTORS)
        for wave in WAVES:
            outcomes |= Run(plant, _possible(wave)).run(COLLECTORS)
    if SmallDisk.is_possible():
        with fault_plant(["spare"], disk=True) as plant:
            plant.calm_down(["spare"])
            outcomes |= Run(plant, DISK_FULL).run(["spare"])
    yield outcomes
    if path := os.environ.get("DAQ_FAULT_MATRIX"):
        Path(path).write_text(table_of(list(outcomes.values())), encoding="utf-8")


@pytest.fixture
def outcome_of(found: dict[str, Outcome]) -> Callable[[Fault], Outcome]:
    def outcome_of(fault: Fault) -> Outcome:
        if fault.name not in found:
            pytest.skip("cannot be made here: it needs root, or VictoriaMetrics")
        return found[fault.name]

    return outcome_of


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_one_alert_and_one_end(
    fault: Fault, outcome_of: Callable[[Fault], Outcome]
) -> None:
    outcome = outcome_of(fault)
    assert outcome.kinds == [(fault.rule, "fired"), (fault.rule, "resolved")], outcome.words
    assert [(t.subject, t.rule, t.kind) for t in outcome.strangers] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_told_within_the_published_time(
    fault: Fault, outcome_of: Callable[[Fault], Outcome]
) -> None:
    outcome = outcome_of(fault)
    assert outcome.detected_s is not None
    assert outcome.detected_s <= fault.within_s


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_recovery_does_what_the_fault_asks_for_and_no_more(
    fault: Fault, outcome_of: Callable[[Fault], Outcome]
) -> None:
    outcome = outcome_of(fault)
    done = [action for action, _ in outcome.actions]
    assert set(fault.actions) <= set(done) <= {*fault.actions, *fault.may}
    assert done.count("restart_process") <= 1
    assert {result for _, result in outcome.actions} <= {"done"}


@pytest.mark.parametrize("wave", [*WAVES, DISK_FULL], ids=lambda wave: wave[0].name)
def test_only_who_needs_it_becomes_another_process(
    wave: tuple[Fault, ...], outcome_of: Callable[[Fault], Outcome]
) -> None:
    """A dead device restarts nobody, and neither do the faults of others."""
    renewed = {fault.name for fault in wave if fault.restarts}
    assert outcome_of(wave[0]).renewed == renewed


def test_the_table_in_the_documentation_has_these_faults_and_no_others() -> None:
    assert rows_of(TABLE.read_text(encoding="utf-8")) == [fault.what for fault in FAULTS]
