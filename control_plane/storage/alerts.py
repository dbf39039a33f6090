"""Alerts over time, what people did about them, and what the engine remembers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertSeverity,
    Note,
    Silence,
)
from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import AlertMemory, AlertRecord, AlertSilence, AlertStep
from control_plane.storage.times import from_ms, to_ms

_ALERT: Final = TypeAdapter(Alert)
_ENGINE: Final = "engine"
_PRUNE_BATCH: Final = 1000
_NEWEST: Final = 2**62
_ANY: Final = 10_000_000
"""Characters; the state of a thousand alerts fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The engine's state as text; ``boot_id`` tells whose monotonic clock its figures are of."""

    boot_id: str
    at: datetime
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFilter:
    """Which alerts of the past are wanted; ``None`` is any."""

    before_id: int | None = None
    rule: str | None = None
    severity: str | None = None
    subject: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line in the history of an alert."""

    at: datetime
    kind: AlertEventKind
    actor: str
    reason: str
    severity: AlertSeverity


class Alerts:
    """Usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def write(self, events: Sequence[AlertEvent], memory: Memory) -> None:
        """Write what happened, and what the engine remembers after it, in one transaction."""
        newest = {event.alert.id: event.alert for event in events}
        with self._database.connection() as db, db.atomic():
            for alert in newest.values():
                facts = _facts(alert)
                AlertRecord.insert(id=alert.id, **facts).on_conflict(
                    conflict_target=[AlertRecord.id], update=facts
                ).execute()
            if events:
                AlertStep.insert_many([_step(event) for event in events]).execute()
            kept = {
                "boot_id": memory.boot_id,
                "at_ms": to_ms(memory.at),
                "document": memory.document,
            }
            AlertMemory.insert(name=_ENGINE, **kept).on_conflict(
                conflict_target=[AlertMemory.name], update=kept
            ).execute()

    def memory(self) -> Memory | None:
        """Return what the engine remembered when it last wrote."""
        with self._database.connection():
            row = AlertMemory.get_or_none(AlertMemory.name == _ENGINE)
        if row is None:
            return None
        return Memory(boot_id=row.boot_id, at=from_ms(row.at_ms), document=row.document)

    def open(self) -> list[Alert]:
        """Return alerts that have not ended, oldest first."""
        with self._database.connection():
            rows = (
                AlertRecord.select()
                .where(AlertRecord.resolved_ms.is_null())
                .order_by(AlertRecord.id)
            )
            return [_ALERT.validate_json(row.document) for row in rows]

    def find(self, alert_id: int) -> Alert | None:
        with self._database.connection():
            row = AlertRecord.get_or_none(AlertRecord.id == alert_id)
            return None if row is None else _ALERT.validate_json(row.document)

    def past(self, wanted: AlertFilter) -> list[Alert]:
        """Return alerts of the past, open ones included, newest first."""
        before = _NEWEST if wanted.before_id is None else wanted.before_id
        query = AlertRecord.select().where(AlertRecord.id < before)
        for column in ("rule", "severity", "subject"):
            if (value := getattr(wanted, column)) is not None:
                query = query.where(getattr(AlertRecord, column) == value)
        with self._database.connection():
            rows = query.order_by(AlertRecord.id.desc()).limit(wanted.limit)
            return [_ALERT.validate_json(row.document) for row in rows]

    def returned(self, since: datetime, limit: int) -> list[Alert]:
        """Return alerts that ended since then and that nobody acknowledged, the latest end first.

        ISA-18.2 calls them returned to normal, unacknowledged: whoever was away has to see them.
        """
        query = AlertRecord.select().where(
            AlertRecord.resolved_ms >= to_ms(since), AlertRecord.acknowledged == 0
        )
        with self._database.connection():
            rows = query.order_by(AlertRecord.resolved_ms.desc()).limit(limit)
            return [_ALERT.validate_json(row.document) for row in rows]

    def fired_since(self, since: datetime) -> list[Alert]:
        """Return the alerts that fired since then, oldest first."""
        with self._database.connection():
            rows = (
                AlertRecord.select()
                .where(AlertRecord.fired_ms >= to_ms(since))
                .order_by(AlertRecord.fired_ms)
            )
            return [_ALERT.validate_json(row.document) for row in rows]

    def steps(self, alert_id: int) -> list[Step]:
        """Return the history of one alert, oldest first."""
        with self._database.connection():
            rows = AlertStep.select().where(AlertStep.alert_id == alert_id).order_by(AlertStep.id)
            return [
                Step(
                    at=from_ms(row.at_ms),
                    kind=AlertEventKind(row.kind),
                    actor=row.actor,
                    reason=row.reason,
                    severity=AlertSeverity(row.severity),
                )
                for row in rows
            ]

    def shelve(self, silence: Silence) -> Silence:
        """Keep a shelf and return it with its id."""
        with self._database.connection():
            row = AlertSilence.create(
                rule=silence.rule,
                subject=silence.subject,
                alert_id=silence.alert_id,
                until_ms=to_ms(silence.until),
                actor=fit(silence.note.by, 80),
                at_ms=to_ms(silence.note.at),
                reason=silence.note.reason,
            )
            return _silence(row)

    def silences(self, now: datetime) -> list[Silence]:
        """Return the shelves that have not ended, the one that ends first in front."""
        with self._database.connection():
            rows = (
                AlertSilence.select()
                .where(AlertSilence.until_ms > to_ms(now))
                .order_by(AlertSilence.until_ms)
            )
            return [_silence(row) for row in rows]

    def unshelve(self, silence_id: int, now: datetime) -> Silence | None:
        """End a shelf now and return it; ``None`` if there is none that holds."""
        with self._database.connection() as db, db.atomic():
            row = AlertSilence.get_or_none(AlertSilence.id == silence_id)
            if row is None or row.until_ms <= to_ms(now):
                return None
            AlertSilence.update(until_ms=to_ms(now)).where(AlertSilence.id == silence_id).execute()
            return _silence(row)

    def prune(self, now: datetime, keep: timedelta) -> int:
        """Delete what ended longer ago than ``keep``, in small transactions; return how much."""
        before_ms = to_ms(now - keep)
        return sum(
            self._prune(table, column, before_ms)
            for table, column in (
                (AlertRecord, AlertRecord.resolved_ms),
                (AlertStep, AlertStep.at_ms),
                (AlertSilence, AlertSilence.until_ms),
            )
        )

    def _prune(self, table: Any, column: Any, before_ms: int) -> int:
        removed = 0
        while True:
            with self._database.connection():
                old = table.select(table.id).where(column < before_ms).limit(_PRUNE_BATCH)
                ids = [row.id for row in old]
                if ids:
                    removed += int(table.delete().where(table.id.in_(ids)).execute())
            if len(ids) < _PRUNE_BATCH:
                return removed


def _facts(alert: Alert) -> dict[str, object]:
    fired_at = alert.fired_at or alert.since
    return {
        "fingerprint": alert.fingerprint,
        "rule": alert.rule,
        "severity": alert.severity.value,
        "subject": fit(alert.subject.name, 80),
        "fired_ms": to_ms(fired_at),
        "resolved_ms": to_ms(alert.resolved_at) if alert.resolved_at else None,
        "acknowledged": int(alert.acknowledged is not None),
        # Half a surrogate pair, from a file name say, cannot be stored.
        "document": fit(
            json.dumps(_ALERT.dump_python(alert, mode="json"), ensure_ascii=False), _ANY
        ),
    }


def _step(event: AlertEvent) -> dict[str, object]:
    return {
        "alert_id": event.alert.id,
        "at_ms": to_ms(event.at),
        "kind": event.kind.value,
        "actor": fit(event.actor, 80),
        "reason": event.reason,
        "severity": event.alert.severity.value,
    }


def _silence(row: Any) -> Silence:
    return Silence(
        id=row.id,
        rule=row.rule,
        subject=row.subject,
        alert_id=row.alert_id,
        until=from_ms(row.until_ms),
        note=Note(by=row.actor, at=from_ms(row.at_ms), reason=row.reason),
    )
