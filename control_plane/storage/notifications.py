"""Notices that wait to be sent, and what became of those that were; survives a crash of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import peewee

from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import Notification
from control_plane.storage.times import from_ms, to_ms

QUEUED, SENT, FAILED, DROPPED = "queued", "sent", "failed", "dropped"
_ERROR_CHARACTERS: Final = 1000
_PRUNE_BATCH: Final = 1000
_READ_ROWS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNotice:
    """One notice to queue; ``event`` names it, so that it is queued once for each channel."""

    channel: str
    event: str
    alert_id: int
    kind: str
    due: datetime
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notice of the queue.

    Attributes:
        state: ``queued``, ``sent``, ``failed`` (given up) or ``dropped`` (nobody needs it now).
        attempts: How often sending failed.
        error: Why the last attempt failed.
    """

    id: int
    channel: str
    event: str
    alert_id: int
    kind: str
    state: str
    attempts: int
    due: datetime
    ended: datetime | None
    error: str
    document: str


class Notifications:
    """Usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def queue(self, notices: Sequence[NewNotice], now: datetime) -> None:
        """Queue notices; one that is queued already is left as it is."""
        rows = [
            {
                "channel": notice.channel,
                "event": notice.event,
                "alert_id": notice.alert_id,
                "kind": notice.kind,
                "state": QUEUED,
                "attempts": 0,
                "queued_ms": to_ms(now),
                "due_ms": to_ms(notice.due),
                "error": "",
                "document": notice.document,
            }
            for notice in notices
        ]
        if rows:
            with self._database.connection() as db, db.atomic():
                Notification.insert_many(rows).on_conflict_ignore().execute()

    def due(self, channel: str, now: datetime) -> list[Notice]:
        """Return what is to be sent now, oldest first.

        What was queued in the future is due: somebody set the clock back.
        """
        now_ms = to_ms(now)
        with self._database.connection():
            rows = (
                Notification.select()
                .where(
                    Notification.channel == channel,
                    Notification.state == QUEUED,
                    (Notification.due_ms <= now_ms) | (Notification.queued_ms > now_ms),
                )
                .order_by(Notification.id)
                .limit(_READ_ROWS)
            )
            return [_notice(row) for row in rows]

    def waiting(self, channel: str) -> list[Notice]:
        """Return all that is queued, due or not, oldest first."""
        with self._database.connection():
            rows = (
                Notification.select()
                .where(Notification.channel == channel, Notification.state == QUEUED)
                .order_by(Notification.id)
                .limit(_READ_ROWS)
            )
            return [_notice(row) for row in rows]

    def next_due(self, channel: str) -> datetime | None:
        """Return when the next notice of a channel is due."""
        with self._database.connection():
            row = (
                Notification.select(Notification.due_ms)
                .where(Notification.channel == channel, Notification.state == QUEUED)
                .order_by(Notification.due_ms)
                .first()
            )
            return None if row is None else from_ms(row.due_ms)

    def was_sent(self, channel: str, alert_id: int) -> bool:
        """Tell whether a notice about this alert went out."""
        with self._database.connection():
            return bool(
                Notification.select()
                .where(
                    Notification.alert_id == alert_id,
                    Notification.channel == channel,
                    Notification.state == SENT,
                )
                .exists()
            )

    def end(self, ids: Sequence[int], state: str, now: datetime, error: str = "") -> None:
        """Note that notices were sent, dropped or given up."""
        changes: dict[str, object] = {"state": state, "ended_ms": to_ms(now)}
        if error:
            changes |= {"error": fit(error, _ERROR_CHARACTERS)}
        with self._database.connection():
            Notification.update(**changes).where(Notification.id.in_(list(ids))).execute()

    def retry(self, ids: Sequence[int], now: datetime, due: datetime, error: str) -> None:
        """Note a failed attempt and when the next one is."""
        with self._database.connection():
            Notification.update(
                attempts=Notification.attempts + 1,
                queued_ms=to_ms(now),
                due_ms=to_ms(due),
                error=fit(error, _ERROR_CHARACTERS),
            ).where(Notification.id.in_(list(ids))).execute()

    def queued(self) -> dict[str, int]:
        """Return how many notices wait, by channel."""
        with self._database.connection():
            rows: Any = (
                Notification.select(Notification.channel, peewee.fn.COUNT(Notification.id))
                .where(Notification.state == QUEUED)
                .group_by(Notification.channel)
                .tuples()
            )
            return {str(channel): int(count) for channel, count in rows}

    def abandon(self, channel: str, now: datetime) -> None:
        """Drop what waits for a channel that is no more."""
        with self._database.connection():
            Notification.update(state=DROPPED, ended_ms=to_ms(now)).where(
                Notification.channel == channel, Notification.state == QUEUED
            ).execute()

    def latest(self, channel: str, limit: int) -> list[Notice]:
        """Return the newest notices of a channel, newest first."""
        with self._database.connection():
            rows = (
                Notification.select()
                .where(Notification.channel == channel)
                .order_by(Notification.id.desc())
                .limit(limit)
            )
            return [_notice(row) for row in rows]

    def prune(self, now: datetime, keep: timedelta) -> int:
        """Delete what ended longer ago than ``keep``, in small transactions; return how much."""
        before_ms, removed = to_ms(now - keep), 0
        while True:
            with self._database.connection():
                old = Notification.ended_ms < before_ms
                rows = Notification.select(Notification.id).where(old).limit(_PRUNE_BATCH)
                ids = [row.id for row in rows]
                if ids:
                    where = Notification.id.in_(ids)
                    removed += int(Notification.delete().where(where).execute())
            if len(ids) < _PRUNE_BATCH:
                return removed


def _notice(row: Any) -> Notice:
    return Notice(
        id=row.id,
        channel=row.channel,
        event=row.event,
        alert_id=row.alert_id,
        kind=row.kind,
        state=row.state,
        attempts=row.attempts,
        due=from_ms(row.due_ms),
        ended=from_ms(row.ended_ms) if row.ended_ms is not None else None,
        error=row.error,
        document=row.document,
    )
