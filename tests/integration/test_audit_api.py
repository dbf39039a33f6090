"""The audit trail through the API and the command line."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from control_plane.api.app import create_app
from control_plane.api.endpoint import declaration_of
from control_plane.auth.permissions import Actor, Permission, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.cli.root import cli
from control_plane.errors import SupervisorUnreachable
from control_plane.settings import load_settings
from control_plane.storage.audit import AuditFilter

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        for number in range(5):
            plane.console.audit.note(ME, "test.act", f"line{number}", "done", "=1+1")
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> FlaskClient:
    return create_app(plane).test_client()


def bearer(plane: ControlPlane, role: Role) -> dict[str, str]:
    token = plane.console.account_commands.create_token(ME, f"t-{role}", role)
    return {"Authorization": f"Bearer {token}"}


def tamper(plane: ControlPlane, statement: str) -> None:
    with plane.console.database.connection() as db:
        db.execute_sql(statement)


def test_the_trail_is_read_page_by_page_and_filtered(
    client: FlaskClient, plane: ControlPlane
) -> None:
    admin = bearer(plane, Role.ADMIN)
    first = client.get("/api/v1/audit?limit=2&action=test.*", headers=admin).json
    assert [entry["target"] for entry in first["entries"]] == ["line4", "line3"]
    path = f"/api/v1/audit?limit=10&action=test.act&before={first['next_before']}"
    second = client.get(path, headers=admin).json
    assert [entry["target"] for entry in second["entries"]] == ["line2", "line1", "line0"]
    assert second["next_before"] is None
    at = second["entries"][0]["at"]
    assert at.endswith("Z")
    one = client.get("/api/v1/audit?target=line3", headers=admin).json["entries"]
    assert [(e["actor"], e["origin"], e["outcome"], e["detail"]) for e in one] == [
        ("console:test", "console", "done", "=1+1")
    ]
    none = client.get("/api/v1/audit?start=2099-01-01T00:00:00Z", headers=admin).json
    assert none == {"entries": [], "next_before": None}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "before=x", "start=yesterday", "nobody=1", "format=xlsx"]
)
def test_a_query_that_makes_no_sense_is_refused(
    client: FlaskClient, plane: ControlPlane, query: str
) -> None:
    page = "/export" if query.startswith("format") else ""
    answer = client.get(f"/api/v1/audit{page}?{query}", headers=bearer(plane, Role.ADMIN))
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")


@pytest.mark.parametrize("path", ["audit", "audit/verify", "audit/export"])
def test_only_administrators_read_the_trail_and_a_refusal_is_in_it(
    client: FlaskClient, plane: ControlPlane, path: str
) -> None:
    answer = client.get(f"/api/v1/{path}", headers=bearer(plane, Role.OPERATOR))
    assert (answer.status_code, answer.json["code"]) == (403, "not_permitted")
    found = client.get(
        "/api/v1/audit?outcome=denied&actor=token:t-operator", headers=bearer(plane, Role.ADMIN)
    ).json["entries"]
    assert [entry["action"].removeprefix("audit.") for entry in found] == [
        {"audit": "read"}.get(path, path.removeprefix("audit/"))
    ]


def test_a_check_tells_what_was_done_to_the_trail(client: FlaskClient, plane: ControlPlane) -> None:
    admin = bearer(plane, Role.ADMIN)
    sound = client.get("/api/v1/audit/verify", headers=admin).json
    assert (sound["sound"], sound["problems"]) == (True, [])
    assert sound["entries"] == sound["last_id"]
    assert sound["entries"] == sound["anchored_id"] + sound["unanchored"]
    tamper(plane, "UPDATE audit SET actor = 'carol' WHERE id = 2")
    tamper(plane, "DELETE FROM audit WHERE id = 4")
    broken = client.get("/api/v1/audit/verify", headers=admin).json
    assert (broken["sound"], broken["problem_count"]) == (False, 2)
    assert broken["problems"] == [
        {"code": "edited", "first_id": 2, "last_id": 2},
        {"code": "missing", "first_id": 4, "last_id": 4},
    ]
    checks = client.get("/api/v1/audit?action=audit.verify", headers=admin).json["entries"]
    assert [entry["outcome"] for entry in checks] == ["failed", "done"]


def test_an_export_is_whole_safe_for_spreadsheets_and_itself_an_entry(
    client: FlaskClient, plane: ControlPlane
) -> None:
    admin = bearer(plane, Role.ADMIN)
    answer = client.get("/api/v1/audit/export?action=test.act", headers=admin)
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [row["target"] for row in rows] == [f"line{n}" for n in range(5)]
    assert {row["detail"] for row in rows} == {"'=1+1"}
    assert all(len(row["mac"]) == 64 for row in rows)
    lines = client.get("/api/v1/audit/export?format=jsonl", headers=admin).data.splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["id"] for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry["action"] for entry in entries[-2:]] == ["audit.export", "audit.export"]


def test_the_command_line_lists_checks_and_exports(plane: ControlPlane, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["--home", str(tmp_path), "audit", *arguments])
        return result.exit_code, result.output

    code, listed = run("list", "--action", "test.*", "--json")
    assert (code, [entry["target"] for entry in json.loads(listed)]) == (
        0, [f"line{n}" for n in range(5)]
    )  # fmt: skip
    assert "line4" in run("list", "--target", "line4")[1]
    code, said = run("verify")
    assert (code, "as they were written" in said, "not anchored" in said) == (0, True, True)
    code, _ = run("export", "--format", "jsonl", str(tmp_path / "audit.jsonl"))
    assert code == 0
    exported = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert json.loads(exported[0])["target"] == "line0"
    tamper(plane, "UPDATE audit SET detail = '' WHERE id = 1")
    code, said = run("verify")
    assert (code, "Entry 1 was changed" in said) == (1, True)
    assert json.loads(run("verify", "--json")[1])["problems"] == [["edited", 1, 1]]


def test_what_recovery_does_by_itself_is_an_entry(plane: ControlPlane) -> None:
    devices = plane.console.device_commands
    for act in (devices.clear_cache, lambda name: devices.reduce_frequency(name, 4.0)):
        with pytest.raises(SupervisorUnreachable):
            act("line1")
    entries = plane.console.audit.trail.entries(AuditFilter(actor="recovery"))
    assert [(e.event.action, e.event.outcome, e.event.detail) for e in reversed(entries)] == [
        ("recovery.clear_cache", "requested", ""),
        ("recovery.clear_cache", "failed", "supervisor_unreachable"),
        ("recovery.reduce_frequency", "requested", "factor 4"),
        ("recovery.reduce_frequency", "failed", "supervisor_unreachable"),
    ]


def test_every_change_that_a_viewer_may_not_make_is_refused_and_in_the_trail(
    plane: ControlPlane,
) -> None:
    app = create_app(plane)
    viewer, client = bearer(plane, Role.VIEWER), app.test_client()
    names = {"name": "line1", "action": "stop", "process": "*", "session_id": "0" * 16, "id_": "x"}
    names |= {"alert_id": "1", "silence_id": "1"}
    tried = 0
    for rule in app.url_map.iter_rules():
        declaration = declaration_of(app.view_functions[rule.endpoint])
        changes = set(rule.methods or ()) & {"POST", "PUT", "PATCH", "DELETE"}
        if not changes or declaration is None or declaration.permission in (None, Permission.VIEW):
            continue
        path = re.sub(r"<(?:[^<>:]+:)?(\w+)>", lambda found: names[found[1]], rule.rule)
        (method,) = changes
        before = len(plane.console.audit.trail.entries(AuditFilter(outcome="denied")))
        # Each from another address: refusals of one address are counted together at some time.
        answer = client.open(
            path, method=method, json=declaration.example, headers=viewer | {"If-Match": "*"},
            environ_base={"REMOTE_ADDR": f"192.0.2.{tried}"},
        )  # fmt: skip
        after = len(plane.console.audit.trail.entries(AuditFilter(outcome="denied")))
        assert (answer.status_code, answer.json["code"]) == (403, "not_permitted"), (method, path)
        assert after == before + 1, (method, path)
        tried += 1
    assert tried >= 15


def test_the_command_line_manages_people_and_tokens(plane: ControlPlane, tmp_path: Path) -> None:
    def run(*arguments: str, typed: str = "") -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["--home", str(tmp_path), *arguments], input=typed)
        return result.exit_code, result.output

    for name, role in (("alice", "admin"), ("bob", "viewer")):
        assert run("user", "add", name, "--role", role, typed="a long password\n")[0] == 0
    assert run("user", "role", "bob", "operator")[0] == 0
    assert run("user", "disable", "bob")[0] == 0
    assert "operator" in run("user", "list")[1]
    code, said = run("user", "disable", "alice")
    assert (code, "last administrator" in said) == (1, True)
    assert run("user", "enable", "bob")[0] == 0
    assert run("token", "create", "--name", "ci", "--days", "1")[1].startswith("daq_")
    assert "ci" in run("token", "list")[1]
    assert run("token", "revoke", "ci")[0] == 0
    assert run("token", "revoke", "ci")[0] == 1
    client = create_app(plane).test_client()
    client.post("/api/v1/session", json={"username": "bob", "password": "a long password"})
    (session,) = plane.console.account_commands.sessions(ME)
    assert session.id in run("session", "list")[1]
    assert run("session", "revoke", session.id)[0] == 0
    assert client.get("/api/v1/processes").status_code == 401
    entries = plane.console.audit.trail.entries(AuditFilter(action="user.*"))
    assert all(row.event.actor.startswith("console:") for row in entries)


def test_the_control_plane_itself_finds_out_and_says_so_once(plane: ControlPlane) -> None:
    commands = plane.console.audit_commands
    commands.watch()
    assert commands.findings == 0
    tamper(plane, "UPDATE audit SET actor = 'carol' WHERE id = 2")
    for _ in range(2):
        commands.watch()
        assert commands.findings == 1
    (entry,) = plane.console.audit.trail.entries(AuditFilter(action="audit.verify"))
    assert (entry.event.actor, entry.event.outcome) == ("scheduler", "failed")
