"""Who is told what, and when."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertSeverity,
    AlertState,
    Subject,
    SubjectKind,
)
from control_plane.notify.policy import choose, is_told, name_of, next_attempt
from control_plane.storage.notifications import Notice

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
CRITICAL, WARNING, ADVISORY = AlertSeverity.CRITICAL, AlertSeverity.WARNING, AlertSeverity.ADVISORY


def event(
    kind: AlertEventKind,
    severity: AlertSeverity = WARNING,
    state: AlertState = AlertState.FIRING,
    *,
    worse: bool = False,
) -> AlertEvent:
    alert = Alert(
        id=7, rule="cpu", fingerprint="f", severity=severity, code="alert.cpu",
        subject=Subject(kind=SubjectKind.PROCESS, name="line1"), state=state,
        since=NOW, last_change=NOW,
    )  # fmt: skip
    return AlertEvent(kind=kind, at=NOW, alert=alert, worse=worse)


def notice(id_: int, kind: str, alert_id: int = 7, attempts: int = 0) -> Notice:
    return Notice(
        id=id_, channel="mail", event=f"{alert_id}:{kind}", alert_id=alert_id, kind=kind,
        state="queued", attempts=attempts, due=NOW, ended=None, error="", document="{}",
    )  # fmt: skip


def test_a_channel_hears_of_what_is_bad_enough_and_of_every_end() -> None:
    fired = event(AlertEventKind.FIRED)
    assert is_told(fired, WARNING)
    assert is_told(fired, ADVISORY)
    assert not is_told(fired, CRITICAL)
    assert is_told(event(AlertEventKind.RESOLVED, ADVISORY), CRITICAL)


def test_a_shelved_alert_is_told_to_nobody_until_the_shelf_ends() -> None:
    assert not is_told(event(AlertEventKind.FIRED, state=AlertState.SHELVED), ADVISORY)
    assert not is_told(event(AlertEventKind.SHELVED, state=AlertState.SHELVED), ADVISORY)
    assert is_told(event(AlertEventKind.UNSHELVED), ADVISORY)


def test_an_update_is_told_only_if_it_is_worse() -> None:
    assert not is_told(event(AlertEventKind.UPDATED), ADVISORY)
    assert is_told(event(AlertEventKind.UPDATED, CRITICAL, worse=True), CRITICAL)
    assert not is_told(event(AlertEventKind.ACKNOWLEDGED), ADVISORY)


def test_names_of_events_are_unique_where_they_may_repeat() -> None:
    assert name_of(event(AlertEventKind.FIRED)) == "7:fired"
    assert name_of(event(AlertEventKind.UPDATED, CRITICAL)) == "7:updated:critical"
    assert name_of(event(AlertEventKind.REPEATED)).startswith("7:repeated:1769")


def test_an_alert_that_ends_within_the_delay_is_never_told() -> None:
    queued = [notice(1, "fired"), notice(2, "resolved")]
    choice = choose(queued, {2}, lambda _: False)
    assert (choice.send, choice.drop) == ((), tuple(queued))


def test_an_end_is_told_to_whoever_heard_of_the_beginning() -> None:
    over = notice(2, "resolved")
    assert choose([over], {2}, lambda _: True).send == (over,)
    assert choose([over], {2}, lambda _: False).drop == (over,)


def test_what_could_not_be_sent_goes_out_together_with_its_end() -> None:
    queued = [notice(1, "fired", attempts=3), notice(2, "resolved"), notice(3, "fired", 8)]
    choice = choose(queued, {2}, lambda _: False)
    assert choice.send == tuple(queued[:2])
    assert choice.drop == ()


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["fired", "repeated", "resolved"])),
        max_size=20,
    ),
    st.sets(st.integers(0, 20)),
    st.sets(st.integers(1, 4)),
)
def test_what_is_due_is_sent_or_dropped_and_never_both(
    kinds: list[tuple[int, str]], due: set[int], heard: set[int]
) -> None:
    queued = [notice(n, kind, alert_id) for n, (alert_id, kind) in enumerate(kinds)]
    choice = choose(queued, due, heard.__contains__)
    sent, dropped = {n.id for n in choice.send}, {n.id for n in choice.drop}
    assert not sent & dropped
    assert {n.id for n in queued if n.id in due} <= sent | dropped
    # Nobody hears of an end alone.
    for each in choice.send:
        if each.kind == "resolved" and each.alert_id not in heard:
            assert any(n.alert_id == each.alert_id and n.kind != "resolved" for n in choice.send)


def test_attempts_grow_apart_up_to_a_quarter_of_an_hour() -> None:
    waits = [(next_attempt(NOW, n, lambda: 0.5) - NOW).total_seconds() for n in range(1, 11)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    spread = {next_attempt(NOW, 1, lambda c=c: c) - NOW for c in (0.0, 1.0)}
    assert spread == {timedelta(seconds=4), timedelta(seconds=6)}
