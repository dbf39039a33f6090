"""What operators want of each collector, so that it survives a restart of everything."""

from typing import Any


def up(_migrator: Any, db: Any) -> None:
    db.execute_sql(
        """CREATE TABLE desired_states (
            process VARCHAR(64) NOT NULL PRIMARY KEY, desired VARCHAR(8) NOT NULL,
            actor VARCHAR(80) NOT NULL, at_ms BIGINT NOT NULL)"""
    )
