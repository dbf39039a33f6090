"""First schema. Frozen: later changes are migrations of their own, never edits here."""

from typing import Any

STATEMENTS = (
    """CREATE TABLE users (
        id {serial}, name VARCHAR(64) NOT NULL UNIQUE, role VARCHAR(16) NOT NULL,
        password_hash TEXT NOT NULL, created_ms BIGINT NOT NULL)""",
    """CREATE TABLE sessions (
        token_hash VARCHAR(64) NOT NULL PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
        csrf_token VARCHAR(64) NOT NULL,
        created_ms BIGINT NOT NULL, last_used_ms BIGINT NOT NULL)""",
    "CREATE INDEX sessions_user_id ON sessions (user_id)",
    "CREATE INDEX sessions_last_used_ms ON sessions (last_used_ms)",
    """CREATE TABLE api_tokens (
        id {serial}, name VARCHAR(64) NOT NULL UNIQUE, token_hash VARCHAR(64) NOT NULL UNIQUE,
        role VARCHAR(16) NOT NULL, created_ms BIGINT NOT NULL)""",
    """CREATE TABLE setup_tokens (
        token_hash VARCHAR(64) NOT NULL PRIMARY KEY, expires_ms BIGINT NOT NULL)""",
    """CREATE TABLE audit (
        id {serial}, at_ms BIGINT NOT NULL, actor VARCHAR(80) NOT NULL,
        origin VARCHAR(80) NOT NULL, action VARCHAR(40) NOT NULL, target VARCHAR(80) NOT NULL,
        outcome VARCHAR(16) NOT NULL, detail TEXT NOT NULL)""",
    "CREATE INDEX audit_at_ms ON audit (at_ms)",
    "CREATE INDEX audit_target_at_ms ON audit (target, at_ms)",
    """CREATE TABLE restarts (
        id {serial}, process VARCHAR(64) NOT NULL, at_ms BIGINT NOT NULL,
        pid INTEGER NOT NULL)""",
    "CREATE INDEX restarts_process_at_ms ON restarts (process, at_ms)",
    """CREATE TABLE incarnations (
        process VARCHAR(64) NOT NULL PRIMARY KEY, pid INTEGER NOT NULL,
        created_ms BIGINT NOT NULL)""",
    """CREATE TABLE health_history (
        id {serial}, process VARCHAR(64) NOT NULL, at_ms BIGINT NOT NULL,
        status VARCHAR(16) NOT NULL, score REAL, checks TEXT NOT NULL)""",
    "CREATE INDEX health_history_at_ms ON health_history (at_ms)",
    "CREATE INDEX health_history_process_at_ms ON health_history (process, at_ms)",
)


def up(_migrator: Any, db: Any) -> None:
    is_sqlite = type(db).__name__.startswith("Sqlite")
    serial = "INTEGER NOT NULL PRIMARY KEY" if is_sqlite else "SERIAL NOT NULL PRIMARY KEY"
    for statement in STATEMENTS:
        db.execute_sql(statement.format(serial=serial))
