"""The API on a real state database, with no supervisord behind it: it must say so, not lie."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.api.app import create_app
from control_plane.api.panel import panel_blueprint
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.settings import load_settings

COLLECTOR = """
name = "line1"
protocol = "modbus_tcp"
display_name = "一号线"
[[devices]]
id = "press1"
host = "127.0.0.1"
points = [{ name = "temperature", address = "holding:0", unit = "°C" }]
"""
PASSWORD = "a long password"
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    (tmp_path / "collectors.d").mkdir()
    (tmp_path / "collectors.d" / "line1.toml").write_text(COLLECTOR)
    (tmp_path / "collectors.d" / "broken.toml").write_text('name = "broken"\nprotocol = "modbus"')
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> FlaskClient:
    return create_app(plane).test_client()


def bearer(plane: ControlPlane, role: Role) -> dict[str, str]:
    token = plane.console.account_commands.create_token(ME, f"t-{role}", role)
    return {"Authorization": f"Bearer {token}"}


def sign_in(client: FlaskClient, plane: ControlPlane, role: Role = Role.OPERATOR) -> str:
    plane.console.account_commands.add_user(ME, "bob", role, PASSWORD)
    answer = client.post("/api/v1/session", json={"username": "bob", "password": PASSWORD})
    assert answer.status_code == 200
    return str(answer.json["csrf_token"])


def test_strangers_may_only_ask_whether_it_lives_and_sign_in(client: FlaskClient) -> None:
    assert client.get("/healthz").json["status"] == "ok"
    session = client.get("/api/v1/session").json
    assert (session["authenticated"], session["setup_required"]) == (False, True)
    for path in ("processes", "processes/line1", "history", "system", "nothing"):
        answer = client.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json["code"]) == (401, "not_authenticated"), path
        assert answer.mimetype == "application/problem+json"


def test_every_route_below_api_is_closed_to_strangers(plane: ControlPlane) -> None:
    app = create_app(plane)
    client = app.test_client()
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/") or rule.rule in ("/api/v1/session", "/api/v1/setup"):
            continue
        path = rule.rule.replace("<name>", "line1").replace(
            "<any(start, stop, restart):action>", "stop"
        )
        for method in rule.methods - {"OPTIONS", "HEAD"}:
            assert client.open(path, method=method).status_code == 401, (method, path)


def test_without_supervisord_nothing_is_called_healthy(
    client: FlaskClient, plane: ControlPlane
) -> None:
    answer = client.get("/api/v1/processes", headers=bearer(plane, Role.VIEWER))
    assert answer.json["supervisor"]["reachable"] is False
    by_name = {p["name"]: p for p in answer.json["processes"]}
    line1, broken = by_name["line1"], by_name["broken"]
    assert (line1["status"], line1["supervisor_state"]) == ("UNKNOWN", "UNKNOWN")
    assert (line1["health"]["status"], line1["health_score"]) == ("unknown", None)
    assert (line1["type"], line1["display_name"]) == ("modbus", "一号线")
    assert broken["health"]["status"] == "unknown"


def test_collectors_are_found_sorted_and_paged(client: FlaskClient, plane: ControlPlane) -> None:
    viewer = bearer(plane, Role.VIEWER)

    def listed(query: str) -> list[str]:
        answer = client.get(f"/api/v1/processes?{query}", headers=viewer)
        assert answer.status_code == 200, answer.json
        return [each["name"] for each in answer.json["processes"]]

    assert listed("") == ["broken", "line1"]
    assert listed("sort=-name&limit=1") == ["line1"]
    assert listed("sort=-health_score") == ["broken", "line1"]
    assert listed("q=一号") == ["line1"]
    assert listed("status=RUNNING") == listed("node=line2") == listed("offset=2") == []
    assert listed("health=unknown&status=UNKNOWN") == ["broken", "line1"]
    wrong = client.get("/api/v1/processes?status=DEAD", headers=viewer)
    assert (wrong.status_code, wrong.json["problems"][0]["field"]) == (400, "status")


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_what_the_server_itself_refuses_is_a_problem_too(
    client: FlaskClient, plane: ControlPlane, language: str
) -> None:
    viewer = bearer(plane, Role.VIEWER) | {"Accept-Language": language}
    gone = client.get("/api/v1/nothing", headers=viewer)
    wrong = client.patch("/api/v1/processes", headers=viewer)
    kind = client.post("/api/v1/silences", data="x", headers=viewer)
    large = client.post(
        "/api/v1/silences", data=b" " * 2_000_000, content_type="application/json", headers=viewer
    )
    found = [(a.status_code, a.mimetype) for a in (gone, wrong, kind, large)]
    assert found == [(s, "application/problem+json") for s in (404, 405, 415, 413)]
    assert "GET" in wrong.headers["Allow"]
    details = "".join(answer.json["detail"] for answer in (gone, wrong, kind, large))
    assert details.isascii() == (language == "en")


def test_the_set_up_link_makes_the_first_user_once(
    client: FlaskClient, plane: ControlPlane
) -> None:
    token = plane.console.account_commands.new_setup_token(ME)
    body = {"token": token, "username": "alice", "password": "short"}
    assert client.post("/api/v1/setup", json=body).json["code"] == "weak_password"
    body["password"] = PASSWORD
    assert client.post("/api/v1/setup", json=body).json["user"] == {
        "name": "alice",
        "role": "admin",
    }
    assert client.get("/api/v1/processes").status_code == 200
    again = client.post("/api/v1/setup", json=body | {"username": "mallory"})
    assert (again.status_code, again.json["code"]) == (403, "bad_setup_token")
    assert client.get("/api/v1/session").json["setup_required"] is False


def test_a_session_cookie_is_strict_and_ends_with_the_sign_out(
    client: FlaskClient, plane: ControlPlane
) -> None:
    csrf = sign_in(client, plane)
    cookie = client.get_cookie(f"daq_session_{plane.console.settings.http_port}")
    assert cookie.http_only
    assert cookie.same_site == "Strict"
    assert client.delete("/api/v1/session").json["code"] == "csrf"
    assert client.delete("/api/v1/session", headers={"X-CSRF-Token": csrf}).status_code == 204
    assert client.get("/api/v1/processes").status_code == 401


def test_a_change_by_cookie_needs_the_csrf_token_and_this_site(
    client: FlaskClient, plane: ControlPlane
) -> None:
    csrf = sign_in(client, plane)
    path = "/api/v1/processes/line1/start"
    assert client.post(path).json["code"] == "csrf"
    foreign = {"X-CSRF-Token": csrf, "Origin": "http://evil.example"}
    assert client.post(path, headers=foreign).json["code"] == "csrf"
    answer = client.post(path, headers={"X-CSRF-Token": csrf, "Origin": "http://localhost"})
    assert (answer.status_code, answer.json["code"]) == (503, "supervisor_unreachable")


def test_a_viewer_sees_and_commands_nothing(client: FlaskClient, plane: ControlPlane) -> None:
    viewer = bearer(plane, Role.VIEWER)
    assert client.get("/api/v1/processes/line1", headers=viewer).status_code == 200
    answer = client.post("/api/v1/processes/line1/stop", headers=viewer)
    assert (answer.status_code, answer.json["code"]) == (403, "not_permitted")


def test_guessing_passwords_is_slowed_down_and_says_for_how_long(
    client: FlaskClient, plane: ControlPlane
) -> None:
    sign_in(client, plane)
    wrong = {"username": "bob", "password": "wrong password"}
    codes = [client.post("/api/v1/session", json=wrong).status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2
    answer = client.post("/api/v1/session", json=wrong)
    assert int(answer.headers["Retry-After"]) == answer.json["retry_after_s"] > 0


def test_errors_speak_the_language_of_the_request(client: FlaskClient) -> None:
    body = {"username": "nobody", "password": "wrong password"}
    chinese = client.post("/api/v1/session", json=body, headers={"Accept-Language": "zh-CN,en"})
    english = client.post("/api/v1/session", json=body, headers={"Accept-Language": "de"})
    assert chinese.json["detail"] == "用户名或密码错误。"
    assert english.json["detail"] == "User name or password is wrong."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"username": 1, "password": "x"}',
        b"[" * 100_000,
        b'{"username": "a\x00"}',
    ],
)
def test_a_body_that_makes_no_sense_is_a_bad_request(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/api/v1/session", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "series is missing"),
        ("series=../x/y", "series must be"),
        ("series=line1/press1/temperature&from=yesterday", "from must be a time"),
        ("series=line1/press1/temperature&from=now&to=-1m", "before"),
        ("series=line1/press1/temperature&buckets=0", "buckets must be"),
        ("series=line1/press1/temperature&buckets=٣", "buckets must be"),
        ("series=line1/press1/temperature&buckets=0000005000000000", "buckets must be"),
        ("series=line1/press1/temperature&from=-999999d", "from must be a time"),
        ("series=line1/press1/temperature&from=0001-01-01T00:00%2B14:00", "1970"),
        ("series=line1/press1/temperature&to=9999-12-31", "to must lie"),
    ],
)
def test_history_queries_that_make_no_sense_are_refused_by_name(
    client: FlaskClient, plane: ControlPlane, query: str, words: str
) -> None:
    answer = client.get(f"/api/v1/history?{query}", headers=bearer(plane, Role.VIEWER))
    assert answer.status_code == 400
    assert words in answer.json["detail"]


def test_points_and_history_are_empty_before_anything_was_stored(
    client: FlaskClient, plane: ControlPlane
) -> None:
    viewer = bearer(plane, Role.VIEWER)
    (point,) = client.get("/api/v1/processes/line1/points", headers=viewer).json["points"]
    assert (point["series"], point["quality"]) == ("line1/press1/temperature", "init")
    history = client.get(f"/api/v1/history?series={point['series']}", headers=viewer).json
    assert (history["unit"], history["rows"]) == ("°C", [])


@pytest.mark.parametrize("tail", ["0", "2001", "0000020000000", "9" * 5000, "1e3", "-1"])
def test_the_number_of_log_lines_has_a_limit(
    client: FlaskClient, plane: ControlPlane, tail: str
) -> None:
    viewer = bearer(plane, Role.VIEWER)
    answer = client.get(f"/api/v1/processes/line1/logs?tail={tail}", headers=viewer)
    assert answer.status_code == 400
    assert "tail must be" in answer.json["detail"]


@pytest.mark.parametrize("path", ["a" * 300, "assets/" + "a" * 300, "a" * 5000])
def test_an_address_that_no_file_can_have_is_not_found(tmp_path: Path, path: str) -> None:
    (tmp_path / "index.html").write_text("the panel")
    app = Flask(__name__)
    app.register_blueprint(panel_blueprint(tmp_path))
    assert app.test_client().get(f"/{path}").status_code == 404
    assert app.test_client().get("/overview", buffered=True).text == "the panel"


@pytest.mark.parametrize("origin", ["http://[x", "null", "http://localhost.evil.example", ""])
def test_an_origin_that_is_not_this_site_is_refused(client: FlaskClient, origin: str) -> None:
    body = {"username": "bob", "password": PASSWORD}
    answer = client.post("/api/v1/session", json=body, headers={"Origin": origin})
    assert (answer.status_code, answer.json["code"]) == (403, "csrf")


def test_a_user_whose_password_others_guess_can_still_sign_in(
    client: FlaskClient, plane: ControlPlane
) -> None:
    sign_in(client, plane)
    wrong = {"username": "bob", "password": "wrong password"}
    evil = {"REMOTE_ADDR": "192.0.2.66"}
    for _ in range(5):
        client.post("/api/v1/session", json=wrong, environ_overrides=evil)
    locked = client.post("/api/v1/session", json=wrong, environ_overrides=evil)
    assert locked.status_code == 429
    right = {"username": "bob", "password": PASSWORD}
    assert client.post("/api/v1/session", json=right).status_code == 200


def test_healthz_says_stale_once_nobody_looks_any_more(
    client: FlaskClient, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age_s in (10.5, math.inf):
        monkeypatch.setattr(plane.monitor, "picture_age_s", lambda age_s=age_s: age_s)
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json["status"]) == (503, "stale")


def test_a_log_is_read_in_pieces(client: FlaskClient, plane: ControlPlane) -> None:
    viewer = bearer(plane, Role.VIEWER)
    path = "/api/v1/processes/line1/logs"
    assert client.get(path, headers=viewer).json["entries"] == []
    log = plane.console.settings.log_file("line1")
    log.write_text(json.dumps({"level": "ERROR", "event": "one"}) + "\nplain \x1b[31mtwo\n")
    first = client.get(path, headers=viewer).json
    assert [(e["level"], e["message"]) for e in first["entries"]] == [
        ("ERROR", "one"),
        ("INFO", "plain \\x1b[31mtwo"),
    ]
    with log.open("a") as file:
        file.write("three\n")
    query = {"cursor": first["cursor"]}
    second = client.get(path, headers=viewer, query_string=query).json
    assert [e["message"] for e in second["entries"]] == ["three"]
    assert client.get(f"{path}?cursor=x", headers=viewer).status_code == 400
    assert client.get("/api/v1/processes/nobody/logs", headers=viewer).status_code == 404


def test_answers_carry_a_strict_policy_and_are_not_cached(client: FlaskClient) -> None:
    answer = client.get("/api/v1/session")
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_scheduled_jobs_are_listed_with_their_next_run(
    client: FlaskClient, plane: ControlPlane
) -> None:
    system = client.get("/api/v1/system", headers=bearer(plane, Role.VIEWER)).json
    assert {job["id"] for job in system["scheduler"]} == {
        "health_check", "ended_sessions", "history_retention", "alert_retention",
        "audit_anchor", "audit_check", "database_checkpoint", "log_seals", "log_verification",
    }  # fmt: skip
    assert all(job["next_run_at"].endswith("Z") for job in system["scheduler"])
    assert 0 < system["host"]["disk_percent"] <= 100


@pytest.mark.parametrize(
    "body", [{}, {"action": "kill", "names": ["line1"]}, {"action": "stop", "names": []}]
)
def test_a_bulk_command_that_makes_no_sense_is_refused(
    client: FlaskClient, plane: ControlPlane, body: dict[str, object]
) -> None:
    operator = bearer(plane, Role.OPERATOR)
    answer = client.post("/api/v1/processes:bulk", json=body, headers=operator)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")


def test_a_bulk_command_needs_the_role_and_supervisord(
    client: FlaskClient, plane: ControlPlane
) -> None:
    body = {"action": "stop", "names": ["line1"]}
    viewer = client.post("/api/v1/processes:bulk", json=body, headers=bearer(plane, Role.VIEWER))
    assert viewer.json["code"] == "not_permitted"
    operator = bearer(plane, Role.OPERATOR)
    answer = client.post("/api/v1/processes:bulk", json=body, headers=operator)
    assert answer.json["code"] == "supervisor_unreachable"


def test_the_summary_counts_what_is_unknown_and_the_report_can_be_kept(
    client: FlaskClient, plane: ControlPlane
) -> None:
    headers = bearer(plane, Role.VIEWER)
    summary = client.get("/api/v1/health", headers=headers).json
    assert (summary["overall_status"], summary["total_processes"]) == ("unknown", 2)
    assert (summary["unknown_processes"], summary["healthy_processes"]) == (2, 0)
    first = summary["issues"][0]
    assert (first["check_type"], first["status"]) == ("process_alive", "unknown")
    assert "does not answer" in first["message"]
    page = client.get("/api/v1/health/report", headers=headers | {"Accept-Language": "zh-CN"})
    assert page.mimetype == "text/html"
    assert "attachment" in page.headers["Content-Disposition"]
    text = page.get_data(as_text=True)
    assert "健康报告" in text
    assert "line1" in text
    kept = client.get("/api/v1/health/report?format=json", headers=headers).json
    assert {each["name"] for each in kept["collectors"]} == {"line1", "broken"}
    assert client.get("/api/v1/health/report?format=pdf", headers=headers).status_code == 400
