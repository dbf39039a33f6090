"""The schema of the state database and what may go wrong with it, on each engine."""

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from postgres_server import PostgresServer

from control_plane.errors import NewerSchema, StorageError
from control_plane.storage.accounts import Accounts
from control_plane.storage.database import MIGRATIONS, StateDatabase
from control_plane.storage.models import TABLES

NAMES = sorted(path.stem for path in MIGRATIONS.glob("0*.py"))
RUNNERS = 4
MIGRATE = """
import sys
from pathlib import Path
from control_plane.storage.database import StateDatabase
database = StateDatabase(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*database.migrate(Path(sys.argv[2])))
"""


def test_migrations_make_the_tables_that_the_models_describe(
    database: StateDatabase, tmp_path: Path
) -> None:
    assert database.migrate(tmp_path) == []
    assert database.schema() == NAMES
    with database.connection() as db:
        for table in TABLES:
            name = table._meta.table_name
            columns = {column.name: column for column in db.get_columns(name)}
            fields = {f.column_name: f for f in table._meta.sorted_fields}
            assert columns.keys() == fields.keys(), name
            for column, field in fields.items():
                assert columns[column].null is field.null, (name, column)
            made = {tuple(index.columns) for index in db.get_indexes(name)}
            described = {
                tuple(getattr(table, column).column_name for column in columns)
                for columns, _ in table._meta.indexes
            }
            assert described <= made, name


def test_sqlite_is_set_up_for_several_writers_and_for_shrinking(tmp_path: Path) -> None:
    database = StateDatabase(f"sqlite:///{tmp_path}/state.db")
    database.migrate(tmp_path)
    with database.connection() as db:
        found = [
            db.execute_sql(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "foreign_keys", "auto_vacuum")
        ]
    assert found == ["wal", 1, 2]


def test_several_processes_may_migrate_at_once(database_url: str, tmp_path: Path) -> None:
    runners = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, database_url, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(RUNNERS)
    ]  # fmt: skip
    for runner in runners:
        assert runner.stdout.readline() == "ready\n"
    for runner in runners:
        runner.stdin.write("\n")
        runner.stdin.flush()
    applied = [runner.communicate(timeout=60)[0].split() for runner in runners]
    assert [runner.returncode for runner in runners] == [0] * RUNNERS
    assert sorted(applied) == [[]] * (RUNNERS - 1) + [NAMES]


def test_a_failed_migration_leaves_nothing_half_done(database_url: str, tmp_path: Path) -> None:
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    create = "def up(_m, db):\n    db.execute_sql('CREATE TABLE {} (id INTEGER)')\n"
    (migrations / "0001_good.py").write_text(create.format("good"))
    (migrations / "0002_bad.py").write_text(
        create.format("bad") + "    db.execute_sql('INSERT INTO nowhere VALUES (1)')\n"
    )
    database = StateDatabase(database_url)
    for _ in range(2):
        with pytest.raises(StorageError, match="nowhere"):
            database.migrate(tmp_path, migrations)
        with database.connection() as db:
            tables = set(db.get_tables())
        assert "good" in tables
        assert "bad" not in tables
    (migrations / "0002_bad.py").write_text(create.format("bad"))
    assert database.migrate(tmp_path, migrations) == ["0002_bad"]
    database.close()


def test_a_schema_of_a_newer_program_is_refused(database_url: str, tmp_path: Path) -> None:
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    for name in NAMES:
        (migrations / f"{name}.py").write_text((MIGRATIONS / f"{name}.py").read_text())
    (migrations / "9000_future.py").write_text("def up(_m, _db):\n    pass\n")
    database = StateDatabase(database_url)
    database.migrate(tmp_path, migrations)
    with pytest.raises(NewerSchema, match="9000_future"):
        database.migrate(tmp_path)
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "begin with"),
        ("mongo://x/y", "begin with"),
        ("sqlite:////proc/none/state.db", "unable to open"),
        ("postgresql://daq:secret@localhost", "names no database"),
        ("postgresql://daq:secret@[::1/daq", "begin with"),
        ("postgresql://daq:secret@127.0.0.1:1/daq", "refused"),
        ("postgresql://daq:secret@127.0.0.1:9/daq?nonsense=1", "nonsense"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    url: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=f"state database.*{said}") as caught:
        StateDatabase(url).migrate(tmp_path)
    assert "secret" not in str(caught.value)


def test_work_goes_on_after_a_restart_of_the_server(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    database = StateDatabase(postgres.create_database())
    database.migrate(tmp_path)
    accounts = Accounts(database)
    assert not accounts.has_users()
    postgres.stop()
    with pytest.raises(StorageError):
        accounts.has_users()
    postgres.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(StorageError):
            assert not accounts.has_users()
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the server is back, but not for us")
    database.close()


def test_a_server_that_never_answers_is_waited_for_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        accounts = Accounts(
            StateDatabase(f"postgresql://daq@127.0.0.1:{port}/daq?connect_timeout=2")
        )
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(StorageError, match="timeout"):
                accounts.has_users()
        assert time.monotonic() - began < 4


def test_a_lock_that_is_held_for_long_fails_the_query(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url = f"{postgres.create_database()}&options=-c%20lock_timeout%3D100ms"
    database, other = StateDatabase(url), StateDatabase(url)
    database.migrate(tmp_path)
    with other.connection() as db, db.atomic():
        db.execute_sql("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StorageError, match="lock timeout"):
            Accounts(database).has_users()
    assert not Accounts(database).has_users()
    for each in (database, other):
        each.close()
