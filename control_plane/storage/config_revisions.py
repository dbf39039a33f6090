"""Every text that a collector's file had, so that each can come back."""

import zlib

from control_plane.domain.config_revision import ConfigOrigin, ConfigRevision
from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import ConfigText
from control_plane.storage.times import from_ms, to_ms

KEPT = 200
"""Texts of one collector; older ones go as new ones come."""
MAX_COMMENT_CHARACTERS = 400


class ConfigRevisions:
    """Usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def add(self, wanted: ConfigRevision, text: str) -> ConfigRevision:
        """Keep a text and return it with its number."""
        packed = zlib.compress(text.encode())
        with self._database.connection() as db, db.atomic():
            row = ConfigText.create(
                collector=wanted.collector,
                revision=wanted.revision,
                at_ms=to_ms(wanted.at),
                origin=wanted.origin.value,
                actor=fit(wanted.actor, 80),
                comment=fit(wanted.comment, MAX_COMMENT_CHARACTERS),
                size_bytes=wanted.size_bytes,
                packed=packed,
            )
            numbers = (
                ConfigText.select(ConfigText.id)
                .where(ConfigText.collector == wanted.collector)
                .order_by(ConfigText.id.desc())
            )
            old = [each.id for each in numbers.limit(50).offset(KEPT)]
            if old:
                ConfigText.delete().where(ConfigText.id.in_(old)).execute()
            return _revision(row)

    def newest(self, collector: str, limit: int, before: int | None = None) -> list[ConfigRevision]:
        """Return revisions, newest first; ``before`` is the number to go on from."""
        with self._database.connection():
            rows = (
                ConfigText.select(*_FACTS)
                .where(ConfigText.collector == collector)
                .order_by(ConfigText.id.desc())
                .limit(limit)
            )
            if before is not None:
                rows = rows.where(ConfigText.id < before)
            return [_revision(row) for row in rows]

    def text(self, collector: str, revision: str) -> str | None:
        """Return the text of this name, ``None`` if it is not kept."""
        with self._database.connection():
            row = (
                ConfigText.select(ConfigText.packed)
                .where(ConfigText.collector == collector, ConfigText.revision == revision)
                .first()
            )
            return None if row is None else zlib.decompress(bytes(row.packed)).decode()


_FACTS = (
    ConfigText.id,
    ConfigText.collector,
    ConfigText.revision,
    ConfigText.at_ms,
    ConfigText.origin,
    ConfigText.actor,
    ConfigText.comment,
    ConfigText.size_bytes,
)


def _revision(row: ConfigText) -> ConfigRevision:
    return ConfigRevision(
        id=row.id,
        collector=row.collector,
        revision=row.revision,
        at=from_ms(row.at_ms),
        origin=ConfigOrigin(row.origin),
        actor=row.actor,
        comment=row.comment,
        size_bytes=row.size_bytes,
    )
