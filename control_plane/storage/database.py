"""Opens the state database, SQLite or PostgreSQL, and brings its schema up to date."""

import contextlib
import fcntl
import importlib.util
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import peewee
from playhouse import db_url
from playhouse.migrations import Runner
from playhouse.pool import MaxConnectionsExceeded

from control_plane.errors import NewerSchema, StorageError
from control_plane.storage.models import current_database

log = logging.getLogger(__name__)

Engine = Literal["sqlite", "postgresql"]

MIGRATIONS = Path(__file__).parent / "migrations"
_ENGINES: dict[str, Engine] = {
    "sqlite": "sqlite",
    "postgres": "postgresql",
    "postgresql": "postgresql",
}
_MIGRATION_LOCK = 0x6461_7170_6C61_6E65
"""Key of PostgreSQL's advisory lock: "daqplane" in ASCII."""
_WAL_LIMIT_BYTES = 64 << 20
_VACUUM_PAGES = 2000
"""Free pages given back in one step, so that no writer waits for long."""
# The order matters: auto_vacuum set after journal_mode=wal is ignored.
_SQLITE_PRAGMAS = (
    ("auto_vacuum", 2),
    ("journal_mode", "wal"),
    ("synchronous", 1),
    ("foreign_keys", 1),
    ("journal_size_limit", _WAL_LIMIT_BYTES),
)
_SQLITE_OPTIONS: dict[str, Any] = {
    "pragmas": _SQLITE_PRAGMAS,
    "timeout": 5,
    # Without IMMEDIATE, a transaction that reads before it writes fails at once when another one
    # wrote in between: the busy time-out does not apply to that.
    "lock_type": "IMMEDIATE",
}
# Each may be set in the URL instead. A server that vanishes without a word is noticed in 10 s.
_POSTGRESQL_OPTIONS: dict[str, Any] = {
    "max_connections": 20,
    "timeout": 5,
    "stale_timeout": 300,
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "application_name": "daqplane",
    # As long as SQLite waits for a lock.
    "options": "-c lock_timeout=5s",
}
_PUT_BACK = "restart daqplane (a backup is put back by: daqplane restore)"
_PAUSE_PER_WAIT = 2.0
"""Nobody asks a server that is away for this many times as long as the last attempt took."""
_SHORTEST_PAUSE_S = 0.5


class StateDatabase:
    """The database behind every table of :mod:`control_plane.storage.models`.

    Connections belong to threads: work happens inside :meth:`connection`, and nobody holds one for
    longer than one piece of work.
    """

    def __init__(self, url: str) -> None:
        """Raises StorageError if no database can be meant by ``url``; connects later."""
        self.engine = _engine(url)
        try:
            self._database: Any = _open(url, self.engine)
        except (ValueError, TypeError) as exc:
            raise StorageError(reason=f"DATABASE_URL: {exc}") from exc
        self._away: tuple[float, str] = (0.0, "")
        """Until when (monotonic) the server is taken to be away, and why."""
        self._inode: tuple[int, int] | None = None
        """Device and inode of SQLite's file, once it was opened."""

    @property
    def file(self) -> Path | None:
        """Where SQLite keeps the data; ``None`` for PostgreSQL."""
        return Path(self._database.database).absolute() if self.engine == "sqlite" else None

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """Open this thread's connection, or use the one that is open, and close what was opened.

        Raises:
            StorageError: the database cannot be reached, is locked for long, or is damaged.
        """
        opened = self._connect()
        before = current_database.set(self._database)
        try:
            yield self._database
        except peewee.PeeweeException as exc:
            raise StorageError(reason=str(exc).strip()) from exc
        finally:
            current_database.reset(before)
            if opened:
                self._database.close()

    def _connect(self) -> bool:
        """Return whether a connection was opened. Many who ask, the monitor for each collector,
        must not all wait for a server that does not answer."""
        if not self._database.is_closed():
            # Whoever is amid a transaction must not wait here, in peewee's lock, for one who opens
            # a connection and waits for that transaction.
            return False
        self._refuse_another_file()
        began = time.monotonic()
        away_until, reason = self._away
        if began < away_until:
            raise StorageError(reason=reason)
        try:
            opened: bool = self._database.connect(reuse_if_open=True)
        except MaxConnectionsExceeded as exc:
            raise StorageError(reason=str(exc)) from exc
        except peewee.PeeweeException as exc:
            reason = str(exc).strip()
            if self.engine == "postgresql":
                now = time.monotonic()
                pause_s = max(_SHORTEST_PAUSE_S, _PAUSE_PER_WAIT * (now - began))
                self._away = (now + pause_s, reason)
            raise StorageError(reason=reason) from exc
        return opened

    def _refuse_another_file(self) -> None:
        """Keep SQLite from opening a file that was put in the place of the one in use.

        Two files would share one ``-shm``, which the second opening cuts to nothing under the first
        one's mapping: the process would die of SIGBUS (https://sqlite.org/howtocorrupt.html, 2.3).
        """
        if self.file is None:
            return
        try:
            status = self.file.stat()
        except FileNotFoundError:
            if self._inode is None:
                return
            reason = f"{self.file} was removed while in use; {_PUT_BACK}"
            raise StorageError(reason=reason) from None
        except OSError as exc:
            raise StorageError(reason=f"{self.file}: {exc.strerror}") from exc
        inode = (status.st_dev, status.st_ino)
        if self._inode is None:
            self._inode = inode
        elif inode != self._inode:
            raise StorageError(reason=f"{self.file} was replaced while in use; {_PUT_BACK}")

    def close(self) -> None:
        """Close the connections that are kept for later; work may go on with new ones."""
        if self.engine == "postgresql":
            self._database.close_idle()

    def migrate(self, lock_directory: Path, migrations: Path = MIGRATIONS) -> list[str]:
        """Apply pending migrations and return their names; one process at a time does it.

        Raises:
            NewerSchema: a newer program has migrated this database.
            StorageError: see :meth:`connection`; a failed migration is rolled back whole.
        """
        with self.connection() as database, self._migration_lock(lock_directory):
            runner = Runner(database, str(migrations))
            if unknown := [each.name for each in runner.status() if each.path is None]:
                raise NewerSchema(migrations=", ".join(unknown))
            applied: list[str] = runner.up()
            return applied

    def schema(self) -> list[str]:
        """Return the names of the migrations that were applied, in order.

        Raises:
            StorageError: see :meth:`connection`.
        """
        with self.connection() as database:
            return sorted(Runner(database, str(MIGRATIONS)).applied())

    @contextlib.contextmanager
    def _migration_lock(self, directory: Path) -> Iterator[None]:
        """Keep every other migrating process out; those of other machines too, on PostgreSQL."""
        if self.engine == "sqlite":
            with (directory / "migrate.lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            return
        self._database.execute_sql("SET lock_timeout = 0")
        self._database.execute_sql("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        try:
            yield
        finally:
            self._database.execute_sql("SELECT pg_advisory_unlock(%s)", (_MIGRATION_LOCK,))
            self._database.execute_sql("RESET lock_timeout")

    def sync(self) -> None:
        """Let what was committed outlast a power cut; PostgreSQL does so at each commit."""
        if self.file is None:
            return
        with contextlib.suppress(OSError):  # no write-ahead log: it was written back
            number = os.open(f"{self.file}-wal", os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)

    def checkpoint(self) -> None:
        """Let SQLite's files shrink: give free pages back, write the write-ahead log back, cut it.

        PostgreSQL does both by itself.

        Raises:
            StorageError: see :meth:`connection`.
        """
        if self.engine != "sqlite":
            return
        with self.connection() as database:
            free = _pragma(database, "freelist_count")
            for _ in range(0, free, _VACUUM_PAGES):
                # Through execute() it would free one single page.
                database.connection().executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
            busy = _pragma(database, "wal_checkpoint(TRUNCATE)")
        if busy:
            log.warning("write-ahead log was not cut, somebody reads", extra={"freed_pages": free})


def _engine(url: str) -> Engine:
    try:
        parts = urlsplit(url)
        engine = _ENGINES[parts.scheme]
    except (ValueError, KeyError):
        reason = "DATABASE_URL must begin with sqlite:/// or postgresql://"
        raise StorageError(reason=reason) from None
    if not parts.path.strip("/"):
        # The URL itself may hold a password, so it is not repeated.
        example = "sqlite:////var/lib/daq/state.db or postgresql://user:password@host/database"
        raise StorageError(reason=f"DATABASE_URL names no database; it looks like {example}")
    return engine


def _open(url: str, engine: Engine) -> Any:
    if engine == "sqlite":
        return db_url.connect(url, **_SQLITE_OPTIONS)
    if importlib.util.find_spec("psycopg") is None:
        reason = (
            "DATABASE_URL names PostgreSQL, whose driver is missing: pip install psycopg[binary]"
        )
        raise StorageError(reason=reason)
    parts = urlsplit(url)
    given = parse_qs(parts.query, keep_blank_values=True)
    return db_url.connect(
        f"postgresql+pool{url[len(parts.scheme) :]}",
        unquote_password=True,
        unquote_user=True,
        prefer_psycopg3=True,
        **{name: value for name, value in _POSTGRESQL_OPTIONS.items() if name not in given},
    )


def _pragma(database: Any, name: str) -> int:
    """Return the first number that the pragma answers."""
    number: int = database.execute_sql(f"PRAGMA {name}").fetchone()[0]
    return number
