"""Commands that were begun and not ended, so that they are ended after a crash of ours."""

from typing import Any


def up(_migrator: Any, db: Any) -> None:
    db.execute_sql(
        """CREATE TABLE pending_commands (
            process VARCHAR(64) NOT NULL PRIMARY KEY, action VARCHAR(16) NOT NULL,
            actor VARCHAR(80) NOT NULL, origin VARCHAR(80) NOT NULL, at_ms BIGINT NOT NULL)"""
    )
