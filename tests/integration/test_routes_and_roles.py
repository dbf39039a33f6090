"""Every route for every role, made from the routes themselves: a new one is tested as it comes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from control_plane.api.app import create_app
from control_plane.api.endpoint import Declaration, declaration_of, require_declarations
from control_plane.auth.permissions import Actor, Permission, Role, may
from control_plane.auth.tokens import token_hash
from control_plane.bootstrap import ControlPlane, running
from control_plane.settings import load_settings
from control_plane.storage.api_tokens import TokenFacts

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
PASSWORD = "a long password"
SAMPLES = {
    "name": "line1",
    "alert_id": "7",
    "silence_id": "7",
    "id_": "an-export-1",
    "revision": "0123456789ab",
    "process": "line1",
    "action": "stop",
}
"""A value for each variable of a path; others get ``x``."""
UNKNOWN = ("not_authenticated", "not_permitted", "csrf")


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    declaration: Declaration


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    home = tmp_path_factory.mktemp("home")
    (home / "collectors.d").mkdir()
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        yield plane


@pytest.fixture(scope="module")
def app(plane: ControlPlane) -> Flask:
    return create_app(plane)


@pytest.fixture(scope="module")
def papers(plane: ControlPlane) -> dict[str, dict[str, str]]:
    """Headers of each kind of sender."""
    commands, now = plane.console.account_commands, plane.console.clock.now()
    tokens = {role.value: commands.create_token(ME, f"t-{role}", role) for role in Role}
    tokens["revoked"] = commands.create_token(ME, "gone", Role.ADMIN)
    commands.revoke_token(ME, "gone")
    tokens["expired"] = "daq_" + "e" * 32
    facts = TokenFacts(
        name="old",
        role="admin",
        created_at=now - timedelta(days=2),
        expires_at=now - timedelta(days=1),
    )
    plane.console.tokens.add(facts, token_hash(tokens["expired"]))
    bearers = {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}
    return {"none": {}, **bearers}


def routes(app: Flask) -> list[Route]:
    found = []
    for rule in app.url_map.iter_rules():
        declaration = declaration_of(app.view_functions[rule.endpoint])
        if declaration is None:
            continue
        path = re.sub(r"<(?:[^:<>]*:)?(\w+)>", lambda m: SAMPLES.get(m[1], "x"), rule.rule)
        methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        found += [Route(method, path, declaration) for method in methods]
    return found


def ask(app: Flask, route: Route, headers: dict[str, str]) -> tuple[int, str]:
    arguments: dict[str, Any] = {"headers": headers}
    if route.declaration.body is not None:
        arguments["json"] = route.declaration.example or {}
    elif route.declaration.takes_media:
        arguments |= {"data": b"x", "content_type": route.declaration.takes_media[0]}
    answer = app.test_client().open(route.path, method=route.method, **arguments)
    code = answer.json.get("code", "") if answer.is_json and answer.status_code >= 400 else ""
    answer.close()
    return answer.status_code, str(code)


def wanted(route: Route, sender: str) -> str:
    """Return what must come of it: ``open``, ``stranger``, ``refused`` or ``let_in``."""
    permission = route.declaration.permission
    if permission is None:
        return "open"
    if sender not in list(Role):
        return "stranger"
    actor = Actor(name=sender, role=Role(sender), origin="::1")
    return "let_in" if may(actor, permission) else "refused"


def seen(route: Route, sender: str, status: int, code: str) -> str:
    if route.declaration.permission is None:
        return "open" if code not in UNKNOWN else code
    if (status, code) == (401, "not_authenticated"):
        # A token has no password that could be changed.
        own_password = route.path.endswith("/session/password") and sender in list(Role)
        return "let_in" if own_password else "stranger"
    return "refused" if (status, code) == (403, "not_permitted") else "let_in"


@pytest.mark.parametrize("sender", ["none", "viewer", "operator", "admin", "revoked", "expired"])
def test_each_route_answers_each_sender_as_its_permission_says(
    app: Flask, papers: dict[str, dict[str, str]], sender: str
) -> None:
    wrong = []
    found = routes(app)
    assert len(found) >= 50
    for route in found:
        status, code = ask(app, route, papers[sender])
        came = seen(route, sender, status, code)
        if came != wanted(route, sender) or status == 500:
            wrong.append((route.method, route.path, sender, status, code, came))
    assert wrong == []


def test_every_body_that_is_declared_has_an_example_that_is_one(app: Flask) -> None:
    for route in routes(app):
        if (model := route.declaration.body) is not None:
            model.model_validate(route.declaration.example or {})


def test_an_application_with_a_route_without_permission_does_not_start(app: Flask) -> None:
    require_declarations(app)
    forgetful = Flask("forgetful")
    forgetful.add_url_rule("/api/v1/open", "open", lambda: "everything")
    forgetful.add_url_rule("/elsewhere", "elsewhere", lambda: "not our business")
    with pytest.raises(RuntimeError, match="/api/v1/open"):
        require_declarations(forgetful)


def test_whoever_may_only_look_changes_only_what_is_their_own(app: Flask) -> None:
    loose = {
        (route.method, route.path)
        for route in routes(app)
        if route.method != "GET" and route.declaration.permission is Permission.VIEW
    }
    assert loose == {
        ("DELETE", "/api/v1/history/export/an-export-1"),
        ("POST", "/api/v1/session/password"),
        ("DELETE", "/api/v1/sessions/x"),
    }


def test_files_beside_the_api_are_not_the_api(app: Flask) -> None:
    open_routes = {rule.rule for rule in app.url_map.iter_rules() if "/api/" not in rule.rule}
    assert open_routes == {"/", "/<path:path>", "/healthz", "/metrics", "/ws"}
    assert Path(app.root_path).exists()
