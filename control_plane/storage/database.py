"""Opens the state database and brings its schema up to date."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
from playhouse import db_url
from playhouse.migrations import Runner

from control_plane.errors import StorageError
from control_plane.storage.models import database_proxy

_MIGRATIONS = Path(__file__).parent / "migrations"
_WAL_LIMIT_BYTES = 64 << 20
# The order matters: auto_vacuum set after journal_mode=wal is ignored.
_SQLITE_PRAGMAS = (
    ("auto_vacuum", 2),
    ("journal_mode", "wal"),
    ("synchronous", 1),
    ("foreign_keys", 1),
    ("journal_size_limit", _WAL_LIMIT_BYTES),
)


class StateDatabase:
    """The database behind every table of :mod:`control_plane.storage.models`.

    Connections belong to threads: work happens inside :meth:`connection`, and nobody holds one for
    longer than one piece of work.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            self._database: Any = db_url.connect(url, **_connect_options(url))
        except (ValueError, RuntimeError, ImportError, peewee.PeeweeException) as exc:
            raise StorageError(reason=f"DATABASE_URL: {exc}") from exc
        database_proxy.initialize(self._database)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """Open this thread's connection, or use the one that is open, and close what was opened.

        Raises:
            StorageError: the database cannot be reached, is locked for long, or is damaged.
        """
        opened = False
        try:
            opened = self._database.connect(reuse_if_open=True)
            yield self._database
        except peewee.PeeweeException as exc:
            raise StorageError(reason=str(exc)) from exc
        finally:
            if opened:
                self._database.close()

    def migrate(self, lock_directory: Path) -> list[str]:
        """Apply pending migrations and return their names; one process at a time does it.

        Raises:
            StorageError: see :meth:`connection`; a failed migration is rolled back whole.
        """
        lock = lock_directory / "migrate.lock"
        with lock.open("w") as file, self.connection() as database:
            fcntl.flock(file, fcntl.LOCK_EX)
            applied: list[str] = Runner(database, str(_MIGRATIONS)).up()
            return applied

    def checkpoint(self) -> None:
        """Write SQLite's write-ahead log back and cut it; other engines need nothing."""
        if self._url.startswith("sqlite"):
            with self.connection() as database:
                database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _connect_options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        # Without IMMEDIATE, a transaction that reads before it writes fails at once when another
        # one wrote in between: the busy time-out does not apply to that.
        return {"pragmas": _SQLITE_PRAGMAS, "timeout": 5, "lock_type": "IMMEDIATE"}
    return {}
