"""Alerts, what happened to them, shelves, and notices that wait to be sent."""

from typing import Any


def up(_migrator: Any, db: Any) -> None:
    sqlite = type(db).__name__.startswith("Sqlite")
    auto = "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" if sqlite else "SERIAL NOT NULL PRIMARY KEY"
    db.execute_sql(
        """CREATE TABLE alerts (
            id BIGINT NOT NULL PRIMARY KEY, fingerprint VARCHAR(16) NOT NULL,
            rule VARCHAR(32) NOT NULL, severity VARCHAR(16) NOT NULL,
            subject VARCHAR(80) NOT NULL, fired_ms BIGINT NOT NULL, resolved_ms BIGINT,
            acknowledged INTEGER NOT NULL, document TEXT NOT NULL)"""
    )
    db.execute_sql("CREATE INDEX alerts_resolved_ms ON alerts (resolved_ms)")
    db.execute_sql("CREATE INDEX alerts_fired_ms ON alerts (fired_ms)")
    db.execute_sql(
        f"""CREATE TABLE alert_events (
            id {auto}, alert_id BIGINT NOT NULL, at_ms BIGINT NOT NULL, kind VARCHAR(16) NOT NULL,
            actor VARCHAR(80) NOT NULL, reason TEXT NOT NULL, severity VARCHAR(16) NOT NULL)"""
    )
    db.execute_sql("CREATE INDEX alert_events_alert_id ON alert_events (alert_id)")
    db.execute_sql("CREATE INDEX alert_events_at_ms ON alert_events (at_ms)")
    db.execute_sql(
        f"""CREATE TABLE alert_silences (
            id {auto}, rule VARCHAR(32) NOT NULL, subject VARCHAR(80) NOT NULL, alert_id BIGINT,
            until_ms BIGINT NOT NULL, actor VARCHAR(80) NOT NULL, at_ms BIGINT NOT NULL,
            reason TEXT NOT NULL)"""
    )
    db.execute_sql("CREATE INDEX alert_silences_until_ms ON alert_silences (until_ms)")
    db.execute_sql(
        """CREATE TABLE alert_memory (
            name VARCHAR(16) NOT NULL PRIMARY KEY, boot_id VARCHAR(40) NOT NULL,
            at_ms BIGINT NOT NULL, document TEXT NOT NULL)"""
    )
    db.execute_sql(
        f"""CREATE TABLE notifications (
            id {auto}, channel VARCHAR(40) NOT NULL, event VARCHAR(60) NOT NULL,
            alert_id BIGINT NOT NULL, kind VARCHAR(16) NOT NULL, state VARCHAR(8) NOT NULL,
            attempts INTEGER NOT NULL, queued_ms BIGINT NOT NULL, due_ms BIGINT NOT NULL,
            ended_ms BIGINT, error TEXT NOT NULL, document TEXT NOT NULL)"""
    )
    db.execute_sql(
        "CREATE UNIQUE INDEX notifications_channel_event ON notifications (channel, event)"
    )
    db.execute_sql("CREATE INDEX notifications_channel_state ON notifications (channel, state)")
    db.execute_sql("CREATE INDEX notifications_channel_id ON notifications (channel, id)")
    db.execute_sql("CREATE INDEX notifications_alert_id ON notifications (alert_id)")
    db.execute_sql("CREATE INDEX notifications_state ON notifications (state)")
    db.execute_sql("CREATE INDEX notifications_ended_ms ON notifications (ended_ms)")
