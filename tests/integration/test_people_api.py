"""Users, sessions and API tokens through the API."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane import account_commands
from control_plane.api.app import create_app
from control_plane.auth.gate import STRIKES
from control_plane.auth.passwords import verify_password
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.errors import RateLimited
from control_plane.settings import load_settings

PASSWORD = "a long password"
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        yield plane


class Person:
    """Somebody at a browser of their own."""

    def __init__(self, plane: ControlPlane, name: str, role: Role | None = None) -> None:
        if role is not None:
            plane.console.account_commands.add_user(ME, name, role, PASSWORD)
        self.client: FlaskClient = create_app(plane).test_client()
        self.name = name
        self.cookie_name = f"daq_session_{plane.console.settings.http_port}"
        self.csrf = self.sign_in().json["csrf_token"]

    def sign_in(self, password: str = PASSWORD) -> Any:
        body = {"username": self.name, "password": password}
        return self.client.post("/api/v1/session", json=body)

    @property
    def cookie(self) -> str:
        return str(self.client.get_cookie(self.cookie_name).value)

    def ask(self, method: str, path: str, **body: object) -> Any:
        return self.client.open(
            f"/api/v1/{path}",
            method=method,
            headers={"X-CSRF-Token": self.csrf},
            json=body if method not in ("GET", "DELETE") else None,
        )


def audited(plane: ControlPlane, action: str) -> list[tuple[str, str, str, str]]:
    query = "SELECT actor, target, outcome, detail FROM audit WHERE action = ? ORDER BY id"
    with plane.console.database.connection() as database:
        return list(database.execute_sql(query, (action,)).fetchall())


def test_an_administrator_adds_changes_and_disables_users(plane: ControlPlane) -> None:
    alice = Person(plane, "alice", Role.ADMIN)
    made = alice.ask("POST", "users", name="bob", role="operator", password=PASSWORD)
    assert (made.status_code, made.json["role"], made.json["disabled_at"]) == (
        201, "operator", None
    )  # fmt: skip
    again = alice.ask("POST", "users", name="bob", role="viewer", password=PASSWORD)
    assert (again.status_code, again.json["code"]) == (409, "user_exists")
    bob = Person(plane, "bob")
    assert alice.ask("PATCH", "users/bob", role="viewer").json["role"] == "viewer"
    assert bob.ask("GET", "processes").status_code == 401  # signed in with the rights of before
    bob.csrf = bob.sign_in().json["csrf_token"]
    assert bob.ask("GET", "users").json["code"] == "not_permitted"
    assert alice.ask("PATCH", "users/bob", disabled=True).json["disabled_at"] is not None
    assert bob.ask("GET", "processes").status_code == 401
    assert bob.sign_in().json["code"] == "bad_credentials"
    alice.ask("PATCH", "users/bob", disabled=False, password="quite another one")
    assert bob.sign_in().status_code == 401
    assert bob.sign_in("quite another one").status_code == 200
    assert alice.ask("PATCH", "users/nobody", disabled=True).status_code == 404
    listed = alice.ask("GET", "users").json["users"]
    assert [(user["name"], user["role"]) for user in listed] == [
        ("alice", "admin"), ("bob", "viewer")
    ]  # fmt: skip
    assert ("alice", "bob", "done", "viewer") in audited(plane, "user.role")
    assert [entry[2] for entry in audited(plane, "user.disable")] == ["done", "failed"]
    assert ("bob", "*", "denied", "") in audited(plane, "user.list")


def test_the_last_administrator_stays_one(plane: ControlPlane) -> None:
    alice = Person(plane, "alice", Role.ADMIN)
    for change in ({"disabled": True}, {"role": "operator"}):
        answer = alice.ask("PATCH", "users/alice", **change)
        assert (answer.status_code, answer.json["code"]) == (409, "last_admin")
    assert alice.ask("GET", "users").status_code == 200
    carol = Person(plane, "carol", Role.ADMIN)
    assert alice.ask("PATCH", "users/alice", role="operator").status_code == 200
    assert carol.ask("PATCH", "users/carol", disabled=True).json["code"] == "last_admin"


def test_sessions_are_listed_and_revoked_by_their_owner_and_by_administrators(
    plane: ControlPlane,
) -> None:
    alice, bob = Person(plane, "alice", Role.ADMIN), Person(plane, "bob", Role.VIEWER)
    elsewhere = Person(plane, "bob")
    mine = bob.ask("GET", "sessions").json["sessions"]
    assert [(each["user"], each["current"]) for each in mine] == [("bob", False), ("bob", True)]
    assert mine[0]["origin"] == "127.0.0.1"
    assert "Werkzeug" in mine[0]["user_agent"]
    assert bob.ask("DELETE", f"sessions/{mine[0]['id']}").status_code == 204
    assert elsewhere.ask("GET", "processes").status_code == 401
    everybody = alice.ask("GET", "sessions").json["sessions"]
    of = {each["user"]: each["id"] for each in everybody}
    for wrong in (of["alice"], "0" * 16, "%" * 16, "x"):
        refused = bob.ask("DELETE", f"sessions/{wrong}")
        assert (refused.status_code, refused.json["code"]) == (404, "unknown_session"), wrong
    assert alice.ask("DELETE", f"sessions/{of['bob']}").status_code == 204
    assert bob.ask("GET", "processes").status_code == 401
    assert alice.ask("GET", "processes").status_code == 200


def test_signing_in_gives_a_new_session_and_ends_the_one_of_the_same_browser(
    plane: ControlPlane,
) -> None:
    bob = Person(plane, "bob", Role.VIEWER)
    planted = bob.cookie
    bob.sign_in()
    assert bob.cookie != planted
    bob.client.set_cookie(bob.cookie_name, planted)
    assert bob.ask("GET", "processes").status_code == 401
    bob.client.set_cookie(bob.cookie_name, "chosen by somebody else")
    bob.sign_in()
    assert bob.cookie != "chosen by somebody else"


def test_ones_own_password_needs_the_old_one_and_ends_all_other_sessions(
    plane: ControlPlane,
) -> None:
    bob = Person(plane, "bob", Role.VIEWER)
    elsewhere = Person(plane, "bob")
    wrong = bob.ask("POST", "session/password", password="wrong", new_password="x" * 10)
    assert (wrong.status_code, wrong.json["code"]) == (401, "bad_credentials")
    weak = bob.ask("POST", "session/password", password=PASSWORD, new_password="short")
    assert (weak.status_code, weak.json["code"]) == (422, "weak_password")
    before = bob.cookie
    changed = bob.ask("POST", "session/password", password=PASSWORD, new_password="x" * 10)
    assert changed.status_code == 200
    assert bob.cookie != before
    assert bob.ask("GET", "processes").status_code == 200
    assert elsewhere.ask("GET", "processes").status_code == 401
    assert elsewhere.sign_in("x" * 10).status_code == 200


def test_a_password_that_is_reset_meanwhile_opens_and_changes_nothing(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = Person(plane, "bob", Role.VIEWER)
    commands = plane.console.account_commands

    def reset_while_comparing(new: str) -> None:
        def verify(password: str, stored: str | None) -> bool:
            is_right = verify_password(password, stored)
            commands.set_password(ME, "bob", new)
            return is_right

        monkeypatch.setattr(account_commands, "verify_password", verify)

    reset_while_comparing("first reset")
    change = {"password": PASSWORD, "new_password": "x" * 10}
    assert bob.ask("POST", "session/password", **change).json["code"] == "bad_credentials"
    reset_while_comparing("second reset")
    assert bob.sign_in("first reset").json["code"] == "bad_credentials"
    assert commands.sessions(ME) == []
    monkeypatch.undo()
    assert [bob.sign_in(each).status_code for each in ("x" * 10, "second reset")] == [401, 200]


def test_api_tokens_are_shown_once_expire_and_are_revoked(plane: ControlPlane) -> None:
    alice = Person(plane, "alice", Role.ADMIN)
    later = (plane.console.clock.now() + timedelta(seconds=1)).isoformat()
    made = {
        name: alice.ask("POST", "tokens", name=name, role="viewer", expires_at=until).json
        for name, until in (("ci", None), ("brief", later))
    }
    assert made["ci"]["token"].startswith("daq_")
    far = {"name": "x", "role": "viewer", "expires_at": "9999-12-31T23:59:59-14:00"}
    assert alice.ask("POST", "tokens", **far).json["code"] == "bad_expiry"
    past = alice.ask("POST", "tokens", name="x", role="viewer", expires_at="2020-01-01T00:00:00Z")
    assert (past.status_code, past.json["code"]) == (422, "bad_expiry")
    stranger = create_app(plane).test_client()

    def status(name: str) -> int:
        papers = {"Authorization": f"Bearer {made[name]['token']}"}
        return int(stranger.get("/api/v1/processes", headers=papers).status_code)

    assert status("ci") == status("brief") == 200
    listed = alice.ask("GET", "tokens")
    assert made["ci"]["token"] not in listed.text
    (ci,) = [each for each in listed.json["tokens"] if each["name"] == "ci"]
    assert (ci["created_by"], ci["expired"], ci["last_used_at"] is None) == ("alice", False, False)
    assert alice.ask("DELETE", "tokens/ci").status_code == 204
    assert alice.ask("DELETE", "tokens/ci").json["code"] == "unknown_token"
    assert status("ci") == 401
    deadline = time.monotonic() + 10
    while status("brief") == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (brief,) = alice.ask("GET", "tokens").json["tokens"]
    assert (brief["name"], brief["expired"]) == ("brief", True)


def test_an_operator_administers_nobody(plane: ControlPlane) -> None:
    bob = Person(plane, "bob", Role.OPERATOR)
    for method, path, body in (
        ("GET", "users", {}),
        ("POST", "users", {"name": "eve", "role": "admin", "password": PASSWORD}),
        ("PATCH", "users/bob", {"role": "admin"}),
        ("GET", "tokens", {}),
        ("POST", "tokens", {"name": "eve", "role": "admin"}),
        ("DELETE", "tokens/eve", {}),
    ):
        answer = bob.ask(method, path, **body)
        assert (answer.status_code, answer.json["code"]) == (403, "not_permitted"), path
    denied = [row[2] for row in audited(plane, "user.role")]
    assert denied == ["denied"]


def test_whoever_brings_wrong_tokens_is_banned_and_others_of_the_address_are_served(
    plane: ControlPlane,
) -> None:
    bob = Person(plane, "bob", Role.VIEWER)
    stranger = create_app(plane).test_client()

    def guess(number: int) -> Any:
        return stranger.get("/api/v1/processes", headers={"Authorization": f"Bearer daq_{number}"})

    codes = [guess(n).json["code"] for n in range(STRIKES + 5)]
    assert codes == ["not_authenticated"] * STRIKES + ["client_banned"] * 5
    refused = bob.sign_in()
    assert (refused.status_code, refused.json["code"]) == (429, "client_banned")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert bob.ask("GET", "processes").status_code == 200
    ((actor, target, outcome, detail),) = audited(plane, "client.ban")
    assert (actor, target, outcome) == ("gate", "127.0.0.1", "done")
    assert detail.startswith("not_authenticated")


def test_a_script_whose_token_has_expired_bans_nobody(plane: ControlPlane) -> None:
    Person(plane, "bob", Role.VIEWER)
    script = create_app(plane).test_client()
    for _ in range(3 * STRIKES):
        answer = script.get("/api/v1/processes", headers={"Authorization": "Bearer daq_old"})
        assert answer.json["code"] == "not_authenticated"
    assert plane.console.gate.banned() == []


def test_a_flood_of_refusals_does_not_flood_the_audit_trail(plane: ControlPlane) -> None:
    bob = Person(plane, "bob", Role.VIEWER)
    for _ in range(60):
        assert bob.ask("GET", "users").status_code == 403
    assert len(audited(plane, "user.list")) == 20
    now = plane.console.clock.monotonic()
    plane.console.audit._refusals._monotonic = lambda: now + 61
    plane.console.audit.note_further_refusals()
    assert audited(plane, "refusals") == [("*", "*", "denied", "40 more within a minute")]


def test_a_sender_that_asks_without_end_is_slowed_down_and_others_are_not(
    plane: ControlPlane,
) -> None:
    bob, carol = Person(plane, "bob", Role.VIEWER), Person(plane, "carol", Role.VIEWER)
    now = plane.console.clock.monotonic()
    plane.console.gate._monotonic = lambda: now
    with pytest.raises(RateLimited):
        list(map(plane.console.gate.count_request, ["bob"] * 2000))
    refused = bob.ask("GET", "sessions")
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert carol.ask("GET", "sessions").status_code == 200
    plane.console.gate._monotonic = lambda: now + 1
    assert bob.ask("GET", "sessions").status_code == 200
