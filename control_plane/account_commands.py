"""What a user may do with accounts: sign-in, first set-up, users, sessions and tokens; all of it
audited."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from control_plane.auditor import Auditor
from control_plane.auth.attempts import SignInAttempts
from control_plane.auth.gate import Gate
from control_plane.auth.passwords import hash_password, verify_password
from control_plane.auth.permissions import Actor, Permission, Role, may
from control_plane.auth.tokens import API_TOKEN_PREFIX, new_token, token_hash
from control_plane.clock import Clock
from control_plane.errors import (
    BadCredentials,
    BadExpiry,
    BadSetupToken,
    ControlPlaneError,
    RateLimited,
    UnknownSession,
    UnknownUser,
)
from control_plane.storage.accounts import Account, Accounts, OpenSession
from control_plane.storage.api_tokens import ApiTokens, TokenFacts

_NO_EXPIRY_FROM: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""Later times, in UTC, may lie beyond what a datetime can say."""
_SETTING_UP: Final = ":setup"
"""Stands in for the user name, which has no colon, where attempts are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A session that was just opened; ``token`` goes into the cookie and nowhere else."""

    token: str
    csrf_token: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Where somebody comes from who is not known yet."""

    origin: str
    user_agent: str = ""


class AccountCommands:
    """Sign-in, first set-up, users, sessions and tokens."""

    def __init__(
        self, accounts: Accounts, tokens: ApiTokens, gate: Gate, audit: Auditor, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._gate = gate
        self._audit = audit
        self._clock = clock
        self._attempts = SignInAttempts(clock.monotonic)

    def sign_in(
        self, name: str, password: str, visitor: Visitor, before: str | None = None
    ) -> SignIn:
        """Open a session; the one of the token ``before`` ends, so that nobody can fix its id.

        Raises:
            BadCredentials, RateLimited.
        """
        verified = self._check(name, password, visitor, "session.open")
        if before is not None:
            self._accounts.end_session(token_hash(before))
        self._audit.note(_stranger(name, visitor), "session.open", name, "done")
        return self._open(name, visitor, verified)

    def sign_out(self, token: str, name: str, origin: str) -> None:
        self._accounts.end_session(token_hash(token))
        actor = _stranger(name, Visitor(origin=origin))
        self._audit.note(actor, "session.close", name, "done")

    def change_own_password(self, name: str, password: str, new: str, visitor: Visitor) -> SignIn:
        """Set one's own password, end all of one's sessions and open a new one.

        Raises:
            BadCredentials, RateLimited: the old password is wrong.
            WeakPassword.
        """
        verified = self._check(name, password, visitor, "user.passwd")
        hashed = hash_password(new)
        self._accounts.set_password(name, hashed, instead_of=verified)
        self._audit.note(_stranger(name, visitor), "user.passwd", name, "done", "own")
        return self._open(name, visitor, hashed)

    def new_setup_token(self, actor: Actor) -> str:
        """Return the token of a fresh set-up link; older ones stop working."""
        token = new_token()
        self._accounts.replace_setup_token(token_hash(token), self._clock.now())
        self._audit.note(actor, "setup.link", "*", "done")
        return token

    def set_up(self, token: str, name: str, password: str, visitor: Visitor) -> SignIn:
        """Make the first administrator and sign in.

        Raises:
            BadSetupToken, WeakPassword, RateLimited.
        """
        stranger = _stranger(name, visitor)
        self._gate.check(visitor.origin)
        try:
            self._attempts.begin(_SETTING_UP, visitor.origin)
            if not self._accounts.is_setup_token(token_hash(token), self._clock.now()):
                raise BadSetupToken
            hashed = hash_password(password)
            self._accounts.set_up(token_hash(token), name, hashed, self._clock.now())
        except (BadSetupToken, RateLimited) as exc:
            self._gate.strike(visitor.origin, exc.code)
            self._audit.refuse(stranger, "user.add", name, exc.code)
            raise
        self._attempts.succeeded(_SETTING_UP, visitor.origin)
        self._audit.note(stranger, "user.add", name, "done", "first administrator")
        return self._open(name, visitor, hashed)

    def users(self, actor: Actor) -> list[Account]:
        """Raises NotPermitted."""
        self._audit.allow(actor, Permission.ADMINISTER, "user.list", "*")
        return self._accounts.users()

    def user(self, actor: Actor, name: str) -> Account:
        """Raises NotPermitted or UnknownUser."""
        self._audit.allow(actor, Permission.ADMINISTER, "user.list", name)
        found = self._accounts.user(name)
        if found is None:
            raise UnknownUser(name=name)
        return found

    def add_user(self, actor: Actor, name: str, role: Role, password: str) -> None:
        """Raises NotPermitted, WeakPassword or UserExists."""
        self._audit.allow(actor, Permission.ADMINISTER, "user.add", name, role.value)
        self._accounts.add_user(name, role.value, hash_password(password), self._clock.now())
        self._audit.note(actor, "user.add", name, "done", role.value)

    def set_password(self, actor: Actor, name: str, password: str) -> None:
        """Set somebody's password and end their sessions.

        Raises:
            NotPermitted, WeakPassword, UnknownUser.
        """
        self._audit.allow(actor, Permission.ADMINISTER, "user.passwd", name)
        self._accounts.set_password(name, hash_password(password))
        self._audit.note(actor, "user.passwd", name, "done")

    def set_role(self, actor: Actor, name: str, role: Role) -> None:
        """Set somebody's role and end their sessions.

        Raises:
            NotPermitted, UnknownUser, LastAdmin.
        """
        self._audit.allow(actor, Permission.ADMINISTER, "user.role", name, role.value)
        try:
            self._accounts.set_role(name, role.value)
        except ControlPlaneError as exc:
            self._audit.note(actor, "user.role", name, "failed", f"{role.value} {exc.code}")
            raise
        self._audit.note(actor, "user.role", name, "done", role.value)

    def set_enabled(self, actor: Actor, name: str, *, enabled: bool) -> None:
        """Let somebody sign in, or not any more and end their sessions.

        Raises:
            NotPermitted, UnknownUser, LastAdmin.
        """
        action = "user.enable" if enabled else "user.disable"
        self._audit.allow(actor, Permission.ADMINISTER, action, name)
        try:
            if enabled:
                self._accounts.enable(name)
            else:
                self._accounts.disable(name, self._clock.now())
        except ControlPlaneError as exc:
            self._audit.note(actor, action, name, "failed", exc.code)
            raise
        self._audit.note(actor, action, name, "done")

    def sessions(self, actor: Actor) -> list[OpenSession]:
        """Return the open sessions that ``actor`` may end: one's own, an administrator all."""
        found = self._accounts.sessions(self._clock.now())
        everybody = may(actor, Permission.ADMINISTER)
        return [each for each in found if everybody or each.name == actor.name]

    def revoke_session(self, actor: Actor, session_id: str) -> None:
        """End a session; live connections of it are closed within a minute.

        Raises:
            UnknownSession: there is none, or it is somebody else's.
        """
        mine = {each.id: each.name for each in self.sessions(actor)}
        if session_id not in mine:
            self._audit.refuse(actor, "session.revoke", session_id)
            raise UnknownSession(id=session_id)
        self._accounts.revoke_session(session_id)
        self._audit.note(actor, "session.revoke", mine[session_id], "done", session_id)

    def tokens(self, actor: Actor) -> list[TokenFacts]:
        """Raises NotPermitted."""
        self._audit.allow(actor, Permission.ADMINISTER, "token.list", "*")
        return self._tokens.all()

    def create_token(
        self, actor: Actor, name: str, role: Role, expires_at: datetime | None = None
    ) -> str:
        """Return a new API token; it is shown once and cannot be read back.

        Raises:
            NotPermitted, UserExists, BadExpiry.
        """
        self._audit.allow(actor, Permission.ADMINISTER, "token.create", name, role.value)
        now = self._clock.now()
        if expires_at is not None and not now < expires_at < _NO_EXPIRY_FROM:
            raise BadExpiry
        facts = TokenFacts(
            name=name,
            role=role.value,
            created_at=now,
            created_by=actor.name,
            expires_at=expires_at,
        )
        token = new_token(API_TOKEN_PREFIX)
        self._tokens.add(facts, token_hash(token))
        until = f" until {expires_at.isoformat(timespec='seconds')}" if expires_at else ""
        self._audit.note(actor, "token.create", name, "done", f"{role.value}{until}")
        return token

    def revoke_token(self, actor: Actor, name: str) -> None:
        """Raises NotPermitted or UnknownToken."""
        self._audit.allow(actor, Permission.ADMINISTER, "token.revoke", name)
        self._tokens.revoke(name)
        self._audit.note(actor, "token.revoke", name, "done")

    def _check(self, name: str, password: str, visitor: Visitor, action: str) -> str:
        """Return the hash of the password; raise BadCredentials or RateLimited unless it is that
        of a user."""
        self._gate.check(visitor.origin)
        try:
            self._attempts.begin(name, visitor.origin)
        except RateLimited as exc:
            self._gate.strike(visitor.origin, exc.code)
            self._audit.refuse(_stranger(name, visitor), action, name, exc.code)
            raise
        user = self._accounts.user(name)
        # A disabled user's password takes as long and is called as wrong as anybody's.
        stored = user.password_hash if user and user.disabled_at is None else None
        if not verify_password(password, stored) or stored is None:
            self._audit.refuse(_stranger(name, visitor), action, name)
            raise BadCredentials
        self._attempts.succeeded(name, visitor.origin)
        return stored

    def _open(self, name: str, visitor: Visitor, verified: str) -> SignIn:
        """Open a session, unless the user was disabled or its password is no longer the one of
        this hash: comparing takes long, and a reset must end every session."""
        token, csrf_token = new_token(), new_token()
        came_from = (visitor.origin, visitor.user_agent)
        now = self._clock.now()
        self._accounts.open_session(name, token_hash(token), csrf_token, now, came_from)
        opened = self._accounts.session(token_hash(token), now)
        user = self._accounts.user(name)
        if opened is None or user is None or user.password_hash != verified:
            self._accounts.end_session(token_hash(token))
            self._audit.refuse(_stranger(name, visitor), "session.open", name, "changed meanwhile")
            raise BadCredentials
        return SignIn(token=token, csrf_token=csrf_token, name=name, role=Role(opened.role))


def _stranger(name: str, visitor: Visitor) -> Actor:
    """Stand in for somebody who is not known yet, in the audit trail only."""
    return Actor(name=name, role=Role.VIEWER, origin=visitor.origin)
