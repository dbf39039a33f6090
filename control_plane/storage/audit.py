"""Who did what, when, from where, and what came of it; rows are only ever added, each sealed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control_plane.domain.audit import AuditEvent
from control_plane.storage.audit_seal import AuditSeal, Fields
from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import AuditEntry
from control_plane.storage.times import from_ms, to_ms

_DETAIL_CHARACTERS = 4000
_CHAIN_LOCK: Final = 0x6461_7161_7564_6974
"""Key of PostgreSQL's advisory lock: "daqaudit" in ASCII."""
_PAGE: Final = 2000
_ID = AuditEntry.id
SEALED: Final[tuple[Any, ...]] = (
    AuditEntry.id,
    AuditEntry.at_ms,
    AuditEntry.actor,
    AuditEntry.origin,
    AuditEntry.action,
    AuditEntry.target,
    AuditEntry.outcome,
    AuditEntry.detail,
)
"""The columns that a seal covers, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """An entry with its number."""

    id: int
    event: AuditEvent
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries are wanted; ``None`` is any.

    Attributes:
        action: The whole name, or a beginning with ``*`` behind it: ``user.*``.
        start, end: From ``start`` and before ``end``.
    """

    actor: str | None = None
    origin: str | None = None
    action: str | None = None
    target: str | None = None
    outcome: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class AuditTrail:
    """Usable from any thread; an entry is committed before the action is answered."""

    def __init__(self, database: StateDatabase, seal: AuditSeal) -> None:
        self._database = database
        self.seal = seal
        self._anchored_mac = ""

    def record(self, event: AuditEvent) -> None:
        """Add an entry to the end of the chain; writers of all processes take turns."""
        with self._database.connection() as db, db.atomic():
            self._take_turn(db)
            last_id, last_mac = _head()
            fields: Fields = (
                last_id + 1,
                to_ms(event.at),
                fit(event.actor, 80),
                fit(event.origin, 80),
                fit(event.action, 40),
                fit(event.target, 80),
                fit(event.outcome, 16),
                fit(event.detail, _DETAIL_CHARACTERS),
            )
            mac = self.seal.mac(last_mac, fields)
            values = {column.name: value for column, value in zip(SEALED, fields, strict=True)}
            AuditEntry.insert(**values, mac=mac).execute()
        if self.seal.is_due(last_id + 1):
            self._anchor(last_id + 1, mac, event.at)

    def anchor_the_end(self, now: datetime) -> None:
        """Anchor the last entry unless it is; to be called once a minute and at the end."""
        row_id, mac = self._end()
        if mac not in ("", self._anchored_mac):
            self._anchor(row_id, mac, now)

    def begin(self, now: datetime, *, restored: bool = False) -> None:
        """Seal entries from before there were seals; after a restore, say so in the anchors.

        Done once: where anchors exist, entries without a seal are a finding.
        """
        if restored or not self.seal.has_anchors():
            with self._database.connection() as db, db.atomic():
                self._take_turn(db)
                if not _head()[1]:
                    self._seal_all()
        if restored:
            row_id, mac = self._end()
            self._database.sync()
            self.seal.anchor(row_id, mac, now, restored=True)

    def entries(
        self, wanted: AuditFilter, before_id: int = 2**31 - 1, limit: int = 100
    ) -> list[AuditRow]:
        """Return the newest entries below ``before_id`` that match, newest first."""
        query = AuditEntry.select().where(before_id > _ID, *_conditions(wanted))
        with self._database.connection():
            return [_row(row) for row in query.order_by(_ID.desc()).limit(limit)]

    def pages(self, wanted: AuditFilter) -> Iterator[list[AuditRow]]:
        """Yield all entries that match, oldest first; memory stays small."""
        after, conditions = 0, _conditions(wanted)
        while True:
            query = AuditEntry.select().where(after < _ID, *conditions)
            with self._database.connection():
                page = [_row(row) for row in query.order_by(_ID).limit(_PAGE)]
            if not page:
                return
            yield page
            after = page[-1].id

    def sealed_rows(self) -> Iterator[tuple[Fields, str]]:
        """Yield what the seal of each row covers, and the seal, in the order of the chain."""
        after = 0
        while True:
            query = AuditEntry.select(*SEALED, AuditEntry.mac).where(after < _ID)
            with self._database.connection():
                page: list[Any] = list(query.order_by(_ID).limit(_PAGE).tuples())
            if not page:
                return
            for row in page:
                yield row[:-1], row[-1]
            after = page[-1][0]

    def was_commanded(self, process: str, since: datetime) -> bool:
        """Tell whether anyone asked to start, stop or restart ``process`` since then."""
        with self._database.connection():
            return bool(
                AuditEntry.select()
                .where(
                    AuditEntry.target.in_((process, "all")),
                    AuditEntry.at_ms >= to_ms(since),
                    AuditEntry.action.startswith("process."),
                    AuditEntry.outcome == "requested",
                )
                .exists()
            )

    def last_outcome(self, process: str) -> str | None:
        """Return what came of the newest command for ``process``, ``None`` without any."""
        with self._database.connection():
            row = (
                AuditEntry.select(AuditEntry.outcome)
                .where(AuditEntry.target == process, AuditEntry.action.startswith("process."))
                .order_by(AuditEntry.at_ms.desc(), AuditEntry.id.desc())
                .first()
            )
            return None if row is None else str(row.outcome)

    def _end(self) -> tuple[int, str]:
        with self._database.connection():
            return _head()

    def _anchor(self, row_id: int, mac: str, at: datetime) -> None:
        # What an anchor names must outlast a power cut, or its loss would look like tampering.
        self._database.sync()
        if self.seal.anchor(row_id, mac, at):
            self._anchored_mac = mac

    def _take_turn(self, db: Any) -> None:
        """Wait until no other writer is amid the chain; SQLite's transactions do so anyway."""
        if self._database.engine == "postgresql":
            db.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_CHAIN_LOCK,))

    def _seal_all(self) -> None:
        mac = ""
        for fields, _ in self.sealed_rows():
            mac = self.seal.mac(mac, fields)
            AuditEntry.update(mac=mac).where(fields[0] == _ID).execute()


def _head() -> tuple[int, str]:
    """Return number and seal of the last row, ``(0, "")`` if there is none."""
    query = AuditEntry.select(_ID, AuditEntry.mac).where(_ID > 0)
    found = query.order_by(_ID.desc()).limit(1).tuples().first()
    return (0, "") if found is None else (int(found[0]), str(found[1]))


def _conditions(wanted: AuditFilter) -> list[Any]:
    named = {
        AuditEntry.actor: wanted.actor,
        AuditEntry.origin: wanted.origin,
        AuditEntry.target: wanted.target,
        AuditEntry.outcome: wanted.outcome,
    }
    found: list[Any] = [column == value for column, value in named.items() if value is not None]
    if wanted.action is not None:
        beginning = wanted.action.removesuffix("*")
        is_whole = beginning == wanted.action
        action = AuditEntry.action
        found.append(action == beginning if is_whole else action.startswith(beginning))
    if wanted.start is not None:
        found.append(AuditEntry.at_ms >= to_ms(wanted.start))
    if wanted.end is not None:
        found.append(AuditEntry.at_ms < to_ms(wanted.end))
    return found


def _row(row: AuditEntry) -> AuditRow:
    event = AuditEvent(
        at=from_ms(row.at_ms),
        actor=row.actor,
        origin=row.origin,
        action=row.action,
        target=row.target,
        outcome=row.outcome,
        detail=row.detail,
    )
    return AuditRow(id=row.id, event=event, mac=row.mac)
