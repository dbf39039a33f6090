"""The engines that a state database can live in."""

from collections.abc import Iterator
from pathlib import Path

import postgres_server
import pytest
from postgres_server import PostgresServer

from control_plane.storage.audit import AuditTrail
from control_plane.storage.audit_seal import AuditSeal
from control_plane.storage.database import StateDatabase


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL, shared by the tests of one run."""
    if reason := postgres_server.why_not():
        pytest.skip(reason)
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: the test runs once on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[StateDatabase]:
    """An open state database with its schema in place."""
    database = StateDatabase(database_url)
    database.migrate(tmp_path)
    yield database
    database.close()


@pytest.fixture
def audit(database: StateDatabase, tmp_path: Path) -> AuditTrail:
    """The audit trail of that database, sealed with a key of its own."""
    return AuditTrail(database, AuditSeal(tmp_path))
