"""What needs more than one look, and the figures of the alarm page."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from alert_samples import START, Plant, device, facts, node, status

from control_plane.alerting.facts import Disk
from control_plane.alerting.figures import figures
from control_plane.alerting.gathering import Gatherer, Sources
from control_plane.domain.alerts import Alert, AlertSeverity, AlertState, Subject, SubjectKind
from control_plane.domain.storage import StorageView, StoreLedger
from control_plane.errors import StorageError


@dataclass
class Hands:
    """A clock that is turned, and a plant whose figures are set, by hand."""

    mono: float = 1000.0
    wall: datetime = START
    processes: dict[str, Any] = field(default_factory=dict)
    dropped: int = 0
    broken: bool = False

    taken_at = START
    nodes = (node(),)
    refused_files = MappingProxyType[str, Any]({})

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def after(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += timedelta(seconds=seconds)

    def maintenance(self) -> frozenset[str]:
        if self.broken:
            raise StorageError(reason="away")
        return frozenset({"line9"})

    def storage(self) -> StorageView:
        ledgers = (
            StoreLedger(collector="line1", store="a", queued_bytes=10),
            StoreLedger(collector="line1", store="b", queued_bytes=70),
        )
        return StorageView(age_s=1.0, stores=(), ledgers=ledgers)

    def gatherer(self) -> Gatherer:
        sources = Sources(
            picture=lambda: self,
            picture_age_s=lambda: 0.5,
            look_ms=lambda: 12.0,
            storage=self.storage,
            disk=lambda: Disk(free_bytes=1, free_percent=1.0),
            spool_limits=lambda: {"line1": 100, "line2": 100},
            live_dropped=lambda: self.dropped,
            notify_queued=lambda: 4,
            maintenance=self.maintenance,
            given_up=dict,
            recovered=dict,
            commanded=frozenset,
        )
        return Gatherer(sources, self)


def test_a_restart_is_seen_once_and_not_at_the_first_look() -> None:
    hands = Hands(processes={"line1": replace(status(), restart_count=2)})
    gatherer = hands.gatherer()
    assert gatherer.gather(None).restarted == frozenset()
    hands.processes = {"line1": replace(status(), restart_count=3)}
    assert gatherer.gather(None).restarted == {"line1"}
    assert gatherer.gather(None).restarted == frozenset()
    # The count is of 24 h, so it falls, too.
    hands.processes = {"line1": replace(status(), restart_count=1)}
    assert gatherer.gather(None).restarted == frozenset()


def with_requests(requests: int, failed: int) -> dict[str, Any]:
    link = replace(device(), requests=requests, request_errors=failed)
    return {"line1": status(devices=(link,))}


def test_failed_requests_are_those_of_five_minutes_and_of_this_process() -> None:
    hands = Hands(processes=with_requests(1000, 900))
    gatherer = hands.gatherer()
    assert gatherer.gather(None).request_errors == {}
    hands.after(60)
    hands.processes = with_requests(1100, 910)
    assert gatherer.gather(None).request_errors == {"line1": 10.0}
    hands.processes = with_requests(5, 5)
    assert gatherer.gather(None).request_errors == {}
    hands.after(60)
    hands.processes = with_requests(45, 25)
    assert gatherer.gather(None).request_errors == {"line1": 50.0}
    hands.after(400)
    hands.processes = with_requests(46, 25)
    assert gatherer.gather(None).request_errors == {}


def test_a_jump_of_the_clock_is_seen_for_five_minutes() -> None:
    hands = Hands()
    gatherer = hands.gatherer()
    hands.after(1)
    assert gatherer.gather(None).clock_step_s == 0
    hands.after(1)
    hands.wall -= timedelta(hours=1)
    assert round(gatherer.gather(None).clock_step_s) == -3600
    hands.after(250)
    assert round(gatherer.gather(None).clock_step_s) == -3600
    hands.after(100)
    assert gatherer.gather(None).clock_step_s == 0


def test_panels_cut_off_are_those_of_five_minutes() -> None:
    hands = Hands(dropped=7)
    gatherer = hands.gatherer()
    assert gatherer.gather(None).own.live_dropped == 0
    hands.after(10)
    hands.dropped = 9
    assert gatherer.gather(None).own.live_dropped == 2
    hands.after(200)
    hands.dropped = 10
    assert gatherer.gather(None).own.live_dropped == 3
    hands.after(400)
    assert gatherer.gather(None).own.live_dropped == 0


def test_the_slowest_store_decides_how_full_a_spool_is() -> None:
    spools = Hands().gatherer().gather(None).spools
    assert {name: s.queued_bytes for name, s in spools.items()} == {"line1": 70, "line2": 0}


def test_a_source_that_fails_leaves_what_was_known() -> None:
    hands = Hands()
    gatherer = hands.gatherer()
    assert gatherer.gather(None).maintenance == {"line9"}
    hands.broken = True
    hands.after(60)
    seen = gatherer.gather("away")
    assert seen.maintenance == {"line9"}
    assert seen.own.database_error == "away"


def alert(at: datetime, fingerprint: str = "f", **more: Any) -> Alert:
    return Alert(
        id=round(at.timestamp()), rule="cpu", fingerprint=fingerprint, code="alert.cpu",
        subject=Subject(kind=SubjectKind.PROCESS, name="line1"), since=at, fired_at=at,
        last_change=at, **({"state": AlertState.FIRING, "severity": AlertSeverity.WARNING} | more),
    )  # fmt: skip


NOW = datetime(2026, 1, 31, 20, 0, tzinfo=UTC)


def every(seconds: float, times: int, fingerprint: str = "f") -> Iterator[Alert]:
    """Yield alerts, the newest of them now, oldest first."""
    for n in reversed(range(times)):
        yield alert(NOW - timedelta(seconds=n * seconds), fingerprint)


def test_more_than_ten_alarms_in_ten_minutes_are_a_flood() -> None:
    calm = figures(NOW, [], list(every(120, 30)))
    assert (calm.in_10_min, calm.in_1_h, calm.in_24_h, calm.flood) == (5, 30, 30, False)
    flood = figures(NOW, [], list(every(30, 12)))
    assert (flood.in_10_min, flood.peak_in_10_min, flood.flood) == (12, 12, True)
    past = [replace(a, fired_at=a.since - timedelta(hours=3)) for a in every(30, 12)]
    over = figures(NOW, [], past)
    assert (over.in_10_min, over.peak_in_10_min, over.flood) == (0, 12, False)


def test_three_of_a_kind_within_a_minute_chatter() -> None:
    assert figures(NOW, [], list(every(31, 5))).chattering == ()
    assert figures(NOW, [], list(every(30, 3))).chattering == ("f",)
    flapping = alert(NOW, "g", flapping=True)
    assert figures(NOW, [flapping], []).chattering == ("g",)


def test_open_alerts_are_counted_and_old_ones_stand() -> None:
    old = alert(NOW - timedelta(hours=25), severity=AlertSeverity.CRITICAL)
    shelved = alert(NOW, "g", state=AlertState.SHELVED)
    found = figures(NOW, [old, shelved], [])
    assert found.open == {"advisory": 0, "warning": 0, "critical": 1}
    assert (found.unacknowledged, found.shelved, found.standing) == (1, 1, 1)


def test_looks_of_the_samples_and_of_the_gatherer_are_judged_alike() -> None:
    hands = Hands(processes={"line1": status()})
    plant = Plant()
    plant.look(replace(hands.gatherer().gather(None), disk=None, storage=facts().storage))
    assert plant.state.open_alerts() == {}
