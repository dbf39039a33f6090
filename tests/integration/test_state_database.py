"""The repositories of the state database, on each engine."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.audit import AuditEvent
from control_plane.domain.health import (
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
    ProcessHealth,
)
from control_plane.domain.process import Desired
from control_plane.errors import (
    BadSetupToken,
    LastAdmin,
    StorageError,
    UnknownUser,
    UserExists,
)
from control_plane.storage.accounts import SESSION_IDLE, SESSION_LONGEST, Accounts
from control_plane.storage.api_tokens import ApiTokens, TokenFacts
from control_plane.storage.audit import AuditTrail
from control_plane.storage.database import StateDatabase
from control_plane.storage.desired_states import DesiredStates
from control_plane.storage.models import AuditEntry, HealthRecord
from control_plane.storage.pending_commands import Pending, PendingCommands
from control_plane.storage.process_history import ProcessHistory

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


def event(**facts: object) -> AuditEvent:
    usual = {
        "at": NOW, "actor": "bob", "origin": "::1", "action": "process.restart",
        "target": "line1", "outcome": "requested",
    }  # fmt: skip
    return AuditEvent(**(usual | facts))


def test_a_set_up_link_works_once_and_only_in_time(database: StateDatabase) -> None:
    accounts = Accounts(database)
    accounts.replace_setup_token("old", NOW)
    accounts.replace_setup_token("new", NOW)
    for token, at in (("old", NOW), ("new", NOW + timedelta(minutes=16))):
        with pytest.raises(BadSetupToken):
            accounts.set_up(token, "alice", "hash", at)
    assert not accounts.has_users()
    accounts.set_up("new", "alice", "hash", NOW)
    assert [(u.name, u.role) for u in accounts.users()] == [("alice", "admin")]
    accounts.replace_setup_token("again", NOW)
    with pytest.raises(BadSetupToken):
        accounts.set_up("again", "mallory", "hash", NOW)


def test_two_administrators_who_demote_each_other_leave_one(database: StateDatabase) -> None:
    accounts, refused = Accounts(database), []
    for name in ("alice", "bob"):
        accounts.add_user(name, "admin", "hash", NOW)

    def demote_bob() -> None:
        try:
            accounts.set_role("bob", "viewer")
        except LastAdmin as exc:
            refused.append(exc)

    other = threading.Thread(target=demote_bob)
    with database.connection() as db, db.atomic():
        accounts.set_role("alice", "viewer")
        other.start()
        other.join(0.3)  # so long it could go wrong; it has to wait for our commit
    other.join(30)
    assert [user.name for user in accounts.users() if user.role == "admin"] == ["bob"]
    assert len(refused) == 1


def test_sessions_end_by_idleness_by_age_and_by_a_new_password(database: StateDatabase) -> None:
    accounts = Accounts(database)
    accounts.add_user("alice", "admin", "hash", NOW)
    accounts.open_session("alice", "token", "csrf", NOW)
    assert accounts.session("token", NOW).name == "alice"
    assert accounts.session("token", NOW + SESSION_IDLE) is None
    at = NOW
    while at < NOW + SESSION_LONGEST:
        assert accounts.session("token", at) is not None
        at += SESSION_IDLE / 2
    assert accounts.session("token", at) is None
    assert accounts.remove_ended_sessions(at) == 1
    accounts.open_session("alice", "second", "csrf", NOW)
    accounts.set_password("alice", "other")
    assert accounts.session("second", NOW) is None
    with pytest.raises(UnknownUser):
        accounts.set_password("bob", "hash")


def test_names_of_users_and_tokens_are_unique(database: StateDatabase) -> None:
    accounts = Accounts(database)
    accounts.add_user("alice", "admin", "hash", NOW)
    with pytest.raises(UserExists):
        accounts.add_user("alice", "viewer", "hash", NOW)
    tokens = ApiTokens(database)
    facts = TokenFacts(name="ci", role="viewer", created_at=NOW)
    tokens.add(facts, "hash")
    with pytest.raises(UserExists):
        tokens.add(facts, "hash2")
    assert tokens.find("hash", NOW).name == "ci"
    assert tokens.find("hash2", NOW) is None


def test_a_command_is_remembered_so_that_its_restart_is_not_counted(audit: AuditTrail) -> None:
    audit.record(event())
    assert audit.was_commanded("line1", NOW - timedelta(seconds=1))
    assert not audit.was_commanded("line1", NOW + timedelta(seconds=1))
    assert not audit.was_commanded("line2", NOW - timedelta(seconds=1))


def test_restarts_and_incarnations_survive_and_old_rows_are_pruned(
    database: StateDatabase,
) -> None:
    history = ProcessHistory(database)
    assert history.last_incarnation("line1") is None
    history.note_incarnation("line1", 10, NOW, restarted_at=None)
    history.note_incarnation("line1", 11, NOW + timedelta(hours=1), NOW + timedelta(hours=1))
    assert history.last_incarnation("line1") == (11, NOW + timedelta(hours=1))
    assert history.restarts("line1", NOW) == [NOW + timedelta(hours=1)]
    health = ProcessHealth(
        status=HealthStatus.HEALTHY, score=100.0, confidence=1.0, since=NOW, checks=()
    )
    history.record_health(NOW, [(f"line{n}", health) for n in range(2500)])
    assert history.prune(NOW + timedelta(days=2), timedelta(days=1)) == 2501
    with database.connection():
        assert HealthRecord.select().count() == 0


def test_writers_in_many_threads_do_not_fail_each_other(audit: AuditTrail) -> None:
    errors: list[StorageError] = []

    def write() -> None:
        try:
            for _ in range(25):
                audit.record(event())
        except StorageError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_newest_command_for_a_process_tells_its_outcome(audit: AuditTrail) -> None:
    assert audit.last_outcome("line1") is None
    for outcome in ("requested", "done"):
        audit.record(event(outcome=outcome))
    audit.record(event(target="line2", outcome="failed"))
    audit.record(event(action="session.open", outcome="denied"))
    assert audit.last_outcome("line1") == "done"


def test_no_text_keeps_a_line_of_the_audit_trail_from_being_written(
    database: StateDatabase,
    audit: AuditTrail,
) -> None:
    audit.record(event(actor="\ud800" + "a" * 200, target="x\x00y", detail="\x00" + "z" * 10_000))
    with database.connection():
        row = AuditEntry.get()
    assert (row.target, len(row.actor), row.detail[:2]) == ("xy", 80, "zz")


def test_what_operators_want_and_what_was_begun_is_kept_once_for_each_process(
    database: StateDatabase,
) -> None:
    desired, pending = DesiredStates(database), PendingCommands(database)
    for wanted in (Desired.RUN, Desired.STOP):
        desired.want("line1", wanted, "bob", NOW)
    desired.want("line2", Desired.STOP, "bob", NOW)
    desired.forget("line2")
    assert desired.stopped() == {"line1"}
    for action in ("stop", "restart"):
        pending.begin(Pending(process="line1", action=action, actor="bob", origin="::1"), NOW)
    pending.begin(
        Pending(process="old", action="stop", actor="bob", origin="::1"), NOW - timedelta(hours=1)
    )
    assert [each.action for each in pending.all(NOW - timedelta(minutes=1))] == ["restart"]
    pending.end("line1")
    assert pending.all(NOW - timedelta(hours=2)) == []


def test_a_score_comes_back_as_it_was(database: StateDatabase) -> None:
    health = ProcessHealth(
        status=HealthStatus.WARNING, score=83.123456789, confidence=1.0, since=NOW, checks=()
    )
    ProcessHistory(database).record_health(NOW, [("line1", health)])
    with database.connection():
        assert HealthRecord.get().score == 83.123456789


def test_two_databases_are_open_side_by_side(database: StateDatabase, tmp_path: Path) -> None:
    other = StateDatabase(f"sqlite:///{tmp_path}/other.db")
    other.migrate(tmp_path)
    Accounts(database).add_user("alice", "admin", "hash", NOW)
    assert not Accounts(other).has_users()
    with database.connection(), other.connection():
        assert not Accounts(other).has_users()
    Accounts(other).add_user("bob", "viewer", "hash", NOW)
    assert [user.name for user in Accounts(database).users()] == ["alice"]


def test_retention_deletes_in_small_transactions(
    database: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = ProcessHealth(
        status=HealthStatus.HEALTHY, score=100.0, confidence=1.0, since=NOW, checks=()
    )
    history = ProcessHistory(database)
    history.record_health(NOW, [(f"line{n}", health) for n in range(2000)])
    history.record_health(NOW + timedelta(days=1), [("line1", health)])
    deleted: list[int] = []
    with database.connection() as db:
        execute = db.execute_sql

        def listen(sql: str, parameters: Any = None) -> Any:
            cursor = execute(sql, parameters)
            if sql.startswith("DELETE"):
                deleted.append(cursor.rowcount)
            return cursor

        with monkeypatch.context() as patch:
            patch.setattr(db, "execute_sql", listen)
            assert history.prune(NOW + timedelta(hours=25), timedelta(days=1)) == 2000
    assert max(deleted) == 1000
    assert sum(deleted) == 2000


def test_a_checkpoint_gives_disk_space_back(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    database = StateDatabase(f"sqlite:///{file}")
    database.migrate(tmp_path)
    history = ProcessHistory(database)
    check = HealthCheckResult(
        check_type=HealthCheckType.DATA_FLOW, status=HealthStatus.WARNING, code="x" * 2000
    )
    health = ProcessHealth(
        status=HealthStatus.WARNING, score=1.0, confidence=1.0, since=NOW, checks=(check,)
    )
    history.record_health(NOW, [(f"line{n}", health) for n in range(5000)])
    database.checkpoint()
    full = file.stat().st_size
    with database.connection():
        # Another connection stays, so closing one does not do the checkpoint's work.
        history.prune(NOW + timedelta(days=2), timedelta(days=1))
        assert file.with_name("state.db-wal").stat().st_size > 0
        database.checkpoint()
        assert file.with_name("state.db-wal").stat().st_size == 0
    assert file.stat().st_size < full / 10
    assert not Accounts(database).has_users()
