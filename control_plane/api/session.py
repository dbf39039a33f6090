"""Sign-in, sign-out, first set-up and one's own password."""

from typing import Annotated

from flask import Blueprint, Response, request
from pydantic import BaseModel, Field
from werkzeug.http import dump_cookie

from control_plane.account_commands import SignIn, Visitor
from control_plane.api.endpoint import Answer, endpoint
from control_plane.api.identity import (
    check_csrf_token,
    cookie_name,
    open_session,
    origin_address,
    reject_foreign_origin,
)
from control_plane.api.parsing import Body
from control_plane.api.people import Password, UserName
from control_plane.auth.permissions import Permission, Role
from control_plane.bootstrap import ControlPlane
from control_plane.errors import (
    BadCredentials,
    BadSetupToken,
    CsrfRejected,
    NotAuthenticated,
    RateLimited,
    UserExists,
    WeakPassword,
)
from control_plane.storage.accounts import SESSION_LONGEST
from control_plane.version import VERSION


class Credentials(Body):
    username: UserName
    password: Password


class FirstUser(Credentials):
    """``token`` is the end of the set-up link that ``daqplane run`` prints."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


class NewPassword(Body):
    password: Password
    new_password: Password


class SignedIn(BaseModel):
    name: str
    role: Role


class SessionState(BaseModel):
    """``setup_required`` asks for the set-up link: nobody can sign in yet."""

    authenticated: bool
    setup_required: bool
    user: SignedIn | None
    csrf_token: str | None
    version: str


def session_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes that work without being signed in, and the change of one's own password."""
    blueprint = Blueprint("session", __name__, url_prefix="/api/v1")
    commands = plane.console.account_commands

    @blueprint.get("/session")
    @endpoint(None, errors=(RateLimited,))
    def show() -> SessionState:
        """Say who is signed in by the cookie of this request."""
        plane.console.gate.count_request(f"address {origin_address()}")
        session = open_session(plane)
        if session is None:
            return _state(None, setup_required=not plane.console.accounts.has_users())
        user = SignedIn(name=session.name, role=Role(session.role))
        return _state(user, csrf_token=session.csrf_token)

    @blueprint.post("/session")
    @endpoint(
        None,
        errors=(BadCredentials, RateLimited, CsrfRejected),
        example={"username": "alice", "password": "at least ten characters"},
    )
    def sign_in(body: Credentials) -> Answer[SessionState]:
        """Sign in; the answer sets the session's cookie."""
        reject_foreign_origin()
        before = request.cookies.get(cookie_name(plane))
        opened = commands.sign_in(body.username, body.password, _visitor(), before)
        return _signed_in(plane, opened)

    @blueprint.delete("/session")
    @endpoint(None, errors=(CsrfRejected,), status=204)
    def sign_out() -> Response:
        """Sign out; without a session nothing happens."""
        session = open_session(plane)
        if session is not None:
            check_csrf_token(session)
            token = request.cookies[cookie_name(plane)]
            commands.sign_out(token, session.name, origin_address())
        return Response(status=204, headers={"Set-Cookie": _cookie(plane, "", 0)})

    _add_passwords(blueprint, plane)
    return blueprint


def _add_passwords(blueprint: Blueprint, plane: ControlPlane) -> None:
    commands = plane.console.account_commands

    @blueprint.post("/session/password")
    @endpoint(
        Permission.VIEW,
        errors=(NotAuthenticated, BadCredentials, RateLimited, WeakPassword, CsrfRejected),
        example={"password": "the present one", "new_password": "at least ten characters"},
    )
    def change_password(body: NewPassword) -> Answer[SessionState]:
        """Change one's own password; all of one's sessions end and a new one begins."""
        session = open_session(plane)
        if session is None:  # an API token has no password
            raise NotAuthenticated
        opened = commands.change_own_password(
            session.name, body.password, body.new_password, _visitor()
        )
        return _signed_in(plane, opened)

    @blueprint.post("/setup")
    @endpoint(
        None,
        errors=(BadSetupToken, WeakPassword, UserExists, RateLimited, CsrfRejected),
        example={"token": "of the link", "username": "alice", "password": "a long password"},
    )
    def set_up(body: FirstUser) -> Answer[SessionState]:
        """Make the first administrator with the token of the set-up link, and sign in."""
        reject_foreign_origin()
        opened = commands.set_up(body.token, body.username, body.password, _visitor())
        return _signed_in(plane, opened)


def _visitor() -> Visitor:
    return Visitor(origin=origin_address(), user_agent=request.headers.get("User-Agent", ""))


def _signed_in(plane: ControlPlane, sign_in: SignIn) -> Answer[SessionState]:
    state = _state(SignedIn(name=sign_in.name, role=sign_in.role), csrf_token=sign_in.csrf_token)
    cookie = _cookie(plane, sign_in.token, int(SESSION_LONGEST.total_seconds()))
    return Answer(body=state, headers={"Set-Cookie": cookie})


def _cookie(plane: ControlPlane, value: str, max_age_s: int) -> str:
    return dump_cookie(
        cookie_name(plane),
        value,
        max_age=max_age_s,
        path="/",
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
    )


def _state(
    user: SignedIn | None, *, setup_required: bool = False, csrf_token: str | None = None
) -> SessionState:
    return SessionState(
        authenticated=user is not None,
        setup_required=setup_required,
        user=user,
        csrf_token=csrf_token,
        version=VERSION,
    )
