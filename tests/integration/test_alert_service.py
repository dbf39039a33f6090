"""Alerts across restarts, reboots and a database that is away; one look after the other."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from alert_samples import CRASHED, START, node, status

from control_plane.alerting.facts import Disk
from control_plane.alerting.gathering import Gatherer, Sources
from control_plane.alerting.service import AlertService, Outlets
from control_plane.alerting.view import alert_json
from control_plane.domain.alerts import Note
from control_plane.domain.storage import StorageView
from control_plane.notify.notifier import Notifier
from control_plane.storage.alerts import AlertFilter, Alerts
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import AlertMemory
from control_plane.storage.notifications import Notifications

NOTE = Note(by="bob", at=START, reason="seen")
FINE, DEAD = status(uptime_s=1e6), status(checks=CRASHED)


@dataclass
class World:
    """A plant, a clock and an installation's files; ``service`` is the present control plane."""

    home: Path
    database: StateDatabase
    seen: Any = FINE
    mono: float = 1000.0
    wall: datetime = START
    published: list[tuple[str, object]] = field(default_factory=list)

    taken_at = START
    refused_files = MappingProxyType[str, Any]({})
    nodes = (node(),)

    @property
    def processes(self) -> dict[str, Any]:
        return {self.seen.name: self.seen}

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def publish(self, _topic: str, _key: str, data: object) -> None:
        self.published.append(("publish", data))

    def withdraw(self, _topic: str, key: str) -> None:
        self.published.append(("withdraw", key))

    def service(self) -> AlertService:
        """Return another control plane's alerts, which go on where the last one was."""
        sources = Sources(
            picture=lambda: self,
            picture_age_s=lambda: 0.1,
            look_ms=lambda: 1.0,
            storage=lambda: StorageView(age_s=0.0, stores=(), ledgers=()),
            disk=lambda: Disk(free_bytes=10**12, free_percent=90.0),
            spool_limits=dict,
            live_dropped=lambda: 0,
            notify_queued=lambda: 0,
            maintenance=frozenset,
            given_up=dict,
            recovered=dict,
            commanded=frozenset,
        )
        queue = Notifications(self.database)
        notifier = Notifier(self.home, queue, self, alert_json, "pc")
        outlets = Outlets(database=self.database, notifier=notifier, live=self)
        service = AlertService(self.home, Gatherer(sources, self), outlets, self)
        service.resume()
        return service

    def look(self, service: AlertService, times: int = 1) -> list[tuple[str, str]]:
        happened = []
        for _ in range(times):
            self.mono += 1
            self.wall += timedelta(seconds=1)
            happened += [(e.kind.value, e.alert.rule) for e in service.look()]
        return happened


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = StateDatabase(f"sqlite:///{tmp_path}/state.db")
    database.migrate(tmp_path)
    yield World(tmp_path, database)
    database.close()


def test_a_new_control_plane_goes_on_where_the_last_one_was(world: World) -> None:
    first = world.service()
    world.seen = DEAD
    assert world.look(first, 3) == [("fired", "process_state")]
    (before,) = first.present()
    first.acknowledge(before.id, NOTE)
    second = world.service()
    (after,) = second.present()
    assert (after.id, after.acknowledged, after.state) == (before.id, NOTE, "acknowledged")
    assert world.look(second, 5) == []
    world.seen = FINE
    assert world.look(second, 10) == [("resolved", "process_state")]
    assert Alerts(world.database).open() == []


def test_a_pending_alert_waits_no_longer_for_a_restart(world: World) -> None:
    world.seen = status(cpu=99.0, uptime_s=1e6)
    assert world.look(world.service(), 60) == []
    second = world.service()
    assert world.look(second, 25) == []
    assert world.look(second, 10) == [("fired", "cpu")]


def test_after_a_reboot_the_time_that_has_passed_counts(world: World) -> None:
    world.seen = status(cpu=99.0, uptime_s=1e6)
    world.look(world.service(), 60)
    with world.database.connection():
        AlertMemory.update(boot_id="another").execute()
    world.mono = 5.0
    world.wall += timedelta(seconds=20)
    second = world.service()
    assert world.look(second, 5) == []
    assert world.look(second, 10) == [("fired", "cpu")]


def test_without_its_memory_a_control_plane_ends_what_it_does_not_know(world: World) -> None:
    world.seen = DEAD
    world.look(world.service(), 3)
    with world.database.connection():
        AlertMemory.update(document="{").execute()
    second = world.service()
    assert world.look(second, 3) == [("fired", "process_state")]
    newest, older = Alerts(world.database).past(AlertFilter())
    assert (newest.is_open, older.ended) == (True, "removed")
    assert newest.id > older.id


def test_a_database_that_is_away_loses_no_alert(world: World) -> None:
    service = world.service()
    world.look(service, 3)
    aside = world.home / "aside.db"
    (world.home / "state.db").rename(aside)
    for left in ("state.db-wal", "state.db-shm"):
        (world.home / left).unlink(missing_ok=True)
    world.seen = DEAD
    happened = world.look(service, 20)
    assert happened == [("fired", "process_state"), ("fired", "state_database")]
    assert len(service.present()) == 2
    assert [kind for kind, _ in world.published] == ["publish"] * 2
    for new in world.home.glob("state.db*"):
        new.unlink()
    aside.rename(world.home / "state.db")
    assert world.look(service, 20) == [("resolved", "state_database")]
    past = Alerts(world.database).past(AlertFilter())
    assert {alert.rule: alert.is_open for alert in past} == {
        "process_state": True,
        "state_database": False,
    }


def test_a_database_that_can_only_be_read_is_told_of(world: World) -> None:
    service = world.service()
    world.look(service, 3)
    with contextlib.closing(sqlite3.connect(world.home / "state.db")) as database:
        database.execute(
            "CREATE TRIGGER disk_full BEFORE INSERT ON alerts"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        world.seen = DEAD
        happened = world.look(service, 20)
        assert happened == [("fired", "process_state"), ("fired", "state_database")]
        database.execute("DROP TRIGGER disk_full")
    assert world.look(service, 20) == [("resolved", "state_database")]


def test_old_alerts_are_forgotten_after_a_time(world: World) -> None:
    service = world.service()
    world.seen = DEAD
    world.look(service, 3)
    world.seen = FINE
    world.look(service, 10)
    world.wall += timedelta(days=31)
    assert service.prune(timedelta(days=30)) > 0
    assert Alerts(world.database).past(AlertFilter()) == []
