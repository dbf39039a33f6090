"""The files of the embedded store as their one writer holds them open."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from collectors.history.embedded.schema import LIVE, SCHEMA_VERSION, schema_version

_log = logging.getLogger(__name__)

_OPEN_FILES = 4
"""Kept open beside ``live.db``: of today and its neighbours, and a month of rollups."""
_BUSY_S = 0.5
_WAL_BYTES = 8 << 20
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA cache_size=-16384",
    # Some systems have SQLite overwrite what is deleted, which doubles what is written.
    "PRAGMA secure_delete=OFF",
    "PRAGMA journal_size_limit=67108864",
)


@dataclass(slots=True, kw_only=True)
class StoreFile:
    """An open file and the ids that it gives to series."""

    path: Path
    connection: sqlite3.Connection
    series_ids: dict[str, int] = field(default_factory=dict)

    def ids_of(self, keys: Iterable[str]) -> dict[str, int]:
        """Return the id of each series, new ones for those that have none; in a transaction."""
        new = [(key,) for key in keys if key not in self.series_ids]
        if new:
            self.connection.executemany("INSERT OR IGNORE INTO series (key) VALUES (?)", new)
            self.series_ids = dict(self.connection.execute("SELECT key, id FROM series"))
        return self.series_ids


class StoreFiles:
    """Opens files when they are needed, few at a time; sets aside what is damaged."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, StoreFile] = OrderedDict()
        self._unsynced: set[Path] = set()

    @contextmanager
    def writing(self, path: Path, tables: Sequence[str]) -> Iterator[StoreFile]:
        """Yield a file in a transaction; a damaged one is renamed, so that the next try works.

        Raises:
            sqlite3.Error: the file cannot be written now.
        """
        file = self.reading(path, tables)
        known = file.series_ids
        try:
            with _transaction(file.connection):
                yield file
        except BaseException as exc:
            file.series_ids = known
            if isinstance(exc, sqlite3.DatabaseError):
                self._set_aside_if_damaged(path, exc)
            raise
        self._unsynced.add(path)

    def reading(self, path: Path, tables: Sequence[str]) -> StoreFile:
        """Return a file to read from in the writer's own process; a new one if it is damaged.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        try:
            return self._opened(path, tables)
        except sqlite3.DatabaseError as exc:
            self._set_aside_if_damaged(path, exc)
            return self._opened(path, tables)

    def sync(self, path: Path | None = None) -> None:
        """Wait until the disk has all that was written, or that of one file.

        SQLite itself does so only at a checkpoint (``synchronous=NORMAL``).

        Raises:
            OSError: the disk did not confirm.
        """
        for written in tuple(self._unsynced if path is None else self._unsynced & {path}):
            try:
                # Nothing locks the WAL file itself, so closing it here frees no lock of SQLite's.
                fd = os.open(written.with_name(written.name + "-wal"), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._note_missing_wal(written)
            else:
                try:
                    os.fdatasync(fd)
                finally:
                    os.close(fd)
            self._unsynced.discard(written)

    def close(self, path: Path | None = None) -> None:
        """Close all files, or one; they are opened again when needed."""
        for opened in [path] if path is not None else list(self._open):
            file = self._open.pop(opened, None)
            if file is not None:
                file.connection.close()

    def _opened(self, path: Path, tables: Sequence[str]) -> StoreFile:
        file = self._open.get(path)
        if file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            while len(self._open) > _OPEN_FILES:
                self.close(next(iter(self._open)))
            connection = _open_file(path, tables)
            file = StoreFile(path=path, connection=connection)
            file.series_ids.update(connection.execute("SELECT key, id FROM series"))
            self._open[path] = file
        self._open.move_to_end(path)
        return file

    def _note_missing_wal(self, path: Path) -> None:
        """Closing a database ends its WAL; if the database is gone too, somebody deleted it."""
        if not path.exists():
            _log.error("a history file was deleted while in use", extra={"file": str(path)})
            self.close(path)

    def _set_aside_if_damaged(self, path: Path, exc: sqlite3.DatabaseError) -> None:
        """Rename a file that SQLite cannot read, so that storing goes on in a new one."""
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return
        self.close(path)
        aside = f"{path.name}.damaged-{time.time_ns()}"
        for suffix in ("", "-wal", "-shm"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                source.rename(path.with_name(aside + suffix))
        facts = {"file": str(path), "kept_as": aside, "reason": str(exc)}
        _log.error("a history file is damaged; set aside and begun anew", extra=facts)


def _open_file(path: Path, tables: Sequence[str]) -> sqlite3.Connection:
    """Open a file for writing, making it first if there is none."""
    if not path.exists():
        # A reader that met a file half made could not open it, so it gets its name when complete.
        temporary = path.with_name(path.name + ".new")
        temporary.unlink(missing_ok=True)
        _configured(temporary, tables).close()
        temporary.rename(path)
    return _configured(path, tables)


def _configured(path: Path, tables: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        # Little at a time comes into ``live.db``, and a whole page is written for each byte of it.
        page_bytes = 1024 if path.name.startswith(LIVE) else 8192
        connection.execute(f"PRAGMA page_size={page_bytes}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_BYTES // page_bytes}")
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if schema_version(connection) == 0:
            with _transaction(connection):
                for table in tables:
                    connection.execute(table)
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Take the write lock at once: a lock taken later fails without waiting."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
