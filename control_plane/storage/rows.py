"""The rows of the whole state database, out of one engine and into any other."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import peewee
from playhouse.migrations import Runner

from control_plane.storage.database import MIGRATIONS, StateDatabase
from control_plane.storage.models import (
    TABLES,
    AlertMemory,
    IdempotentAnswer,
    Notification,
    PendingCommand,
    RecoveryMemory,
    Session,
    SetupToken,
)

_SHORT_LIVED = (
    Session,
    SetupToken,
    PendingCommand,
    IdempotentAnswer,
    AlertMemory,
    Notification,
    RecoveryMemory,
)
"""Worth nothing tomorrow: what lets somebody in now, and commands that were under way."""
_LASTING = tuple(table for table in TABLES if table not in _SHORT_LIVED)
_ROWS = 5000
"""Read or written at once."""
_LOCK_TIMEOUT = "10s"

Row = list[int | float | str | bytes | None]


class Snapshot:
    """The database as it was at one moment; valid inside of :func:`snapshot`."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def tables(self) -> list[str]:
        """Return the names of the tables to keep, those first that others refer to."""
        return [table._meta.table_name for table in _LASTING]

    def count(self, name: str) -> int:
        return int(_table(name).select().count())

    def columns(self, name: str) -> list[str]:
        return [field.column_name for field in _table(name)._meta.sorted_fields]

    def rows(self, name: str) -> Iterator[Row]:
        """Yield every row, its values in the order of :meth:`columns`; memory stays small."""
        table = _table(name)
        key = table._meta.primary_key
        place = table._meta.sorted_fields.index(key)
        query = table.select().order_by(key).limit(_ROWS).tuples()
        page = list(query)
        while page:
            yield from map(list, page)
            page = list(query.where(key > page[-1][place]))


@contextlib.contextmanager
def snapshot(database: StateDatabase) -> Iterator[Snapshot]:
    """Hold one consistent view of the database; nobody who writes waits for it.

    Raises:
        StorageError.
    """
    with database.connection() as db:
        if database.engine == "sqlite":
            with db.atomic("DEFERRED"):
                yield Snapshot(db)
        else:
            with db.atomic():
                db.execute_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield Snapshot(db)


@contextlib.contextmanager
def replacing(database: StateDatabase, aside: str) -> Iterator[None]:
    """Give the block an empty database. A SQLite database must be a new file; on PostgreSQL it is
    all or nothing, and the tables that were there are kept in a schema called ``aside``.

    Raises:
        StorageError: also when another program holds the tables for long.
    """
    with database.connection() as db:
        if database.engine == "sqlite":
            yield
            return
        with db.atomic():
            db.execute_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            ours = {table._meta.table_name for table in TABLES} | {"schema_migration"}
            if present := sorted(ours & set(db.get_tables())):
                db.execute_sql(f'CREATE SCHEMA "{aside}"')
                for name in present:
                    db.execute_sql(f'ALTER TABLE "{name}" SET SCHEMA "{aside}"')
            yield


def make_schema(database: StateDatabase, last: str | None = None) -> None:
    """Apply the migrations up to ``last``, or all of them.

    Raises:
        StorageError.
    """
    with database.connection() as db:
        Runner(db, str(MIGRATIONS)).up(last)


def known_schema(directory: Path = MIGRATIONS) -> list[str]:
    """Return the names of this program's migrations, in order."""
    return sorted(path.stem for path in directory.glob("[0-9]*.py"))


def insert(database: StateDatabase, name: str, columns: list[str], rows: Iterable[Row]) -> int:
    """Insert rows into a table of whatever schema is in place; return how many.

    Raises:
        StorageError: a column does not exist, or a row does not fit.
    """
    inserted, source = 0, iter(rows)
    with database.connection() as db:
        names = ", ".join(f'"{column}"' for column in columns)
        marks = ", ".join([db.param] * len(columns))
        statement = f'INSERT INTO "{name}" ({names}) VALUES ({marks})'
        while batch := list(itertools.islice(source, _ROWS)):
            # Past peewee, which takes ten times as long for many rows.
            with db.atomic(), peewee.__exception_wrapper__:  # type: ignore[attr-defined] # no stub
                db.cursor().executemany(statement, batch)
            inserted += len(batch)
        if database.engine == "postgresql" and "id" in columns:
            db.execute_sql(
                f"""SELECT setval(pg_get_serial_sequence('"{name}"', 'id'),
                (SELECT coalesce(max(id), 0) + 1 FROM "{name}"), false)"""
            )
    return inserted


def _table(name: str) -> Any:
    tables: Mapping[str, Any] = {each._meta.table_name: each for each in _LASTING}
    return tables[name]
