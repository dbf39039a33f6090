"""Every route against every kind of sender: what is declared is what happens.

The routes are those of the application itself, so a new one is tried without being listed here;
one without a declared permission does not even start (``require_declarations``).
"""

import itertools
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Blueprint, Flask, Response

from control_plane.api.app import create_app
from control_plane.api.endpoint import declaration_of, require_declarations
from control_plane.auth.permissions import Actor, Permission, Role, may
from control_plane.auth.tokens import new_token, token_hash
from control_plane.bootstrap import ControlPlane, running
from control_plane.settings import load_settings
from control_plane.storage.api_tokens import TokenFacts

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
STRANGERS = (
    "nobody", "revoked token", "expired token", "ended session", "disabled user", "wrong token"
)  # fmt: skip
PLACES = {
    "name": "line1", "action": "stop", "process": "line1", "session_id": "0" * 16, "id_": "x",
    "alert_id": "1", "silence_id": "1", "revision": "0" * 16, "id": "1", "node": "local",
}  # fmt: skip
ADDRESSES = (f"10.{a}.{b}.{c}" for a, b, c in itertools.product(range(250), repeat=3))
CASES = [*STRANGERS, *Role]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    home = tmp_path_factory.mktemp("home")
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        for name in (*(role.value for role in Role), "gone"):
            role = Role(name) if name != "gone" else Role.ADMIN
            plane.console.accounts.add_user(name, role.value, "hash", plane.console.clock.now())
        yield plane


@pytest.fixture(scope="module")
def app(plane: ControlPlane) -> Flask:
    return create_app(plane)


def papers(plane: ControlPlane, sender: str) -> dict[str, str]:
    """Return the headers of a new session of a role, or of what no longer lets anybody in."""
    console, now = plane.console, plane.console.clock.now()
    token, csrf = new_token("daq_"), new_token()
    bearer = {"Authorization": f"Bearer {token}"}
    match sender:
        case "nobody":
            return {}
        case "wrong token":
            return bearer
        case "revoked token" | "expired token":
            before = now - timedelta(days=1)
            facts = TokenFacts(
                name=token[:20],
                role="admin",
                created_at=before,
                expires_at=before if sender == "expired token" else None,
            )
            console.tokens.add(facts, token_hash(token))
            if sender == "revoked token":
                console.tokens.revoke(facts.name)
            return bearer
    user = {"ended session": "admin", "disabled user": "gone"}.get(sender, sender)
    at = now - timedelta(hours=13) if sender == "ended session" else now
    console.accounts.enable("gone")
    console.accounts.open_session(user, token_hash(token), csrf, at)
    if sender == "disabled user":
        console.accounts.disable("gone", now)
    cookie = f"daq_session_{console.settings.http_port}={token}"
    return {"Cookie": cookie, "X-CSRF-Token": csrf}


def routes(app: Flask) -> Iterator[tuple[str, str, Permission | None, Any]]:
    """Yield method, path, permission and an example body of every route of the API."""
    for rule in app.url_map.iter_rules():
        declaration = declaration_of(app.view_functions[rule.endpoint])
        if declaration is None:
            continue
        path = re.sub(r"<(?:[^<>:]+:)?(\w+)>", lambda found: PLACES[found[1]], rule.rule)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            yield method, path, declaration.permission, declaration.example


@pytest.mark.parametrize("sender", CASES)
def test_every_route_answers_every_sender_as_it_declares(
    app: Flask, plane: ControlPlane, sender: str
) -> None:
    tried = 0
    client = app.test_client(use_cookies=False)
    for method, path, permission, example in routes(app):
        answer = client.open(
            path,
            method=method,
            json=example if method not in ("GET", "DELETE") else None,
            headers=papers(plane, sender) | {"If-Match": "*"},
            environ_base={"REMOTE_ADDR": next(ADDRESSES)},
        )
        code = answer.json.get("code") if answer.is_json else None
        told = (answer.status_code, code, method, path)
        refused = told[:2] in ((401, "not_authenticated"), (403, "not_permitted"))
        if permission is None:
            assert not refused, told
        elif sender in STRANGERS:
            assert told[:2] == (401, "not_authenticated"), told
        elif may(Actor(name=sender, role=Role(sender), origin="::1"), permission):
            assert not refused, told
        else:
            assert told[:2] == (403, "not_permitted"), told
        assert answer.status_code != 500, told
        tried += 1
    assert tried >= 50


def test_a_route_without_a_permission_keeps_the_application_from_starting() -> None:
    app = Flask("incomplete")
    blueprint = Blueprint("new", __name__)
    blueprint.add_url_rule("/api/v1/new", view_func=lambda: Response("hello"))
    app.register_blueprint(blueprint)
    with pytest.raises(RuntimeError, match="/api/v1/new"):
        require_declarations(app)
