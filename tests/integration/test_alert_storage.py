"""Alerts and notices in the state database, on each engine."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertSeverity,
    AlertState,
    Note,
    Silence,
    Subject,
    SubjectKind,
)
from control_plane.storage.alerts import AlertFilter, Alerts, Memory
from control_plane.storage.database import StateDatabase
from control_plane.storage.notifications import FAILED, SENT, NewNotice, Notifications

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
ALERT = Alert(
    id=1769846400123, rule="cpu", fingerprint="0123456789abcdef", code="alert.cpu",
    severity=AlertSeverity.WARNING, subject=Subject(kind=SubjectKind.PROCESS, name="line1"),
    state=AlertState.FIRING, since=NOW, fired_at=NOW, last_change=NOW, value=91.5, threshold=80.0,
    params={"value": 91, "limit": 80, "error": "\ud800\x00x"}, members=("a", "b"),
    acknowledged=Note(by="bob", at=NOW, reason="风扇"),
)  # fmt: skip
MEMORY = Memory(boot_id="boot", at=NOW, document='{"x": 1}')


def event(alert: Alert, kind: AlertEventKind = AlertEventKind.FIRED) -> AlertEvent:
    return AlertEvent(kind=kind, at=NOW, alert=alert, actor="bob", reason="why")


def test_an_alert_comes_back_as_it_went_in(database: StateDatabase) -> None:
    alerts = Alerts(database)
    alerts.write([event(ALERT)], MEMORY)
    found = alerts.find(ALERT.id)
    assert found == replace(ALERT, params={"value": 91, "limit": 80, "error": "?\x00x"})
    assert alerts.memory() == MEMORY
    (step,) = alerts.steps(ALERT.id)
    assert (step.kind, step.actor, step.reason) == (AlertEventKind.FIRED, "bob", "why")


def test_a_resolved_alert_is_history_and_no_more_open(database: StateDatabase) -> None:
    alerts = Alerts(database)
    other = replace(ALERT, id=ALERT.id + 1, rule="memory", severity=AlertSeverity.CRITICAL)
    alerts.write([event(ALERT), event(other)], MEMORY)
    assert [a.id for a in alerts.open()] == [ALERT.id, other.id]
    over = replace(ALERT, state=AlertState.RESOLVED, resolved_at=NOW + timedelta(minutes=1))
    alerts.write([event(over, AlertEventKind.RESOLVED)], replace(MEMORY, document="{}"))
    assert [a.id for a in alerts.open()] == [other.id]
    assert [a.id for a in alerts.past(AlertFilter())] == [other.id, ALERT.id]
    assert [a.id for a in alerts.past(AlertFilter(limit=1))] == [other.id]
    assert [a.id for a in alerts.past(AlertFilter(before_id=other.id))] == [ALERT.id]
    assert [a.id for a in alerts.past(AlertFilter(severity="critical"))] == [other.id]
    assert alerts.past(AlertFilter(subject="line9")) == []
    assert len(alerts.fired_since(NOW)) == 2
    assert alerts.prune(NOW + timedelta(days=2), timedelta(days=1)) == 4
    assert [a.id for a in alerts.past(AlertFilter())] == [other.id]


def test_a_shelf_holds_until_its_end_or_until_it_is_taken_away(database: StateDatabase) -> None:
    alerts = Alerts(database)
    until = NOW + timedelta(hours=1)
    note = Note(by="bob", at=NOW, reason="pump is away")
    kept = alerts.shelve(
        Silence(id=0, rule="*", subject="line*", alert_id=None, until=until, note=note)
    )
    assert alerts.silences(NOW) == [kept]
    assert alerts.silences(until) == []
    assert alerts.unshelve(kept.id + 1, NOW) is None
    assert alerts.unshelve(kept.id, NOW) == kept
    assert alerts.unshelve(kept.id, NOW) is None
    assert alerts.silences(NOW) == []


def notice(event: str, channel: str = "mail", due: datetime = NOW) -> NewNotice:
    alert_id, _, kind = event.partition(":")
    return NewNotice(
        channel=channel, event=event, alert_id=int(alert_id), kind=kind, due=due, document="{}"
    )


def test_a_notice_is_queued_once_for_each_channel(database: StateDatabase) -> None:
    queue = Notifications(database)
    for _ in range(2):
        queue.queue([notice("7:fired"), notice("7:fired", "hook"), notice("8:fired")], NOW)
    assert queue.queued() == {"mail": 2, "hook": 1}
    assert [n.event for n in queue.due("mail", NOW)] == ["7:fired", "8:fired"]


def test_a_notice_waits_is_tried_again_and_ends(database: StateDatabase) -> None:
    queue = Notifications(database)
    later = NOW + timedelta(minutes=5)
    queue.queue([notice("7:fired", due=later)], NOW)
    assert queue.due("mail", NOW) == []
    assert queue.next_due("mail") == later
    (due,) = queue.due("mail", later)
    queue.retry([due.id], later, later + timedelta(seconds=5), "connection refused")
    assert queue.due("mail", later) == []
    (again,) = queue.due("mail", later + timedelta(seconds=5))
    assert (again.attempts, again.error) == (1, "connection refused")
    assert not queue.was_sent("mail", 7)
    queue.end([again.id], SENT, later)
    assert queue.was_sent("mail", 7)
    assert not queue.was_sent("hook", 7)
    assert queue.next_due("mail") is None
    (ended,) = queue.latest("mail", 10)
    assert (ended.state, ended.ended) == (SENT, later)
    # Queued again it would be the same notice: it was told.
    queue.queue([notice("7:fired")], later)
    assert queue.queued() == {}
    assert queue.prune(later + timedelta(days=2), timedelta(days=1)) == 1


def test_a_clock_that_was_set_back_holds_no_notice_up(database: StateDatabase) -> None:
    queue = Notifications(database)
    queue.queue([notice("7:fired")], NOW)
    assert len(queue.due("mail", NOW - timedelta(hours=1))) == 1


def test_giving_up_leaves_a_record(database: StateDatabase) -> None:
    queue = Notifications(database)
    queue.queue([notice("7:fired")], NOW)
    (due,) = queue.due("mail", NOW)
    queue.end([due.id], FAILED, NOW, "550 no such user" + "x" * 5000)
    (ended,) = queue.latest("mail", 10)
    assert (ended.state, ended.error[:16], len(ended.error)) == (FAILED, "550 no such user", 1000)


def test_whoever_is_amid_a_transaction_waits_for_nobody_who_connects(
    database: StateDatabase,
) -> None:
    alerts, opened = Alerts(database), threading.Event()

    def look() -> None:
        opened.set()
        alerts.open()

    with database.connection() as db, db.atomic():
        alerts.write([event(ALERT)], MEMORY)
        other = threading.Thread(target=look)
        other.start()
        opened.wait(5)
        began = time.monotonic()
        for _ in range(20):
            alerts.write([event(ALERT)], MEMORY)
        took_s = time.monotonic() - began
    other.join()
    # SQLite waits for a lock for 5 s.
    assert took_s < 4
