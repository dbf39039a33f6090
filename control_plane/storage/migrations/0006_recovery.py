"""Automatic recovery: what it decided and why, what it remembers, and maintenance."""

from typing import Any


def up(_migrator: Any, db: Any) -> None:
    sqlite = type(db).__name__.startswith("Sqlite")
    key = "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" if sqlite else "SERIAL NOT NULL PRIMARY KEY"
    db.execute_sql(
        f"""CREATE TABLE recovery_decisions (
            id {key}, process VARCHAR(64) NOT NULL, at_ms BIGINT NOT NULL,
            category VARCHAR(32) NOT NULL, rule VARCHAR(32) NOT NULL,
            wanted VARCHAR(32) NOT NULL, action VARCHAR(32) NOT NULL, guard VARCHAR(32) NOT NULL,
            attempt INTEGER NOT NULL, facts TEXT NOT NULL,
            outcome VARCHAR(16) NOT NULL, detail TEXT NOT NULL)"""
    )
    db.execute_sql("CREATE INDEX recovery_decisions_process ON recovery_decisions (process, id)")
    db.execute_sql("CREATE INDEX recovery_decisions_at_ms ON recovery_decisions (at_ms)")
    db.execute_sql(
        """CREATE TABLE recovery_memories (
            process VARCHAR(64) NOT NULL PRIMARY KEY, boot_id VARCHAR(64) NOT NULL,
            saved_s DOUBLE PRECISION NOT NULL, figures TEXT NOT NULL)"""
    )
    db.execute_sql(
        """CREATE TABLE maintenance (
            process VARCHAR(64) NOT NULL PRIMARY KEY, until_ms BIGINT NOT NULL,
            actor VARCHAR(80) NOT NULL, reason TEXT NOT NULL)"""
    )
