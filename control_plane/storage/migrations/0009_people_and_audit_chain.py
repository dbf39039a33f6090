"""Disabled users, where sessions come from, tokens that expire, and the chain of the audit."""

from typing import Any

STATEMENTS = (
    "ALTER TABLE users ADD COLUMN disabled_ms BIGINT",
    "ALTER TABLE sessions ADD COLUMN origin VARCHAR(80) NOT NULL DEFAULT ''",
    "ALTER TABLE sessions ADD COLUMN user_agent VARCHAR(200) NOT NULL DEFAULT ''",
    "ALTER TABLE api_tokens ADD COLUMN expires_ms BIGINT",
    "ALTER TABLE api_tokens ADD COLUMN last_used_ms BIGINT",
    "ALTER TABLE api_tokens ADD COLUMN created_by VARCHAR(80) NOT NULL DEFAULT ''",
    "ALTER TABLE audit ADD COLUMN mac VARCHAR(64) NOT NULL DEFAULT ''",
)


def up(_migrator: Any, db: Any) -> None:
    for statement in STATEMENTS:
        db.execute_sql(statement)
