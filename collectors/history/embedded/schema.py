"""The files of the embedded store, as writer and readers agree on them.

Samples come into ``live.db`` as the batches that they were spooled in. Some minutes later they are
sealed: moved into ``YYYY-MM-DD.db`` of their UTC day, as compressed chunks, one a series and hour.
When an hour is over, its chunks become one, and their extremes, sums and counts a minute and an
hour go into ``rollup-YYYY-MM.db``, which outlives the days. Each file has its own names, so it can
be read, copied and deleted alone.

All are SQLite in WAL mode, so that readers and the one writer never wait for each other. Who reads
looks into ``live.db`` first: what is sealed meanwhile is then found twice, never missed.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

SCHEMA_VERSION = 2
"""Kept in ``PRAGMA user_version``; 0 is a file that has no tables yet."""

LIVE = "live.db"
NS_PER_DAY = 86_400 * 10**9

_SERIES = "CREATE TABLE series (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE) STRICT"
LIVE_TABLES = (
    _SERIES,
    # The points of one poll group, as 32-bit ids of series in their order.
    """CREATE TABLE point_table (
        id INTEGER PRIMARY KEY,
        series BLOB NOT NULL UNIQUE
    ) STRICT""",
    """CREATE TABLE table_series (
        series_id INTEGER NOT NULL,
        table_id INTEGER NOT NULL,
        PRIMARY KEY (series_id, table_id)
    ) STRICT, WITHOUT ROWID""",
    # A record of a spool is known by its place and its time, as a spool can be begun anew.
    """CREATE TABLE batch (
        id INTEGER PRIMARY KEY,
        table_id INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        put_ns INTEGER NOT NULL,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (table_id, sequence, put_ns)
    ) STRICT""",
    # Batches of a table up to this one are sealed. They are deleted later, many at once and in
    # the order in which they lie on the disk, as a page is written for each single row.
    """CREATE TABLE sealed (
        table_id INTEGER PRIMARY KEY,
        batch_id INTEGER NOT NULL
    ) STRICT""",
    """CREATE VIEW waiting AS SELECT batch.* FROM batch
        LEFT JOIN sealed USING (table_id) WHERE id > ifnull(batch_id, 0)""",
    # Hours since 1970 of which chunks are not yet one, so that their rollups do not hold.
    "CREATE TABLE pending (hour INTEGER PRIMARY KEY) STRICT",
    # The newest sealed sample; newer ones are in the batches. ``value`` keeps its type.
    """CREATE TABLE latest (
        series_id INTEGER PRIMARY KEY,
        sequence INTEGER NOT NULL,
        t_ns INTEGER NOT NULL,
        value ANY,
        kind INTEGER NOT NULL,
        quality INTEGER NOT NULL,
        code INTEGER NOT NULL,
        received_ns INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE loss (
        source TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        reason TEXT NOT NULL,
        samples INTEGER NOT NULL,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL,
        PRIMARY KEY (source, last_ns, sequence, reason)
    ) STRICT, WITHOUT ROWID""",
)
DAY_TABLES = (
    _SERIES,
    """CREATE TABLE clock (
        id INTEGER PRIMARY KEY,
        samples INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT""",
    # A later chunk, by id, holds where times are equal.
    """CREATE TABLE chunk (
        id INTEGER PRIMARY KEY,
        hour INTEGER NOT NULL,
        series_id INTEGER NOT NULL,
        clock_id INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX chunk_by_hour ON chunk (hour, series_id)",
    # Series of which an hour is in several chunks, or not in the rollups.
    """CREATE TABLE unrolled (
        hour INTEGER NOT NULL,
        series_id INTEGER NOT NULL,
        PRIMARY KEY (hour, series_id)
    ) STRICT, WITHOUT ROWID""",
)
ROLLUP_TABLES = (
    _SERIES,
    """CREATE TABLE rollup (
        series_id INTEGER NOT NULL,
        hour INTEGER NOT NULL,
        good INTEGER NOT NULL,
        bad INTEGER NOT NULL,
        numbers INTEGER NOT NULL,
        minimum REAL NOT NULL,
        maximum REAL NOT NULL,
        total REAL,
        first REAL NOT NULL,
        last REAL NOT NULL,
        minutes BLOB NOT NULL,
        PRIMARY KEY (series_id, hour)
    ) STRICT, WITHOUT ROWID""",
)

_UNIX_EPOCH = date(1970, 1, 1).toordinal()
_DAY_FILE = re.compile(r"(\d{4}-\d{2}-\d{2})\.db(.*)")
_ROLLUP_FILE = re.compile(r"rollup-(\d{4}-\d{2})\.db(.*)")
_BUSY_S = 2.0


def day_of(t_ns: int) -> date:
    """Return the UTC day of a time in ns since the Unix epoch."""
    return date.fromordinal(_UNIX_EPOCH + t_ns // NS_PER_DAY)


def day_of_hour(hour: int) -> date:
    """Return the UTC day of an hour since 1970."""
    return date.fromordinal(_UNIX_EPOCH + hour // 24)


def first_hour(day: date) -> int:
    """Return the first hour since 1970 of a UTC day."""
    return (day.toordinal() - _UNIX_EPOCH) * 24


def start_of(day: date) -> int:
    """Return when the UTC day begins, ns since the Unix epoch."""
    return (day.toordinal() - _UNIX_EPOCH) * NS_PER_DAY


def day_path(directory: Path, day: date) -> Path:
    """Return the file of one UTC day."""
    return directory / f"{day.isoformat()}.db"


def rollup_path(directory: Path, day: date) -> Path:
    """Return the file with the rollups of the day's month."""
    return directory / f"rollup-{day:%Y-%m}.db"


def files_by_day(directory: Path) -> dict[date, list[Path]]:
    """Return every file that belongs to a day: database, WAL and those set aside as damaged.

    Raises:
        OSError: the directory cannot be read.
    """
    return _files(directory, _DAY_FILE, "")


def rollups_by_month(directory: Path) -> dict[date, list[Path]]:
    """Return every file of rollups, by the first day of its month.

    Raises:
        OSError: the directory cannot be read.
    """
    return _files(directory, _ROLLUP_FILE, "-01")


def _files(directory: Path, name: re.Pattern[str], suffix: str) -> dict[date, list[Path]]:
    files: dict[date, list[Path]] = {}
    for path in directory.iterdir():
        match = name.fullmatch(path.name)
        if match is None:
            continue
        try:
            day = date.fromisoformat(match[1] + suffix)
        except ValueError:
            continue
        files.setdefault(day, []).append(path)
    return files


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection to a file of this schema, or ``None`` if there is none yet.

    Raises:
        sqlite3.Error: the file cannot be read, or was written by another program.
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
        sqlite3.NotSupportedError: the file was written by another program.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise sqlite3.NotSupportedError(
            f"schema version {version}, this program knows {SCHEMA_VERSION}; "
            "use the program that wrote it, or move the file away"
        )
    return version
