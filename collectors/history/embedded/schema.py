"""The files of the embedded store, as writer and readers agree on them.

``YYYY-MM-DD.db`` holds the samples of one UTC day and the names of its series, so that each day can
be read, copied and deleted alone. ``catalogue.db`` holds the newest value of every series. Both are
SQLite in WAL mode, so that readers and the one writer never wait for each other.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

SCHEMA_VERSION = 1
"""Kept in ``PRAGMA user_version``; 0 is a file that has no tables yet."""

CATALOGUE = "catalogue.db"
NS_PER_DAY = 86_400 * 10**9

# ``value`` has no type on purpose: SQLite then keeps integer, real and text as they were given.
DAY_TABLES = (
    "CREATE TABLE series (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)",
    """CREATE TABLE point (
        series_id INTEGER NOT NULL,
        t_ns INTEGER NOT NULL,
        value,
        kind INTEGER NOT NULL,
        quality INTEGER NOT NULL,
        code INTEGER NOT NULL,
        received_ns INTEGER NOT NULL,
        PRIMARY KEY (series_id, t_ns)
    ) WITHOUT ROWID""",
)
CATALOGUE_TABLES = (
    """CREATE TABLE latest (
        key TEXT PRIMARY KEY,
        t_ns INTEGER NOT NULL,
        value,
        kind INTEGER NOT NULL,
        quality INTEGER NOT NULL,
        code INTEGER NOT NULL,
        received_ns INTEGER NOT NULL
    ) WITHOUT ROWID""",
)

_UNIX_EPOCH = date(1970, 1, 1).toordinal()
_DAY_FILE = re.compile(r"(\d{4}-\d{2}-\d{2})\.db(.*)")
_BUSY_S = 2.0


def day_of(t_ns: int) -> date:
    """Return the UTC day of a time in ns since the Unix epoch."""
    return date.fromordinal(_UNIX_EPOCH + t_ns // NS_PER_DAY)


def start_of(day: date) -> int:
    """Return when the UTC day begins, ns since the Unix epoch."""
    return (day.toordinal() - _UNIX_EPOCH) * NS_PER_DAY


def day_path(directory: Path, day: date) -> Path:
    """Return the file of one UTC day."""
    return directory / f"{day.isoformat()}.db"


def files_by_day(directory: Path) -> dict[date, list[Path]]:
    """Return every file that belongs to a day: database, WAL and those set aside as damaged.

    Raises:
        OSError: the directory cannot be read.
    """
    files: dict[date, list[Path]] = {}
    for path in directory.iterdir():
        match = _DAY_FILE.fullmatch(path.name)
        if match is None:
            continue
        try:
            day = date.fromisoformat(match[1])
        except ValueError:
            continue
        files.setdefault(day, []).append(path)
    return files


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection to a file of this schema, or ``None`` if there is none yet.

    Raises:
        sqlite3.Error: the file cannot be read, or was written by a newer program.
    """
    connection = _connect_read_only(path)
    if connection is None:
        yield None
        return
    with closing(connection):
        yield connection if schema_version(connection) else None


def _connect_read_only(path: Path) -> sqlite3.Connection | None:
    if not path.exists():
        return None
    try:
        return sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=_BUSY_S)
    except sqlite3.OperationalError:
        if path.exists():
            raise
        return None


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of an open file; 0 if it has no tables yet.

    Raises:
        sqlite3.NotSupportedError: the file was written by a newer program.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise sqlite3.NotSupportedError(
            f"schema version {version}, this program knows up to {SCHEMA_VERSION}; "
            "use the newer program again or move the file away"
        )
    return version
