"""What was answered under each idempotency key, across a crash of ours."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.errors import KeyInUse
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import IdempotentAnswer
from control_plane.storage.times import to_ms

KEPT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer that may be given again."""

    status: int
    content_type: str
    body: str


class IdempotentAnswers:
    """Usable from any thread; answers are kept for ten minutes."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def begin(self, actor: str, key: str, fingerprint: str, now: datetime) -> Answer | None:
        """Take the key for a request, or return the answer that it got before.

        Raises:
            KeyInUse: another request has it, or the same one has no answer yet: it is still under
                way, or we crashed over it and nobody knows how far it came.
        """
        place = _place(actor, key)
        with self._database.connection() as db, db.atomic():
            old = IdempotentAnswer.at_ms < to_ms(now - KEPT)
            IdempotentAnswer.delete().where(old).execute()
            facts = {"fingerprint": fingerprint, "at_ms": to_ms(now)}
            taken = (
                IdempotentAnswer.insert(place=place, **facts)
                .on_conflict_ignore()
                .as_rowcount()
                .execute()
            )
            if taken:
                return None
            row = IdempotentAnswer.get(IdempotentAnswer.place == place)
        if row.status is None or row.fingerprint != fingerprint:
            raise KeyInUse(key=key)
        return Answer(status=row.status, content_type=row.content_type or "", body=row.body or "")

    def end(self, actor: str, key: str, answer: Answer) -> None:
        """Keep the answer for whoever asks again."""
        facts = {"status": answer.status, "content_type": answer.content_type, "body": answer.body}
        with self._database.connection():
            where = IdempotentAnswer.place == _place(actor, key)
            IdempotentAnswer.update(**facts).where(where).execute()

    def forget(self, actor: str, key: str) -> None:
        """Give the key back: the request failed and may be repeated under it."""
        with self._database.connection():
            where = IdempotentAnswer.place == _place(actor, key)
            IdempotentAnswer.delete().where(where).execute()


def _place(actor: str, key: str) -> str:
    return hashlib.sha256(f"{actor}\0{key}".encode()).hexdigest()
