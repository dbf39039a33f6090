"""Old restarts are found by index; PostgreSQL keeps scores as exactly as SQLite does."""

from typing import Any


def up(_migrator: Any, db: Any) -> None:
    db.execute_sql("CREATE INDEX restarts_at_ms ON restarts (at_ms)")
    if not type(db).__name__.startswith("Sqlite"):
        db.execute_sql("ALTER TABLE health_history ALTER COLUMN score TYPE DOUBLE PRECISION")
