"""Sign-in, sign-out and first set-up."""

from typing import Annotated

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, Field

from control_plane.account_commands import SignIn
from control_plane.api.identity import (
    cookie_name,
    open_session,
    origin_address,
    parse_body,
    reject_foreign_origin,
)
from control_plane.bootstrap import ControlPlane
from control_plane.errors import CsrfRejected
from control_plane.storage.accounts import SESSION_LONGEST
from control_plane.version import VERSION

UserName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f\s:/]{1,64}$")]
Password = Annotated[str, Field(min_length=1, max_length=256)]


class Credentials(BaseModel):
    username: UserName
    password: Password


class FirstUser(Credentials):
    token: Annotated[str, Field(min_length=1, max_length=200)]


def session_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes that work without being signed in."""
    blueprint = Blueprint("session", __name__, url_prefix="/api/v1")

    @blueprint.get("/session")
    def show() -> Response:
        session = open_session(plane)
        if session is None:
            return _answer(None, setup_required=not plane.console.accounts.has_users())
        user = {"name": session.name, "role": session.role}
        return _answer(user, csrf_token=session.csrf_token)

    @blueprint.post("/session")
    def sign_in() -> Response:
        reject_foreign_origin()
        body = parse_body(Credentials)
        commands = plane.console.account_commands
        return _signed_in(plane, commands.sign_in(body.username, body.password, origin_address()))

    @blueprint.delete("/session")
    def sign_out() -> Response:
        session = open_session(plane)
        if session is not None:
            if request.headers.get("X-CSRF-Token") != session.csrf_token:
                raise CsrfRejected
            token = request.cookies[cookie_name(plane)]
            plane.console.account_commands.sign_out(token, session.name, origin_address())
        response = Response(status=204)
        response.delete_cookie(cookie_name(plane))
        return response

    @blueprint.post("/setup")
    def set_up() -> Response:
        reject_foreign_origin()
        body = parse_body(FirstUser)
        commands = plane.console.account_commands
        return _signed_in(
            plane, commands.set_up(body.token, body.username, body.password, origin_address())
        )

    return blueprint


def _signed_in(plane: ControlPlane, sign_in: SignIn) -> Response:
    user = {"name": sign_in.name, "role": sign_in.role.value}
    response = _answer(user, csrf_token=sign_in.csrf_token)
    response.set_cookie(
        cookie_name(plane),
        sign_in.token,
        max_age=SESSION_LONGEST,
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
    )
    return response


def _answer(
    user: dict[str, str] | None, *, setup_required: bool = False, csrf_token: str | None = None
) -> Response:
    return jsonify(
        authenticated=user is not None,
        setup_required=setup_required,
        user=user,
        csrf_token=csrf_token,
        version=VERSION,
    )
