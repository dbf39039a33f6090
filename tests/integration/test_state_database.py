import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.domain.audit import AuditEvent
from control_plane.domain.health import HealthStatus, ProcessHealth
from control_plane.errors import BadSetupToken, StorageError, UnknownUser, UserExists
from control_plane.storage.accounts import SESSION_IDLE, SESSION_LONGEST, Accounts
from control_plane.storage.audit import AuditTrail
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import TABLES, HealthRecord
from control_plane.storage.process_history import ProcessHistory

MIGRATIONS = ["0001_initial", "0002_desired_state", "0003_pending_commands"]
NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> StateDatabase:
    database = StateDatabase(f"sqlite:///{tmp_path}/state.db")
    assert database.migrate(tmp_path) == MIGRATIONS
    return database


def test_migrations_make_the_tables_that_the_models_describe(
    database: StateDatabase, tmp_path: Path
) -> None:
    assert database.migrate(tmp_path) == []
    with database.connection() as db:
        for table in TABLES:
            name = table._meta.table_name
            columns = {column.name: column for column in db.get_columns(name)}
            fields = {f.column_name: f for f in table._meta.sorted_fields}
            assert columns.keys() == fields.keys(), name
            for column, field in fields.items():
                assert columns[column].null is field.null, (name, column)
        assert db.execute_sql("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute_sql("PRAGMA foreign_keys").fetchone()[0] == 1


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    applied: list[list[str]] = []
    database = StateDatabase(url)
    threads = [
        threading.Thread(target=lambda: applied.append(database.migrate(tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [[], [], [], MIGRATIONS]


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
    accounts.add_token("ci", "viewer", "hash", NOW)
    with pytest.raises(UserExists):
        accounts.add_token("ci", "viewer", "hash2", NOW)
    assert accounts.token("hash") == ("ci", "viewer")
    assert accounts.token("hash2") is None


def test_a_command_is_remembered_so_that_its_restart_is_not_counted(
    database: StateDatabase,
) -> None:
    audit = AuditTrail(database)
    event = AuditEvent(
        at=NOW, actor="bob", origin="::1", action="process.restart", target="line1",
        outcome="requested",
    )  # fmt: skip
    audit.record(event)
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


def test_writers_in_many_threads_do_not_fail_each_other(database: StateDatabase) -> None:
    audit = AuditTrail(database)
    event = AuditEvent(
        at=NOW, actor="bob", origin="::1", action="process.stop", target="line1", outcome="done"
    )
    errors: list[StorageError] = []

    def write() -> None:
        try:
            for _ in range(25):
                audit.record(event)
        except StorageError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/none/state.db", "mongo://x/y"])
def test_a_database_that_cannot_be_used_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="state database"):
        StateDatabase(url).migrate(tmp_path)
