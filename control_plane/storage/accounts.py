"""Users, their sessions and the one-time set-up token.

Only hashes of tokens are stored: who reads the database cannot sign in with what is there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import peewee

from control_plane.errors import (
    BadCredentials,
    BadSetupToken,
    LastAdmin,
    UnknownSession,
    UnknownUser,
    UserExists,
)
from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import Session, SetupToken, User
from control_plane.storage.times import from_ms, to_ms

SESSION_IDLE = timedelta(minutes=30)
"""A session ends this long after its last use; an open panel uses it all the time."""
SESSION_LONGEST = timedelta(hours=12)
SETUP_TOKEN_LIFE = timedelta(minutes=15)
_TOUCH_EVERY_MS = 60_000
_ID_CHARACTERS = 16
_ADMIN = "admin"
_CHANGE_LOCK: Final = 0x6461_7175_7365_7273
"""Key of PostgreSQL's advisory lock: "daqusers" in ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user as the rest of the program sees one."""

    name: str
    role: str
    password_hash: str
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that is still valid.

    Attributes:
        id: Names it to people; nobody can sign in with it.
        origin: Address that signed in.
        user_agent: What the browser says it is.
    """

    id: str
    name: str
    role: str
    csrf_token: str
    origin: str
    user_agent: str
    created_at: datetime
    last_used_at: datetime


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

    def set_password(self, name: str, password_hash: str, instead_of: str | None = None) -> None:
        """Set the password and end the user's sessions.

        Raises:
            UnknownUser.
            BadCredentials: the password's hash is no longer ``instead_of``, if that is given.
        """
        self._change(name, instead_of, password_hash=password_hash)

    def set_role(self, name: str, role: str) -> None:
        """Set the role and end the user's sessions; raises UnknownUser or LastAdmin."""
        self._change(name, role=role)

    def disable(self, name: str, now: datetime) -> None:
        """Let nobody sign in by this name and end its sessions; raises as :meth:`set_role`."""
        self._change(name, disabled_ms=to_ms(now))

    def enable(self, name: str) -> None:
        """Undo :meth:`disable`; raises UnknownUser."""
        self._change(name, disabled_ms=None)

    def open_session(
        self,
        name: str,
        token_hash: str,
        csrf_token: str,
        now: datetime,
        came_from: tuple[str, str] = ("", ""),
    ) -> None:
        """``came_from`` is the address and what the browser says it is."""
        with self._database.connection():
            Session.create(
                token_hash=token_hash,
                user=User.get(User.name == name),
                csrf_token=csrf_token,
                created_ms=to_ms(now),
                last_used_ms=to_ms(now),
                origin=fit(came_from[0], 80),
                user_agent=fit(came_from[1], 200),
            )

    def session(self, token_hash: str, now: datetime) -> OpenSession | None:
        """Return the session and note its use, or ``None`` if it has ended."""
        with self._database.connection():
            row = _open(now).where(Session.token_hash == token_hash).first()
            if row is None:
                return None
            if row.last_used_ms < to_ms(now) - _TOUCH_EVERY_MS:
                Session.update(last_used_ms=to_ms(now)).where(
                    Session.token_hash == token_hash
                ).execute()
            return _session(row)

    def sessions(self, now: datetime) -> list[OpenSession]:
        """Return the open sessions of everybody, the newest first."""
        with self._database.connection():
            return [_session(row) for row in _open(now).order_by(Session.created_ms.desc())]

    def end_session(self, token_hash: str) -> None:
        with self._database.connection():
            Session.delete().where(Session.token_hash == token_hash).execute()

    def revoke_session(self, session_id: str) -> None:
        """End the session of this :attr:`OpenSession.id`; raises UnknownSession."""
        with self._database.connection():
            named = Session.token_hash.startswith(session_id)
            if len(session_id) != _ID_CHARACTERS or not Session.delete().where(named).execute():
                raise UnknownSession(id=session_id)

    def remove_ended_sessions(self, now: datetime) -> int:
        """Delete what can no longer be used and return how many rows that were."""
        with self._database.connection():
            ended = (Session.last_used_ms <= to_ms(now - SESSION_IDLE)) | (
                Session.created_ms <= to_ms(now - SESSION_LONGEST)
            )
            return int(Session.delete().where(ended).execute())

    def replace_setup_token(self, token_hash: str, now: datetime) -> None:
        """Make this the only set-up token that works."""
        with self._database.connection() as db, db.atomic():
            SetupToken.delete().execute()
            SetupToken.create(token_hash=token_hash, expires_ms=to_ms(now + SETUP_TOKEN_LIFE))

    def is_setup_token(self, token_hash: str, now: datetime) -> bool:
        """Tell whether :meth:`set_up` would take this token now."""
        valid = (SetupToken.token_hash == token_hash) & (SetupToken.expires_ms > to_ms(now))
        with self._database.connection():
            return bool(SetupToken.select().where(valid).exists())

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
            _insert_user(name, _ADMIN, password_hash, now)

    def _change(self, name: str, present_hash: str | None = None, **columns: Any) -> None:
        """Change the user and end its sessions: who is signed in has the rights of before."""
        with self._database.connection() as db, db.atomic():
            if self._database.engine == "postgresql":
                # Two administrators who disable each other at once must not both be the last but
                # one; SQLite's transactions take turns anyway.
                db.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_CHANGE_LOCK,))
            row = User.get_or_none(User.name == name)
            if row is None:
                raise UnknownUser(name=name)
            if present_hash not in (None, row.password_hash):
                raise BadCredentials
            User.update(**columns).where(User.id == row.id).execute()
            Session.delete().where(Session.user == row.id).execute()
            can_administer = (User.role == _ADMIN) & User.disabled_ms.is_null()
            was_admin = row.role == _ADMIN and row.disabled_ms is None
            if was_admin and not User.select().where(can_administer).exists():
                raise LastAdmin(name=name)


def _open(now: datetime) -> Any:
    return (
        Session.select(Session, User)
        .join(User)
        .where(
            Session.last_used_ms > to_ms(now - SESSION_IDLE),
            Session.created_ms > to_ms(now - SESSION_LONGEST),
            User.disabled_ms.is_null(),
        )
    )


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
        disabled_at=None if row.disabled_ms is None else from_ms(row.disabled_ms),
    )


def _session(row: Session) -> OpenSession:
    return OpenSession(
        id=row.token_hash[:_ID_CHARACTERS],
        name=row.user.name,
        role=row.user.role,
        csrf_token=row.csrf_token,
        origin=row.origin,
        user_agent=row.user_agent,
        created_at=from_ms(row.created_ms),
        last_used_at=from_ms(row.last_used_ms),
    )
