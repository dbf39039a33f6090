"""Users, their sessions and the API tokens of machines."""

from datetime import datetime
from typing import Annotated

from flask import Blueprint, request
from pydantic import AwareDatetime, BaseModel, Field

from control_plane.api.endpoint import endpoint
from control_plane.api.identity import cookie_name
from control_plane.api.parsing import Body
from control_plane.auth.permissions import Actor, Permission, Role
from control_plane.auth.tokens import token_hash
from control_plane.bootstrap import ControlPlane
from control_plane.errors import (
    BadExpiry,
    LastAdmin,
    NotPermitted,
    UnknownSession,
    UnknownToken,
    UnknownUser,
    UserExists,
    WeakPassword,
)
from control_plane.storage.accounts import Account, OpenSession
from control_plane.storage.api_tokens import TokenFacts

UserName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f\s:/]{1,64}$")]
Password = Annotated[str, Field(min_length=1, max_length=256)]


class UserView(BaseModel):
    """``disabled_at`` is null for one who may sign in."""

    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None


class UserList(BaseModel):
    users: list[UserView]


class NewUser(Body):
    name: UserName
    role: Role
    password: Password


class UserChange(Body):
    """What is left out stays; whatever is changed ends the user's sessions."""

    role: Role | None = None
    disabled: bool | None = None
    password: Password | None = None


class SessionView(BaseModel):
    """``current`` marks the session that asks."""

    id: str
    user: str
    role: Role
    origin: str
    user_agent: str
    created_at: datetime
    last_used_at: datetime
    current: bool


class SessionList(BaseModel):
    sessions: list[SessionView]


class TokenView(BaseModel):
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    expired: bool


class TokenList(BaseModel):
    tokens: list[TokenView]


class NewToken(Body):
    name: UserName
    role: Role
    expires_at: AwareDatetime | None = None


class TokenCreated(BaseModel):
    """``token`` is shown this once and cannot be read back."""

    name: str
    role: Role
    expires_at: datetime | None
    token: str


def people_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes ``/api/v1/users``, ``/api/v1/sessions`` and ``/api/v1/tokens``."""
    blueprint = Blueprint("people", __name__, url_prefix="/api/v1")
    _add_users(blueprint, plane)
    _add_sessions(blueprint, plane)
    _add_tokens(blueprint, plane)
    return blueprint


def _add_users(blueprint: Blueprint, plane: ControlPlane) -> None:
    commands = plane.console.account_commands

    @blueprint.get("/users")
    @endpoint(Permission.ADMINISTER, errors=(NotPermitted,))
    def list_users(actor: Actor) -> UserList:
        """List who may sign in, and who no longer may."""
        return UserList(users=[_user(each) for each in commands.users(actor)])

    @blueprint.post("/users")
    @endpoint(
        Permission.ADMINISTER,
        errors=(NotPermitted, UserExists, WeakPassword),
        status=201,
        example={"name": "bob", "role": "operator", "password": "at least ten characters"},
    )
    def add_user(body: NewUser, actor: Actor) -> UserView:
        """Add a user."""
        commands.add_user(actor, body.name, body.role, body.password)
        return _user(commands.user(actor, body.name))

    @blueprint.patch("/users/<name>")
    @endpoint(
        Permission.ADMINISTER,
        errors=(NotPermitted, UnknownUser, LastAdmin, WeakPassword),
        example={"role": "viewer"},
    )
    def change_user(name: str, body: UserChange, actor: Actor) -> UserView:
        """Change role or password, disable or enable; the user's sessions end."""
        if body.password is not None:
            commands.set_password(actor, name, body.password)
        if body.role is not None:
            commands.set_role(actor, name, body.role)
        if body.disabled is not None:
            commands.set_enabled(actor, name, enabled=not body.disabled)
        return _user(commands.user(actor, name))


def _add_sessions(blueprint: Blueprint, plane: ControlPlane) -> None:
    commands = plane.console.account_commands

    @blueprint.get("/sessions")
    @endpoint(Permission.VIEW)
    def list_sessions(actor: Actor) -> SessionList:
        """List one's own open sessions; an administrator sees everybody's."""
        cookie = request.cookies.get(cookie_name(plane))
        current = token_hash(cookie) if cookie else ""
        return SessionList(sessions=[_session(each, current) for each in commands.sessions(actor)])

    @blueprint.delete("/sessions/<session_id>")
    @endpoint(Permission.VIEW, errors=(UnknownSession,))
    def revoke_session(session_id: str, actor: Actor) -> None:
        """End a session of one's own; an administrator anybody's."""
        commands.revoke_session(actor, session_id)


def _add_tokens(blueprint: Blueprint, plane: ControlPlane) -> None:
    commands, clock = plane.console.account_commands, plane.console.clock

    @blueprint.get("/tokens")
    @endpoint(Permission.ADMINISTER, errors=(NotPermitted,))
    def list_tokens(actor: Actor) -> TokenList:
        """List the API tokens, without their secrets."""
        now = clock.now()
        return TokenList(tokens=[_token(each, now) for each in commands.tokens(actor)])

    @blueprint.post("/tokens")
    @endpoint(
        Permission.ADMINISTER,
        errors=(NotPermitted, UserExists, BadExpiry),
        status=201,
        example={"name": "grafana", "role": "viewer", "expires_at": "2099-01-31T00:00:00Z"},
    )
    def create_token(body: NewToken, actor: Actor) -> TokenCreated:
        """Make an API token."""
        token = commands.create_token(actor, body.name, body.role, body.expires_at)
        return TokenCreated(name=body.name, role=body.role, expires_at=body.expires_at, token=token)

    @blueprint.delete("/tokens/<name>")
    @endpoint(Permission.ADMINISTER, errors=(NotPermitted, UnknownToken))
    def revoke_token(name: str, actor: Actor) -> None:
        """Let a token work no more."""
        commands.revoke_token(actor, name)


def _user(account: Account) -> UserView:
    return UserView(
        name=account.name,
        role=Role(account.role),
        created_at=account.created_at,
        disabled_at=account.disabled_at,
    )


def _session(session: OpenSession, current: str) -> SessionView:
    return SessionView(
        id=session.id,
        user=session.name,
        role=Role(session.role),
        origin=session.origin,
        user_agent=session.user_agent,
        created_at=session.created_at,
        last_used_at=session.last_used_at,
        current=bool(current) and current.startswith(session.id),
    )


def _token(facts: TokenFacts, now: datetime) -> TokenView:
    return TokenView(
        name=facts.name,
        role=Role(facts.role),
        created_at=facts.created_at,
        created_by=facts.created_by,
        expires_at=facts.expires_at,
        last_used_at=facts.last_used_at,
        expired=facts.expires_at is not None and facts.expires_at <= now,
    )
