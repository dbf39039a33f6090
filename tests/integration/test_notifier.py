"""The queue before the channels: grouped, delayed, repeated, given up; none waits for another."""

import contextlib
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from notice_servers import Posts, http_server

from control_plane.alerting.view import alert_json
from control_plane.clock import SystemClock
from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertSeverity,
    AlertState,
    Subject,
    SubjectKind,
)
from control_plane.notify.notifier import Notifier
from control_plane.notify.policy import MAX_ATTEMPTS
from control_plane.storage.database import StateDatabase
from control_plane.storage.notifications import DROPPED, FAILED, SENT, Notifications

FIRED, RESOLVED = AlertEventKind.FIRED, AlertEventKind.RESOLVED


@pytest.fixture
def posts() -> Iterator[Posts]:
    with http_server(Posts()) as posts:
        yield posts


@pytest.fixture
def queue(tmp_path: Path) -> Notifications:
    database = StateDatabase(f"sqlite:///{tmp_path}/state.db")
    database.migrate(tmp_path)
    return Notifications(database)


def entry(name: str, url: str, more: str = "") -> str:
    return f'[[channel]]\nname = "{name}"\nkind = "webhook"\nurl = "{url}"\n{more}\n'


@contextlib.contextmanager
def notifier(home: Path, queue: Notifications, text: str) -> Iterator[Notifier]:
    (home / "channels.toml").write_text(text)
    made = Notifier(home, queue, SystemClock(), alert_json, "pc")
    made.refresh()
    try:
        yield made
    finally:
        made.stop()


def event(alert_id: int, kind: AlertEventKind) -> AlertEvent:
    now = datetime.now(UTC)
    over = kind is RESOLVED
    alert = Alert(
        id=alert_id, rule="cpu", fingerprint="f", severity=AlertSeverity.CRITICAL,
        code="alert.cpu", subject=Subject(kind=SubjectKind.PROCESS, name=f"line{alert_id}"),
        state=AlertState.RESOLVED if over else AlertState.FIRING, since=now, fired_at=now,
        last_change=now, resolved_at=now if over else None, ended="returned" if over else None,
    )  # fmt: skip
    return AlertEvent(kind=kind, at=now, alert=alert)


def eventually(found: Callable[[], Any], within_s: float = 15.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (result := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return result


def tell(notifier: Notifier, *events: AlertEvent) -> None:
    notifier.queue(events)
    notifier.wake()


def states(queue: Notifications, channel: str = "a") -> list[str]:
    return [notice.state for notice in reversed(queue.latest(channel, 100))]


def test_what_comes_together_is_one_message(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    with notifier(tmp_path, queue, entry("a", posts.url, "group_s = 0.5")) as made:
        tell(made, event(1, FIRED))
        tell(made, event(2, FIRED), event(1, RESOLVED))
        eventually(lambda: states(queue) == [SENT] * 3)
    (body,) = posts.bodies
    told = [(n["kind"], n["alert"]["id"]) for n in json.loads(body)["notices"]]
    assert sorted(told) == [("fired", 1), ("fired", 2), ("resolved", 1)]


def test_what_is_over_before_the_delay_is_not_told(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    text = entry("a", posts.url, "group_s = 0\ndelay_s = 30")
    with notifier(tmp_path, queue, text) as made:
        tell(made, event(1, FIRED))
        tell(made, event(1, RESOLVED))
        eventually(lambda: states(queue) == [DROPPED, DROPPED])
    assert posts.bodies == []


def test_a_server_that_hangs_holds_up_nobody_else_and_no_stop(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        text = entry("a", hanging, "group_s = 0") + entry("b", posts.url, "group_s = 0")
        with notifier(tmp_path, queue, text) as made:
            tell(made, event(1, FIRED))
            eventually(lambda: states(queue, "b") == [SENT], within_s=5)
            began = time.monotonic()
        assert time.monotonic() - began < 5
    assert states(queue, "a") == ["queued"]


def test_what_nobody_takes_is_given_up_with_a_record(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    posts.statuses, posts.answer = [503], b"maintenance"
    with notifier(tmp_path, queue, entry("a", posts.url, "group_s = 0")) as made:
        tell(made, event(1, FIRED))
        eventually(lambda: made.states()[0].last_error)
        (notice,) = queue.waiting("a")
        now = datetime.now(UTC)
        for _ in range(MAX_ATTEMPTS - 2):
            queue.retry([notice.id], now, now + timedelta(milliseconds=50), "again")
        made.wake()
        eventually(lambda: states(queue) == [FAILED])
        (record,) = queue.latest("a", 1)
        assert record.error == "HTTP 503: maintenance"
        posts.statuses = [200]
        tell(made, event(2, FIRED))
        eventually(lambda: states(queue) == [FAILED, SENT])
        assert made.states()[0].last_error is None


def test_a_channel_that_is_removed_leaves_no_queue_behind(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    text = entry("a", posts.url, "delay_s = 60") + entry("b", posts.url, "delay_s = 60")
    with notifier(tmp_path, queue, text) as made:
        tell(made, event(1, FIRED))
        assert queue.queued() == {"a": 1, "b": 1}
        (tmp_path / "channels.toml").write_text(entry("a", posts.url, "delay_s = 60") + "[x]\n")
        made.refresh()
        # A mistake in the file may be all there is to it.
        assert queue.queued() == {"a": 1, "b": 1}
        (tmp_path / "channels.toml").write_text(entry("a", posts.url, "delay_s = 60"))
        made.refresh()
        assert queue.queued() == {"a": 1}
        assert states(queue, "b") == [DROPPED]


def test_a_notice_of_before_a_crash_is_sent_after_it(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    text = entry("a", posts.url, "group_s = 0")
    (tmp_path / "channels.toml").write_text(text)
    crashed = Notifier(tmp_path, queue, SystemClock(), alert_json, "pc")
    crashed.refresh()
    crashed.stop()
    crashed.queue([event(1, FIRED)])
    assert posts.bodies == []
    with notifier(tmp_path, queue, text):
        eventually(lambda: states(queue) == [SENT])
    assert len(posts.bodies) == 1


def test_a_quiet_channel_hears_only_of_what_is_bad_enough(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    text = entry("a", posts.url, 'enabled = false\nmin_severity = "critical"')
    with notifier(tmp_path, queue, text) as made:
        tell(made, event(1, FIRED))
        assert queue.queued() == {}
        assert made.states()[0].queued == 0


def test_people_are_told_while_the_state_database_is_away_and_only_once(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    database, away = tmp_path / "state.db", tmp_path / "away.db"
    with notifier(tmp_path, queue, entry("a", posts.url, "group_s = 0")) as made:
        database.rename(away)
        made.keep([event(1, FIRED), event(2, FIRED)])
        eventually(lambda: len(told_of(posts)) == 2)
        made.keep([event(1, FIRED), event(1, RESOLVED), event(3, RESOLVED)])
        eventually(lambda: len(told_of(posts)) == 3)
        away.rename(database)
        tell(made, event(1, FIRED), event(2, FIRED), event(1, RESOLVED), event(3, RESOLVED))
        eventually(lambda: sorted(states(queue)) == [DROPPED, SENT, SENT, SENT])
    # Nobody was told of the beginning of 3.
    assert sorted(told_of(posts)) == [("fired", 1), ("fired", 2), ("resolved", 1)]


def test_people_are_told_once_while_the_queue_can_only_be_read(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    full = contextlib.closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None))
    refuse = (
        "CREATE TRIGGER full_{0} BEFORE {0} ON notifications"
        " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    text = entry("a", posts.url, "group_s = 0")
    with full as database, notifier(tmp_path, queue, text) as made:
        database.execute(refuse.format("UPDATE"))
        tell(made, event(1, FIRED))
        database.execute(refuse.format("INSERT"))
        eventually(lambda: told_of(posts) == [("fired", 1)])
        kept = []
        for number in (2, 3, 4):
            kept.append(event(number, FIRED))
            made.keep(kept)
            eventually(lambda n=number: ("fired", n) in told_of(posts))
        assert states(queue) == ["queued"]
        for action in ("INSERT", "UPDATE"):
            database.execute(f"DROP TRIGGER full_{action}")
        tell(made, *kept)
        eventually(lambda: states(queue) == [SENT] * 4)
    assert told_of(posts) == [("fired", number) for number in (1, 2, 3, 4)]


def told_of(posts: Posts) -> list[tuple[str, int]]:
    notices = [notice for body in posts.bodies for notice in json.loads(body)["notices"]]
    return [(notice["kind"], notice["alert"]["id"]) for notice in notices]


def test_a_changed_secret_counts_without_a_change_of_the_channel_file(
    tmp_path: Path, queue: Notifications, posts: Posts
) -> None:
    secret = tmp_path / "token"
    secret.touch(mode=0o600)
    secret.write_text("old-token")
    text = entry("a", posts.url, 'group_s = 0\ntoken_file = "token"')
    with notifier(tmp_path, queue, text) as made:
        tell(made, event(1, FIRED))
        eventually(lambda: states(queue) == [SENT])
        secret.write_text("newer-token")
        made.refresh()
        tell(made, event(2, FIRED))
        eventually(lambda: states(queue) == [SENT] * 2)
        secret.unlink()
        made.refresh()
        assert len(made.problems) == 1
        secret.touch(mode=0o600)
        secret.write_text("token-3")
        made.refresh()
        assert made.problems == ()
    assert [h["Authorization"] for h in posts.headers] == ["Bearer old-token", "Bearer newer-token"]
