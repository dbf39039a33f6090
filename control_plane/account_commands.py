"""What a user may do with accounts: sign-in, first set-up, users and tokens; all of it audited."""

from dataclasses import dataclass

from control_plane.auditor import Auditor
from control_plane.auth.attempts import SignInAttempts
from control_plane.auth.passwords import hash_password, verify_password
from control_plane.auth.permissions import Actor, Permission, Role
from control_plane.auth.tokens import API_TOKEN_PREFIX, new_token, token_hash
from control_plane.clock import Clock
from control_plane.errors import BadCredentials
from control_plane.storage.accounts import Accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A session that was just opened; ``token`` goes into the cookie and nowhere else."""

    token: str
    csrf_token: str
    name: str
    role: Role


_SETTING_UP = ":setup"
"""Stands in for the user name, which has no colon, where attempts are counted."""


class AccountCommands:
    """Sign-in, first set-up, users and tokens."""

    def __init__(self, accounts: Accounts, audit: Auditor, clock: Clock) -> None:
        self._accounts = accounts
        self._audit = audit
        self._clock = clock
        self._attempts = SignInAttempts(clock.monotonic)

    def sign_in(self, name: str, password: str, origin: str) -> SignIn:
        """Raises BadCredentials or RateLimited."""
        self._attempts.begin(name, origin)
        user = self._accounts.user(name)
        if not verify_password(password, user.password_hash if user else None) or user is None:
            self._audit.note(_stranger(name, origin), "session.open", name, "denied")
            raise BadCredentials
        self._attempts.succeeded(name, origin)
        self._audit.note(_stranger(name, origin), "session.open", name, "done")
        return self._open(name, Role(user.role))

    def sign_out(self, token: str, name: str, origin: str) -> None:
        self._accounts.end_session(token_hash(token))
        self._audit.note(_stranger(name, origin), "session.close", name, "done")

    def new_setup_token(self) -> str:
        """Return the token of a fresh set-up link; older ones stop working."""
        token = new_token()
        self._accounts.replace_setup_token(token_hash(token), self._clock.now())
        return token

    def set_up(self, token: str, name: str, password: str, origin: str) -> SignIn:
        """Make the first administrator and sign in.

        Raises:
            BadSetupToken, WeakPassword, RateLimited.
        """
        self._attempts.begin(_SETTING_UP, origin)
        hashed = hash_password(password)
        self._accounts.set_up(token_hash(token), name, hashed, self._clock.now())
        self._attempts.succeeded(_SETTING_UP, origin)
        self._audit.note(_stranger(name, origin), "user.add", name, "done", "first administrator")
        return self._open(name, Role.ADMIN)

    def add_user(self, actor: Actor, name: str, role: Role, password: str) -> None:
        """Raises NotPermitted, WeakPassword or UserExists."""
        self._audit.allow(actor, Permission.ADMINISTER, "user.add", name, role.value)
        self._accounts.add_user(name, role.value, hash_password(password), self._clock.now())
        self._audit.note(actor, "user.add", name, "done", role.value)

    def set_password(self, actor: Actor, name: str, password: str) -> None:
        """Raises NotPermitted, WeakPassword or UnknownUser."""
        self._audit.allow(actor, Permission.ADMINISTER, "user.passwd", name)
        self._accounts.set_password(name, hash_password(password))
        self._audit.note(actor, "user.passwd", name, "done")

    def create_token(self, actor: Actor, name: str, role: Role) -> str:
        """Return a new API token; it is shown once and cannot be read back.

        Raises:
            NotPermitted, UserExists.
        """
        self._audit.allow(actor, Permission.ADMINISTER, "token.create", name, role.value)
        token = new_token(API_TOKEN_PREFIX)
        self._accounts.add_token(name, role.value, token_hash(token), self._clock.now())
        self._audit.note(actor, "token.create", name, "done", role.value)
        return token

    def _open(self, name: str, role: Role) -> SignIn:
        token, csrf_token = new_token(), new_token()
        self._accounts.open_session(name, token_hash(token), csrf_token, self._clock.now())
        return SignIn(token=token, csrf_token=csrf_token, name=name, role=role)


def _stranger(name: str, origin: str) -> Actor:
    """Stand in for somebody who is not known yet, in the audit trail only."""
    return Actor(name=name, role=Role.VIEWER, origin=origin)
