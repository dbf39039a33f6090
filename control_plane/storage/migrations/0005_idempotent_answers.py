"""Answers by idempotency key, so that a repeated command is done once also across our crash."""

from typing import Any


def up(_migrator: Any, db: Any) -> None:
    db.execute_sql(
        """CREATE TABLE idempotent_answers (
            place VARCHAR(64) NOT NULL PRIMARY KEY,
            fingerprint VARCHAR(64) NOT NULL, at_ms BIGINT NOT NULL,
            status INTEGER, content_type VARCHAR(80), body TEXT)"""
    )
    db.execute_sql("CREATE INDEX idempotent_answers_at_ms ON idempotent_answers (at_ms)")
