"""Every text that a collector's file had."""

from typing import Any


def up(_migrator: Any, db: Any) -> None:
    sqlite = type(db).__name__.startswith("Sqlite")
    auto = "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" if sqlite else "SERIAL NOT NULL PRIMARY KEY"
    blob = "BLOB" if sqlite else "BYTEA"
    db.execute_sql(
        f"""CREATE TABLE config_texts (
            id {auto}, collector VARCHAR(64) NOT NULL, revision VARCHAR(16) NOT NULL,
            at_ms BIGINT NOT NULL, origin VARCHAR(16) NOT NULL, actor VARCHAR(80) NOT NULL,
            comment TEXT NOT NULL, size_bytes INTEGER NOT NULL, packed {blob} NOT NULL)"""
    )
    db.execute_sql("CREATE INDEX config_texts_collector_id ON config_texts (collector, id)")
    db.execute_sql(
        "CREATE INDEX config_texts_collector_revision ON config_texts (collector, revision)"
    )
