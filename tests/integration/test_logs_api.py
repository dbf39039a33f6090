"""Search, permalinks, downloads and errors of a log over HTTP, and no secret in any of them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.settings import load_settings

BASE = "/api/v1/processes/line1/logs"
LINES = """{"level": "INFO", "event": "one", "password": "CANARY7secret"}
{"level": "ERROR", "event": "no answer after 7 ms", "ts": "2999-01-01T00:00:00Z"}
{"level": "ERROR", "event": "no answer after 9 ms", "ts": "2999-01-01T00:00:01Z"}
opc.tcp://user:CANARY7secret@host:4840
"""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    (tmp_path / "collectors.d").mkdir()
    (tmp_path / "collectors.d" / "line1.toml").write_text('name = "line1"\nprotocol = "x"')
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "line1.log").write_text(LINES)
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> FlaskClient:
    me = Actor(name="console:test", role=Role.ADMIN, origin="console")
    token = plane.console.account_commands.create_token(me, "t", Role.VIEWER)
    client = create_app(plane).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def test_a_search_is_paged_linked_and_audited(client: FlaskClient, plane: ControlPlane) -> None:
    page = client.get(f"{BASE}/search?text=answer&limit=1").json
    assert [entry["message"] for entry in page["entries"]] == ["no answer after 9 ms"]
    older = client.get(f"{BASE}/search?text=answer&before={page['older']}").json
    assert [entry["message"] for entry in older["entries"]] == ["no answer after 7 ms"]
    around = client.get(f"{BASE}/around?at={page['entries'][0]['cursor']}&context=1").json
    assert [entry["level"] for entry in around["entries"]] == ["ERROR", "ERROR", "INFO"]
    assert client.get(f"{BASE}/search?regex=(").status_code == 400
    with sqlite3.connect(plane.console.settings.home / "state.db") as database:
        found = database.execute("SELECT count(*) FROM audit WHERE action = 'log.search'")
        assert found.fetchone() == (1,)
    database.close()


def test_no_answer_holds_a_secret(client: FlaskClient) -> None:
    for path in ("", "/search", "/download", "/download?format=jsonl", "/search?text=CANARY7"):
        answer = client.get(BASE + path)
        assert answer.status_code == 200
        assert "CANARY7" not in answer.text


def test_errors_are_told_with_whether_all_were_read(client: FlaskClient) -> None:
    found = client.get("/api/v1/processes/line1/errors?from=2020-01-01T00:00:00Z").json
    assert found["complete"]


def test_the_last_lines_before_a_crash_are_found(client: FlaskClient, plane: ControlPlane) -> None:
    (plane.console.settings.log_dir / "supervisord.log").write_text(
        "2998-12-31 23:00:00,000+00:00 INFO spawned: 'line1' with pid 11\n"
        "2999-01-01 00:00:00,500+00:00 WARN exited: line1 (exit status 3; not expected)\n"
        "2999-01-01 00:00:00,600+00:00 INFO spawned: 'line1' with pid 12\n"
    )
    runs = client.get(f"{BASE}/runs").json["runs"]
    assert [run["pid"] for run in runs] == [12, 11]
    assert (runs[1]["end"], runs[1]["is_expected"]) == ("exit status 3; not expected", False)
    for run, wanted in (("previous", "7 ms"), ("1", "7 ms"), ("current", "9 ms")):
        page = client.get(f"{BASE}/search?run={run}&level=ERROR").json
        assert [entry["message"] for entry in page["entries"]] == [f"no answer after {wanted}"]
    assert "9 ms" not in client.get(f"{BASE}/download?run=previous").text
    assert client.get(f"{BASE}/search?run=7").status_code == 400
    assert client.get(f"{BASE}/search?run=next").status_code == 400
