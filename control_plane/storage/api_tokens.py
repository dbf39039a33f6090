"""API tokens of machines; only their hashes are kept."""

from dataclasses import dataclass
from datetime import datetime

import peewee

from control_plane.errors import UnknownToken, UserExists
from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import ApiToken
from control_plane.storage.times import from_ms, to_ms

_TOUCH_EVERY_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """An API token without its secret.

    Attributes:
        expires_at: ``None`` for one that works until it is revoked.
        last_used_at: To the minute; ``None`` if it never was.
    """

    name: str
    role: str
    created_at: datetime
    created_by: str = ""
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class ApiTokens:
    """Reads and writes API tokens; usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def add(self, facts: TokenFacts, token_hash: str) -> None:
        """Raises UserExists when a token of this name exists."""
        with self._database.connection() as db, db.atomic():
            try:
                ApiToken.create(
                    name=facts.name,
                    role=facts.role,
                    token_hash=token_hash,
                    created_ms=to_ms(facts.created_at),
                    created_by=fit(facts.created_by, 80),
                    expires_ms=to_ms(facts.expires_at) if facts.expires_at else None,
                )
            except peewee.IntegrityError:
                raise UserExists(name=facts.name) from None

    def find(self, token_hash: str, now: datetime) -> TokenFacts | None:
        """Return the token and note its use, or ``None`` if none works by this hash now."""
        with self._database.connection():
            row = ApiToken.get_or_none(ApiToken.token_hash == token_hash)
            if row is None or (row.expires_ms is not None and row.expires_ms <= to_ms(now)):
                return None
            if (row.last_used_ms or 0) < to_ms(now) - _TOUCH_EVERY_MS:
                ApiToken.update(last_used_ms=to_ms(now)).where(ApiToken.id == row.id).execute()
            return _facts(row)

    def all(self) -> list[TokenFacts]:
        """Return every token, those that have expired too."""
        with self._database.connection():
            return [_facts(row) for row in ApiToken.select().order_by(ApiToken.name)]

    def revoke(self, name: str) -> None:
        """Let the token work no more; raises UnknownToken."""
        with self._database.connection():
            if not ApiToken.delete().where(ApiToken.name == name).execute():
                raise UnknownToken(name=name)


def _facts(row: ApiToken) -> TokenFacts:
    return TokenFacts(
        name=row.name,
        role=row.role,
        created_at=from_ms(row.created_ms),
        created_by=row.created_by,
        expires_at=None if row.expires_ms is None else from_ms(row.expires_ms),
        last_used_at=None if row.last_used_ms is None else from_ms(row.last_used_ms),
    )
