"""Users, their sessions, API tokens and the one-time set-up token.

Only hashes of tokens are stored: who reads the database cannot sign in with what is there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import peewee

from control_plane.errors import BadSetupToken, UnknownUser, UserExists
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import ApiToken, Session, SetupToken, User
from control_plane.storage.times import from_ms, to_ms

SESSION_IDLE = timedelta(minutes=30)
"""A session ends this long after its last use; an open panel uses it all the time."""
SESSION_LONGEST = timedelta(hours=12)
SETUP_TOKEN_LIFE = timedelta(minutes=15)
_TOUCH_EVERY_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user as the rest of the program sees one."""

    name: str
    role: str
    password_hash: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that is still valid."""

    name: str
    role: str
    csrf_token: str


class Accounts:
    """Reads and writes accounts; usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def has_users(self) -> bool:
        with self._database.connection():
            return bool(User.select().exists())

    def users(self) -> list[Account]:
        with self._database.connection():
            return [_account(row) for row in User.select().order_by(User.name)]

    def user(self, name: str) -> Account | None:
        with self._database.connection():
            row = User.get_or_none(User.name == name)
            return None if row is None else _account(row)

    def add_user(self, name: str, role: str, password_hash: str, now: datetime) -> None:
        """Raises UserExists."""
        with self._database.connection() as db, db.atomic():
            _insert_user(name, role, password_hash, now)

    def set_password(self, name: str, password_hash: str) -> None:
        """Set the password and end the user's sessions; raises UnknownUser."""
        with self._database.connection() as db, db.atomic():
            row = User.get_or_none(User.name == name)
            if row is None:
                raise UnknownUser(name=name)
            User.update(password_hash=password_hash).where(User.id == row.id).execute()
            Session.delete().where(Session.user == row.id).execute()

    def open_session(self, name: str, token_hash: str, csrf_token: str, now: datetime) -> None:
        with self._database.connection():
            Session.create(
                token_hash=token_hash,
                user=User.get(User.name == name),
                csrf_token=csrf_token,
                created_ms=to_ms(now),
                last_used_ms=to_ms(now),
            )

    def session(self, token_hash: str, now: datetime) -> OpenSession | None:
        """Return the session and note its use, or ``None`` if it has ended."""
        with self._database.connection():
            row = (
                Session.select(Session, User)
                .join(User)
                .where(
                    Session.token_hash == token_hash,
                    Session.last_used_ms > to_ms(now - SESSION_IDLE),
                    Session.created_ms > to_ms(now - SESSION_LONGEST),
                )
                .first()
            )
            if row is None:
                return None
            if row.last_used_ms < to_ms(now) - _TOUCH_EVERY_MS:
                Session.update(last_used_ms=to_ms(now)).where(
                    Session.token_hash == token_hash
                ).execute()
            return OpenSession(name=row.user.name, role=row.user.role, csrf_token=row.csrf_token)

    def end_session(self, token_hash: str) -> None:
        with self._database.connection():
            Session.delete().where(Session.token_hash == token_hash).execute()

    def remove_ended_sessions(self, now: datetime) -> int:
        """Delete what can no longer be used and return how many rows that were."""
        with self._database.connection():
            ended = (Session.last_used_ms <= to_ms(now - SESSION_IDLE)) | (
                Session.created_ms <= to_ms(now - SESSION_LONGEST)
            )
            return int(Session.delete().where(ended).execute())

    def add_token(self, name: str, role: str, token_hash: str, now: datetime) -> None:
        """Raises UserExists when a token of this name exists."""
        with self._database.connection():
            try:
                ApiToken.create(name=name, role=role, token_hash=token_hash, created_ms=to_ms(now))
            except peewee.IntegrityError:
                raise UserExists(name=name) from None

    def token(self, token_hash: str) -> tuple[str, str] | None:
        """Return (name, role) of a token, or ``None`` if there is none."""
        with self._database.connection():
            row = ApiToken.get_or_none(ApiToken.token_hash == token_hash)
            return None if row is None else (row.name, row.role)

    def replace_setup_token(self, token_hash: str, now: datetime) -> None:
        """Make this the only set-up token that works."""
        with self._database.connection() as db, db.atomic():
            SetupToken.delete().execute()
            SetupToken.create(token_hash=token_hash, expires_ms=to_ms(now + SETUP_TOKEN_LIFE))

    def set_up(self, token_hash: str, name: str, password_hash: str, now: datetime) -> None:
        """Use up the set-up token and make the first administrator, both or neither.

        Raises:
            BadSetupToken: unknown or expired, or a user exists already.
        """
        with self._database.connection() as db, db.atomic():
            valid = (SetupToken.token_hash == token_hash) & (SetupToken.expires_ms > to_ms(now))
            used = SetupToken.delete().where(valid).execute()
            if not used or User.select().exists():
                raise BadSetupToken
            _insert_user(name, "admin", password_hash, now)


def _insert_user(name: str, role: str, password_hash: str, now: datetime) -> None:
    try:
        User.create(name=name, role=role, password_hash=password_hash, created_ms=to_ms(now))
    except peewee.IntegrityError:
        raise UserExists(name=name) from None


def _account(row: User) -> Account:
    return Account(
        name=row.name,
        role=row.role,
        password_hash=row.password_hash,
        created_at=from_ms(row.created_ms),
    )
