"""What recovery remembers across its own restarts, on each engine of the state database."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from alert_samples import status

from control_plane.clock import Clock
from control_plane.domain.health import HealthCheckConfig, HealthCheckType, HealthStatus
from control_plane.domain.process import Desired
from control_plane.domain.recovery import Decision, Guard, RecoveryAction, RecoveryConfig
from control_plane.errors import StorageError
from control_plane.recovery.service import (
    ActionResult,
    RecoveryHands,
    RecoveryService,
    RecoveryStores,
)
from control_plane.storage.database import StateDatabase
from control_plane.storage.recovery import MaintenanceWindows, RecoveryDecisions, RecoveryMemories

FROZEN = {HealthCheckType.PROCESS_ALIVE: (HealthStatus.CRITICAL, "process.frozen", {"pid": 1})}


class HandClock(Clock):
    def __init__(self) -> None:
        self.mono = 5000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 8, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.mono


class Limits:
    recovery = RecoveryConfig()

    def of(self, process: str) -> HealthCheckConfig:
        del process
        return HealthCheckConfig()


class Life:
    """One control plane after the other over the same database."""

    def __init__(self, database: StateDatabase) -> None:
        self.stores = RecoveryStores(
            decisions=RecoveryDecisions(database),
            memories=RecoveryMemories(database),
            maintenance=MaintenanceWindows(database),
        )
        self.clock = HandClock()
        self.done: list[Decision] = []
        self.begin()

    def begin(self) -> None:
        def do(decision: Decision, factor: float) -> ActionResult:
            del factor
            self.done.append(decision)
            return ActionResult(outcome="done", detail="")

        hands = RecoveryHands(do=do, under_way=set, is_disk_low=lambda: False)
        self.service = RecoveryService(self.stores, Limits(), hands, self.clock)

    def end(self) -> None:
        self.service.stop()
        self.service._pool.shutdown()  # The database is closed after this.

    def look(self, after_s: float, desired: Desired = Desired.RUN) -> Decision:
        self.clock.mono += after_s
        self.service.consider([status("press", FROZEN, desired=desired)])
        return self.service.latest()["press"]

    def settle(self, count: int) -> None:
        """Wait until so many actions have ended, and let the service hear of it."""
        deadline = time.monotonic() + 10
        while [r.outcome for r in self.stores.decisions.newest("press", 99)].count("done") < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        while not self.service._ended:
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.fixture
def life(database: StateDatabase) -> Callable[[], Life]:
    return lambda: Life(database)


def test_restarts_are_remembered_by_the_next_control_plane(life: Callable[[], Life]) -> None:
    plant = life()
    for number in (1, 2, 3):
        assert plant.look(60).action is RecoveryAction.RESTART_PROCESS
        plant.settle(number)
        plant.end()
        plant.begin()
    assert plant.look(60).action is RecoveryAction.ALERT_OPERATOR
    plant.end()
    plant.begin()
    assert plant.look(60).guard is Guard.CIRCUIT_OPEN
    assert len(plant.done) == 3
    plant.end()


def test_an_operators_stop_clears_the_sheet_for_good(life: Callable[[], Life]) -> None:
    plant = life()
    for number in (1, 2, 3):
        plant.look(60)
        plant.settle(number)
    plant.look(60)
    assert plant.look(1).guard is Guard.CIRCUIT_OPEN
    plant.end()
    plant.begin()  # Knows of the open circuit only from the database.
    assert plant.look(1, Desired.STOP).guard is Guard.STOPPED
    plant.end()
    plant.begin()
    assert plant.look(1).action is RecoveryAction.RESTART_PROCESS
    plant.end()


def test_after_a_reboot_it_is_as_if_no_time_had_passed(
    life: Callable[[], Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = life()
    plant.look(60)
    plant.settle(1)
    plant.look(1)
    plant.end()
    monkeypatch.setattr("control_plane.recovery.service._boot_id", lambda: "another boot")
    plant.clock.mono = 10.0
    plant.begin()
    assert plant.look(1).guard is Guard.COOLDOWN
    assert plant.look(60).action is RecoveryAction.RESTART_PROCESS
    plant.end()


def test_what_could_not_be_written_down_is_not_done_and_comes_again(
    life: Callable[[], Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = life()

    def fail(*_: object) -> int:
        raise StorageError(reason="away")

    with monkeypatch.context() as patch:
        patch.setattr(plant.stores.decisions, "add", fail)
        plant.clock.mono += 60
        plant.service.consider([status("press", FROZEN)])
        assert plant.service.latest() == {}
    assert plant.look(1).action is RecoveryAction.RESTART_PROCESS
    plant.settle(1)
    assert len(plant.done) == 1
    plant.end()


def test_what_could_not_be_remembered_is_not_under_way_for_ever(
    life: Callable[[], Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = life()

    def fail(*_: object) -> None:
        raise StorageError(reason="database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(plant.stores.memories, "save", fail)
        plant.look(60)
    assert plant.done == []
    assert plant.look(1).action is RecoveryAction.RESTART_PROCESS
    plant.settle(1)
    assert len(plant.done) == 1
    plant.end()
