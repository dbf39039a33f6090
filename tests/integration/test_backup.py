"""Backup and restore: between both engines, while writers write, and with damaged archives."""

import errno
import hashlib
import itertools
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from postgres_server import PostgresServer

from collectors.contract.points import Quality, Sample
from collectors.history.batch import decode, encode
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.segment import Position
from collectors.history.spool_reader import Record
from control_plane.backup.archive import MANIFEST, Archive
from control_plane.backup.create import BackupReport, back_up
from control_plane.backup.restore import RestoreReport, check, restore
from control_plane.clock import SystemClock
from control_plane.console import build_console, prepare_home
from control_plane.domain.audit import AuditEvent
from control_plane.domain.config_revision import ConfigOrigin, ConfigRevision
from control_plane.domain.health import HealthStatus, ProcessHealth
from control_plane.domain.process import Desired
from control_plane.errors import (
    ArchiveTooNew,
    BackupFailed,
    BadArchive,
    NewerSchema,
    RestoreFailed,
    RestoreInterrupted,
    StillRunning,
)
from control_plane.settings import Settings, load_settings
from control_plane.storage.accounts import Accounts
from control_plane.storage.api_tokens import ApiTokens, TokenFacts
from control_plane.storage.audit import AuditTrail
from control_plane.storage.audit_check import check_chain
from control_plane.storage.audit_seal import AuditSeal
from control_plane.storage.config_revisions import ConfigRevisions
from control_plane.storage.database import StateDatabase
from control_plane.storage.desired_states import DesiredStates
from control_plane.storage.models import AuditEntry
from control_plane.storage.process_history import ProcessHistory

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
TEXT = 'display_name = "一号线 – press"\n'
REVISION = ConfigRevision(
    id=0,
    collector="line1",
    revision="0123456789abcdef",
    at=NOW,
    origin=ConfigOrigin.APPLIED,
    actor="alice",
    comment="",
    size_bytes=len(TEXT.encode()),
)
EVENT = AuditEvent(
    at=NOW, actor="bob", origin="::1", action="process.stop", target="line1", outcome="done"
)


def quiet(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


def installation(home: Path, url: str = "") -> Settings:
    """Return the settings of an installation with something in every table that is kept."""
    env = {"DAQ_HOME": str(home)} | ({"DATABASE_URL": url} if url else {})
    settings = load_settings(env)
    prepare_home(home)
    return settings


def fill(settings: Settings) -> StateDatabase:
    (settings.collectors_dir / "line1.toml").write_text(TEXT, encoding="utf-8")
    (settings.collectors_dir / "line1.toml").chmod(0o600)
    (settings.home / "extra.toml").write_text("x = 1\n")
    (settings.home / "pki" / "opcua").mkdir(parents=True)
    (settings.home / "pki" / "opcua" / "client.pem").write_text("secret key")
    (settings.home / "pki" / "opcua" / "client.pem").chmod(0o600)
    with sqlite3.connect(settings.history_dir / "2026-01-31.db") as day:
        day.execute("CREATE TABLE point (t INTEGER)")
        day.executemany("INSERT INTO point VALUES (?)", [(n,) for n in range(1000)])
    day.close()
    database = StateDatabase(settings.database_url)
    database.migrate(settings.home / "run")
    accounts, history = Accounts(database), ProcessHistory(database)
    accounts.add_user("alice", "admin", "hash", NOW)
    facts = TokenFacts(name="ci", role="viewer", created_at=NOW)
    ApiTokens(database).add(facts, "token-hash")
    accounts.open_session("alice", "session", "csrf", NOW)
    AuditTrail(database, AuditSeal(settings.home)).record(EVENT)
    DesiredStates(database).want("line1", Desired.STOP, "bob", NOW)
    history.note_incarnation("line1", 7, NOW, NOW)
    health = ProcessHealth(
        status=HealthStatus.WARNING, score=83.123456789, confidence=1.0, since=NOW, checks=()
    )
    history.record_health(NOW, [(f"line{n}", health) for n in range(6_000)])
    ConfigRevisions(database).add(REVISION, TEXT)
    return database


def contents(database: StateDatabase) -> dict[str, list[tuple[object, ...]]]:
    with database.connection() as db:
        return {
            table: sorted(
                tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
                for row in db.execute_sql(f"SELECT * FROM {table}").fetchall()
            )
            for table in ("users", "api_tokens", "audit", "restarts", "incarnations",
                          "desired_states", "health_history", "config_texts")
        }  # fmt: skip


def make(settings: Settings, database: StateDatabase, file: Path) -> BackupReport:
    return back_up(settings, database, SystemClock(), file, with_history=True, progress=quiet)


def put_back(settings: Settings, file: Path) -> RestoreReport:
    return restore(settings, SystemClock(), file, actor="console:test", progress=quiet)


@pytest.fixture
def urls(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    def make_url(engine: str) -> str:
        if engine == "sqlite":
            return ""
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.create_database()

    return make_url


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole backup of a filled installation on SQLite."""
    directory = tmp_path_factory.mktemp("original")
    settings = installation(directory / "source")
    make(settings, fill(settings), directory / "daq.zip")
    return directory / "daq.zip"


@pytest.fixture
def archive(original: Path, tmp_path: Path) -> Path:
    """A copy of the backup that the test may damage."""
    return Path(shutil.copy(original, tmp_path))


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
def test_a_backup_of_either_engine_is_restored_into_either(
    source: str, target: str, urls: Callable[[str], str], tmp_path: Path
) -> None:
    here = installation(tmp_path / "here", urls(source))
    database = fill(here)
    report = make(here, database, tmp_path / "daq.zip")
    there = installation(tmp_path / "there", urls(target))
    restored = put_back(there, tmp_path / "daq.zip")
    assert (report.rows, report.files, report.history_files) == (6_007, 4, 1)
    assert (restored.rows, restored.files, restored.history_files) == (6_007, 4, 1)
    found = StateDatabase(there.database_url)
    before, after = contents(database), contents(found)
    chain = check_chain(AuditTrail(found, AuditSeal(there.home)))
    assert (chain.is_sound, chain.entries, chain.anchored_id) == (True, 2, 1)
    assert after.pop("audit")[-1][4] == "backup.restore"
    assert len(before.pop("audit")) == 1
    assert before == after
    assert Accounts(found).session("session", NOW) is None
    Accounts(found).add_user("bob", "viewer", "hash", NOW)  # the next free number is known
    assert found.migrate(tmp_path) == []
    line1 = there.collectors_dir / "line1.toml"
    assert line1.read_text(encoding="utf-8") == TEXT
    assert line1.stat().st_mode & 0o777 == 0o600
    assert (there.home / "extra.toml").read_text() == "x = 1\n"
    key = there.home / "pki" / "opcua" / "client.pem"
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("secret key", 0o600)
    with sqlite3.connect(there.history_dir / "2026-01-31.db") as day:
        assert day.execute("SELECT sum(t) FROM point").fetchone() == (499_500,)
    day.close()
    for each in (database, found):
        each.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_what_was_there_before_a_restore_is_kept(
    engine: str, urls: Callable[[str], str], archive: Path, tmp_path: Path
) -> None:
    settings = installation(tmp_path / "home", urls(engine))
    database = StateDatabase(settings.database_url)
    database.migrate(settings.home / "run")
    Accounts(database).add_user("carol", "viewer", "hash", NOW)
    (settings.collectors_dir / "line9.toml").write_text("x = 9\n")
    database.close()
    kept = Path(put_back(settings, archive).kept)
    database = StateDatabase(settings.database_url)
    assert [user.name for user in Accounts(database).users()] == ["alice"]
    assert not (settings.collectors_dir / "line9.toml").exists()
    assert (kept / "collectors.d" / "line9.toml").read_text() == "x = 9\n"
    if engine == "sqlite":
        old = StateDatabase(f"sqlite:///{kept / 'state.db'}")
        assert [user.name for user in Accounts(old).users()] == ["carol"]
    else:
        with database.connection() as db:
            schema = kept.name.lower().replace("-", "_")
            names = db.execute_sql(f"SELECT name FROM {schema}.users").fetchall()
        assert names == [("carol",)]
    database.close()
    assert not list(settings.home.glob(".restoring-*"))
    database.close()


def test_a_backup_is_of_one_moment_while_others_write(database_url: str, tmp_path: Path) -> None:
    settings = installation(tmp_path / "home", database_url)
    database = fill(settings)
    audit = AuditTrail(database, AuditSeal(settings.home))
    history = ProcessHistory(database)
    stop = threading.Event()

    def write() -> None:
        # Never more restarts than audit entries, at any moment.
        number = 0
        while not stop.is_set():
            number += 1
            audit.record(EVENT)
            history.note_incarnation("line1", number, NOW, NOW + timedelta(seconds=number))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            make(settings, database, tmp_path / f"{number}.zip")
    finally:
        stop.set()
        writer.join()
    for number in range(3):
        with Archive(tmp_path / f"{number}.zip") as archive:
            archive.verify()
            audited = len(list(archive.lines("state/audit.jsonl"))) - 1
            restarts = len(list(archive.lines("state/restarts.jsonl"))) - 1
        assert 0 <= audited - restarts <= 1
    database.close()


def test_the_progress_of_backup_and_restore_rises_to_the_end(tmp_path: Path) -> None:
    settings, file = installation(tmp_path / "home"), tmp_path / "daq.zip"
    seen: list[float] = []

    def watch(done: int, total: int) -> None:
        seen.append(done / total)

    clock, database = SystemClock(), fill(settings)
    back_up(settings, database, clock, file, with_history=True, progress=watch)
    assert seen == sorted(seen)
    assert 0 < seen[0] < 0.5 < seen[-1] <= 1
    seen.clear()
    restore(settings, clock, file, actor="console:test", progress=watch)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_the_archive_is_for_its_owner_alone_and_without_what_lets_one_in_now(
    archive: Path,
) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(archive) as whole:
        names = whole.namelist()
    assert names[-1] == MANIFEST
    assert "state/users.jsonl" in names
    short_lived = {"sessions", "setup_tokens", "pending_commands", "idempotent_answers"}
    assert not {f"state/{name}.jsonl" for name in short_lived} & set(names)
    assert list(archive.parent.glob(".*.part")) == []


def test_a_failed_backup_leaves_the_archive_of_before(archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    settings = installation(tmp_path / "home")
    database = fill(settings)
    broken = settings.collectors_dir / "line2.toml"
    broken.symlink_to("/proc/self/mem")  # opens, but cannot be read
    with pytest.raises(BackupFailed, match=r"daq\.zip"):
        make(settings, database, archive)
    assert archive.read_bytes() == before
    assert list(archive.parent.glob(".*.part")) == []
    with pytest.raises(BackupFailed, match="No such file"):
        make(settings, database, tmp_path / "nowhere" / "daq.zip")


def test_a_day_file_that_cannot_be_read_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    settings = installation(tmp_path / "home")
    database = fill(settings)
    (settings.history_dir / "2026-01-30.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    report = make(settings, database, tmp_path / "daq.zip")
    assert [each.name for each in report.skipped] == ["history/2026-01-30.db"]
    assert report.history_files == 1
    check(tmp_path / "daq.zip", quiet)


def rewrite(archive: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(archive) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    change(members)
    with zipfile.ZipFile(archive, "w") as whole:
        for name, content in members.items():
            whole.writestr(name, content)


def with_manifest(**facts: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members[MANIFEST] = json.dumps(json.loads(members[MANIFEST]) | facts).encode()

    return change


def renamed(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        members[name] = members.pop(manifest["members"][0]["name"])
        manifest["members"][0]["name"] = name
        members[MANIFEST] = json.dumps(manifest).encode()

    return change


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (with_manifest(format=2), ArchiveTooNew, "newer daqplane"),
        (with_manifest(schema=["0001_initial", "9999_future"]), NewerSchema, "9999_future"),
        (with_manifest(schema=["0002_desired_state"]), BadArchive, "schema"),
        (with_manifest(members="many"), BadArchive, "not of this program"),
        (lambda members: members.pop(MANIFEST), BadArchive, "no readable manifest"),
        (lambda members: members.update({MANIFEST: b"[]"}), BadArchive, "no readable manifest"),
        (lambda members: members.pop("extra.toml"), BadArchive, "differ"),
        (lambda members: members.update({"more": b""}), BadArchive, "differ"),
        (lambda members: members.update({"extra.toml": b"x = 2\n"}), BadArchive, "extra.toml"),
        (renamed("../escape"), BadArchive, "no name of a member"),
        (renamed("/etc/passwd"), BadArchive, "no name of a member"),
        (renamed("run/historian.lock"), BadArchive, "no name of a member"),
        (renamed("collectors.d/../../x"), BadArchive, "no name of a member"),
    ],
)
def test_an_archive_that_is_not_as_it_was_written_changes_nothing(
    change: Callable[[dict[str, bytes]], None],
    error: type[Exception],
    said: str,
    archive: Path,
    tmp_path: Path,
) -> None:
    rewrite(archive, change)
    settings = installation(tmp_path / "home")
    (settings.collectors_dir / "line9.toml").write_text("x = 9\n")
    with pytest.raises(error, match=said):
        put_back(settings, archive)
    assert (settings.collectors_dir / "line9.toml").exists()
    assert not (tmp_path / "escape").exists()
    assert {path.name[:9] for path in settings.home.iterdir()}.isdisjoint(
        {".restorin", "replaced-"}
    )


def test_no_damaged_byte_goes_unnoticed(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive) as members:
        largest = members.getinfo("state/health_history.jsonl")
    for place in range(largest.header_offset + 100, largest.compress_size, 4001):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BadArchive):
            check(damaged, quiet)
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:length])
        with pytest.raises(BadArchive):
            check(damaged, quiet)


def test_a_restore_that_fails_late_brings_everything_back(
    database_url: str, archive: Path, tmp_path: Path
) -> None:
    settings = installation(tmp_path / "home", database_url)
    database = StateDatabase(settings.database_url)
    database.migrate(settings.home / "run")
    Accounts(database).add_user("carol", "viewer", "hash", NOW)
    (settings.collectors_dir / "line9.toml").write_text("x = 9\n")
    with pytest.MonkeyPatch.context() as patch:
        move = shutil.move

        def fail_late(source: Path, target: Path) -> object:
            if target == settings.home / "extra.toml":
                raise OSError(errno.ENOSPC, "No space left on device")
            return move(source, target)

        patch.setattr(shutil, "move", fail_late)
        with pytest.raises(RestoreFailed, match="No space left"):
            put_back(settings, archive)
    assert [user.name for user in Accounts(database).users()] == ["carol"]
    assert (settings.collectors_dir / "line9.toml").exists()
    assert not list(settings.home.glob("replaced-*"))
    assert put_back(settings, archive).rows == 6_007
    database.close()
    restored = StateDatabase(settings.database_url)
    assert [user.name for user in Accounts(restored).users()] == ["alice"]
    restored.close()


def test_history_is_copied_while_the_historian_stores(tmp_path: Path) -> None:
    here, there = installation(tmp_path / "here"), installation(tmp_path / "there")
    database = StateDatabase(here.database_url)
    database.migrate(here.home / "run")
    start_ns = time.time_ns() - 3600 * 10**9
    ready, stop = threading.Event(), threading.Event()

    def write() -> None:
        store = EmbeddedStore(here.history_dir)
        for number in itertools.count(1):
            at, good = start_ns + number * 10**9, Quality.GOOD
            sample = Sample(point="plc/x", value=number, quality=good, source_ns=at, received_ns=at)
            end = Position(segment=1, offset=0, sequence=number)
            batch = decode(encode([sample]))
            store.append("line1", [Record(sequence=number, wall_ns=at, batch=batch, end=end)])
            if number == 100:
                ready.set()
            if stop.is_set():
                break
        store.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert ready.wait(30)
        report = make(here, database, tmp_path / "daq.zip")
    finally:
        stop.set()
        writer.join()
    assert report.skipped == ()
    put_back(there, tmp_path / "daq.zip")
    end_ns = start_ns + 10**9 * 10**6
    found = EmbeddedReader(there.history_dir).range("line1/plc/x", start_ns, end_ns, buckets=None)
    values = [sample.value for sample in found.samples]
    assert len(values) >= 100
    assert values == list(range(1, len(values) + 1))


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from control_plane.backup.restore import restore
from control_plane.clock import SystemClock
from control_plane.settings import load_settings
from control_plane.storage.audit_seal import AuditSeal
moves, move = int(sys.argv[3]), shutil.move
def counted(source, target):
    global moves
    moves -= 1
    if moves < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return move(source, target)
shutil.move = counted
AuditSeal.anchor = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
settings = load_settings({"DAQ_HOME": sys.argv[1]})
restore(settings, SystemClock(), Path(sys.argv[2]), actor="x", progress=lambda *_: None)
"""


BEFORE_THE_ANCHOR = 1000


@pytest.mark.parametrize("moves", [0, 1, 3, 5, BEFORE_THE_ANCHOR])
def test_a_restore_that_is_killed_is_seen_and_repeated(
    moves: int, archive: Path, tmp_path: Path
) -> None:
    settings = installation(tmp_path / "home")
    database = StateDatabase(settings.database_url)
    database.migrate(settings.home / "run")
    Accounts(database).add_user("carol", "viewer", "hash", NOW)
    (settings.collectors_dir / "line9.toml").write_text("x = 9\n")
    command = [sys.executable, "-c", KILLED, str(settings.home), str(archive), str(moves)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(RestoreInterrupted, match="Repeat it"):
        build_console(settings)
    put_back(settings, archive)
    console = build_console(settings)
    assert [user.name for user in console.accounts.users()] == ["alice"]
    assert [path.name for path in settings.collectors_dir.iterdir()] == ["line1.toml"]
    kept = [path.read_text() for path in settings.home.glob("replaced-*/collectors.d/line9.toml")]
    assert kept == ["x = 9\n"]


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("lock", ["historian.lock", "lock/line1.lock"])
def test_nothing_is_restored_under_a_running_process(
    lock: str, archive: Path, tmp_path: Path
) -> None:
    settings = installation(tmp_path / "home")
    path = settings.home / "run" / lock
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(StillRunning, match=path.stem):
        put_back(settings, archive)
    holder.communicate(timeout=30)
    assert put_back(settings, archive).rows == 6_007


def test_a_backup_of_an_older_schema_is_brought_up_to_date(archive: Path, tmp_path: Path) -> None:
    def older(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        manifest["schema"] = ["0001_initial"]
        gone = ("state/desired_states.jsonl", "state/config_texts.jsonl")
        manifest["members"] = [m for m in manifest["members"] if m["name"] not in gone]
        for name in gone:
            members.pop(name)
        for table, newer in (("users", 1), ("api_tokens", 3), ("audit", 1)):
            name = f"state/{table}.jsonl"
            rows = [json.loads(line)[:-newer] for line in members[name].splitlines()]
            members[name] = "\n".join([*map(json.dumps, rows), ""]).encode()
            (member,) = [m for m in manifest["members"] if m["name"] == name]
            member["size_bytes"] = len(members[name])
            member["sha256"] = hashlib.sha256(members[name]).hexdigest()
        members[MANIFEST] = json.dumps(manifest).encode()

    rewrite(archive, older)
    settings = installation(tmp_path / "home")
    assert put_back(settings, archive).rows == 6_005
    console = build_console(settings)
    assert console.applied_migrations == ()
    assert [user.name for user in console.accounts.users()] == ["alice"]
    with console.database.connection():
        assert AuditEntry.select().count() == 2
