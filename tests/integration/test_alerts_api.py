"""Alerts of a real control plane: no supervisord answers here, and people are to know."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from live_peer import Peer
from notice_servers import Posts, http_server

from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.domain.alerts import AlertState
from control_plane.settings import load_settings
from control_plane.storage.models import AuditEntry

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
RULES = """
[rule.node]
for_s = 0
[rule.historian]
enabled = false
[rule.disk]
enabled = false
[rule.slow_look]
enabled = false
"""
COLLECTOR = """
name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "press1"
host = "127.0.0.1"
points = [{ name = "temperature", address = "holding:0" }]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "collectors.d").mkdir()
    (tmp_path / "collectors.d" / "line1.toml").write_text(COLLECTOR)
    (tmp_path / "alerts.toml").write_text(RULES)
    return tmp_path


@pytest.fixture
def plane(home: Path) -> Iterator[ControlPlane]:
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> FlaskClient:
    return create_app(plane).test_client()


def bearer(plane: ControlPlane, role: Role) -> dict[str, str]:
    token = plane.console.account_commands.create_token(ME, f"t-{role}", role)
    return {"Authorization": f"Bearer {token}", "Accept-Language": "zh-CN"}


def eventually(found: Callable[[], Any], within_s: float = 20.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (result := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return result


def node_alert(plane: ControlPlane) -> Any:
    return eventually(
        lambda: next((a for a in plane.alerts.service.present() if a.rule == "node"), None)
    )


def test_an_open_alert_explains_itself_in_the_readers_language(
    client: FlaskClient, plane: ControlPlane
) -> None:
    node_alert(plane)
    viewer = bearer(plane, Role.VIEWER)
    (alert,) = client.get("/api/v1/alerts", headers=viewer).json["alerts"]
    assert (alert["rule"], alert["subject"]) == ("node", {"kind": "node", "name": "local"})
    assert (alert["state"], alert["alarm_state"]) == ("firing", "active_unacknowledged")
    assert alert["title"] == "节点"
    assert alert["message"].startswith("本机 supervisord 无应答")
    assert alert["members"] == ["line1"]
    shown = client.get(f"/api/v1/alerts/{alert['id']}", headers=viewer).json
    assert eventually(
        lambda: client.get(f"/api/v1/alerts/{alert['id']}", headers=viewer).json["steps"]
    )
    assert shown["id"] == alert["id"]
    for unknown in (1, 2**60):
        answer = client.get(f"/api/v1/alerts/{unknown}", headers=viewer)
        assert (answer.status_code, answer.json["code"]) == (404, "unknown_alert")


def test_operators_acknowledge_and_viewers_do_not(client: FlaskClient, plane: ControlPlane) -> None:
    alert = node_alert(plane)
    path = f"/api/v1/alerts/{alert.id}/acknowledge"
    answer = client.post(path, json={"reason": "x"}, headers=bearer(plane, Role.VIEWER))
    assert (answer.status_code, answer.json["code"]) == (403, "not_permitted")
    operator = bearer(plane, Role.OPERATOR)
    answer = client.post(path, json={"reason": "我来处理"}, headers=operator)
    assert answer.json["state"] == "acknowledged"
    assert answer.json["acknowledged"]["by"] == "token:t-operator"
    assert answer.json["acknowledged"]["reason"] == "我来处理"
    assert client.post(path, json={"reason": "x" * 401}, headers=operator).status_code == 400
    steps = client.get(f"/api/v1/alerts/{alert.id}", headers=operator).json["steps"]
    assert [step["kind"] for step in steps] == ["fired", "acknowledged"]
    with plane.console.database.connection():
        outcomes = [
            row.outcome
            for row in AuditEntry.select().where(AuditEntry.action == "alert.acknowledge")
        ]
    assert outcomes == ["denied", "done"]


def test_a_shelf_hides_nothing_but_tells_nobody(client: FlaskClient, plane: ControlPlane) -> None:
    alert = node_alert(plane)
    operator = bearer(plane, Role.OPERATOR)
    body = {"rule": "node", "subject": "loc*", "duration_s": 600, "reason": "rebuilding"}
    assert (
        client.post("/api/v1/silences", json=body, headers=bearer(plane, Role.VIEWER)).status_code
        == 403
    )
    made = client.post("/api/v1/silences", json=body, headers=operator)
    assert made.status_code == 201
    shelved = eventually(
        lambda: [a for a in plane.alerts.service.present() if a.state is AlertState.SHELVED]
    )
    assert shelved[0].id == alert.id
    assert shelved[0].shelved_until is not None
    (listed,) = client.get("/api/v1/silences", headers=operator).json["silences"]
    assert listed["note"]["reason"] == "rebuilding"
    path = f"/api/v1/silences/{made.json['id']}"
    assert client.delete(path, headers=operator).status_code == 204
    assert client.delete(path, headers=operator).json["code"] == "unknown_silence"
    eventually(lambda: plane.alerts.service.present()[0].state is AlertState.FIRING)
    for bad in (
        {"duration_s": 60, "reason": "everything"},
        {"rule": "node", "duration_s": 60},
        {"rule": "node", "duration_s": 1e9, "reason": "x"},
    ):
        assert client.post("/api/v1/silences", json=bad, headers=operator).status_code == 400


def test_a_switched_off_rule_ends_its_alert_and_history_keeps_it(
    client: FlaskClient, plane: ControlPlane, home: Path
) -> None:
    alert = node_alert(plane)
    viewer = bearer(plane, Role.VIEWER)
    (home / "alerts.toml").write_text(RULES.replace("for_s = 0", "enabled = false") + "[rle]\n")
    past = "/api/v1/alerts?state=all&limit=1"

    def states() -> list[object]:
        found = client.get(past, headers=viewer).json["alerts"]
        return [(a["id"], a["alarm_state"]) for a in found]

    # Written down just after it is no longer present.
    eventually(lambda: states() == [(alert.id, "returned_unacknowledged")])
    assert not plane.alerts.service.present()
    body = client.get(past, headers=viewer).json
    assert body["alerts"][0]["ending"] == "规则已停用"
    assert "rle" in body["problems"][0]
    older = f"/api/v1/alerts?state=all&before={body['next_before']}"
    assert client.get(older, headers=viewer).json["alerts"] == []
    # Whoever was away sees it until somebody has said that it was seen.
    present = client.get("/api/v1/alerts", headers=viewer).json
    assert (present["alerts"], [a["id"] for a in present["returned"]]) == ([], [alert.id])
    path = f"/api/v1/alerts/{alert.id}/acknowledge"
    late = client.post(path, json={"reason": "seen"}, headers=bearer(plane, Role.OPERATOR))
    assert late.json["alarm_state"] == "normal"
    assert client.get("/api/v1/alerts", headers=viewer).json["returned"] == []
    figures = client.get("/api/v1/alerts/figures", headers=viewer).json
    assert (figures["in_10_min"], figures["peak_in_10_min"], figures["flood"]) == (1, 1, False)
    rules = client.get("/api/v1/alerts/rules", headers=viewer).json["rules"]
    assert {r["rule"]: r["enabled"] for r in rules}["node"] is False
    for bad in ("state=x", "state=all&before=x", "state=all&severity=bad", "state=all&limit=0"):
        assert client.get(f"/api/v1/alerts?{bad}", headers=viewer).status_code == 400


def test_live_listeners_hear_of_alerts(plane: ControlPlane) -> None:
    alert = node_alert(plane)
    peer = Peer(plane.hub)
    peer.ask("subscribe", topic="error_alerts")
    snapshot = peer.topic_frame()
    assert snapshot["type"] == "error_alert"
    assert [each["id"] for each in snapshot["data"]] == [alert.id]
    assert "supervisord" in snapshot["data"][0]["message"]
    peer.end()


def webhook(home: Path, posts: Posts) -> None:
    (home / "channels.toml").write_text(
        f"""
        [[channel]]
        name = "hook"
        kind = "webhook"
        url = "{posts.url}"
        group_s = 0
        """
    )


def notices(posts: Posts) -> list[tuple[str, str]]:
    documents = [json.loads(body) for body in posts.bodies]
    return [(n["kind"], n["alert"]["rule"]) for d in documents for n in d["notices"]]


def test_one_fault_is_told_once_and_its_end_once_across_restarts(home: Path) -> None:
    with http_server(Posts(statuses=[500, 200])) as posts:
        webhook(home, posts)
        with running(load_settings({"DAQ_HOME": str(home)})) as plane:
            first = node_alert(plane)
            eventually(lambda: plane.alerts.queue.was_sent("hook", first.id), within_s=30)
        # The refused attempt was repeated, with the same key.
        assert [headers["Idempotency-Key"] for headers in posts.headers[:2]] == [
            posts.headers[0]["Idempotency-Key"]
        ] * 2
        with running(load_settings({"DAQ_HOME": str(home)})) as plane:
            assert node_alert(plane).id == first.id
            looked = plane.alerts.service.look()
            assert [e for e in looked if e.alert.rule == "node"] == []
            (home / "alerts.toml").write_text(RULES.replace("for_s = 0", "enabled = false"))
            eventually(lambda: notices(posts)[-1] == ("resolved", "node"))
        told = [n for n in notices(posts) if n[1] == "node"]
        assert told == [("fired", "node")] * 2 + [("resolved", "node")]


def test_a_test_message_brings_the_real_error_back(
    client: FlaskClient, plane: ControlPlane, home: Path
) -> None:
    operator = bearer(plane, Role.OPERATOR)
    path = "/api/v1/channels/hook/test"
    assert client.post(path, headers=operator).json["code"] == "unknown_channel"
    with http_server(Posts(statuses=[200, 418], answer=b"teapot")) as posts:
        webhook(home, posts)
        answer = client.post(path, headers=operator)
        assert answer.json["target"] == f"http://127.0.0.1:{posts.port}/…"
        assert json.loads(posts.bodies[0])["test"] is True
        answer = client.post(path, headers=operator)
        assert (answer.status_code, answer.json["code"]) == (502, "notify_failed")
        assert "HTTP 418: teapot" in answer.json["detail"]
    denied = client.post(path, headers=bearer(plane, Role.VIEWER))
    assert denied.status_code == 403
    eventually(plane.alerts.notifier.states)
    (listed,) = client.get("/api/v1/channels", headers=operator).json["channels"]
    assert (listed["name"], listed["kind"], listed["min_severity"]) == (
        "hook",
        "webhook",
        "warning",
    )
    log = client.get("/api/v1/channels/hook/notices", headers=operator).json["notices"]
    assert {each["kind"] for each in log} <= {"fired"}
    assert client.get("/api/v1/channels/x/notices", headers=operator).status_code == 404


def test_no_secret_of_a_channel_is_in_any_answer(home: Path) -> None:
    canary = "s3cret-Canary-42"
    (home / "secrets").mkdir()
    for name, text in (("url", f"http://127.0.0.1:1/hook?key={canary}"), ("hmac", canary)):
        (home / "secrets" / name).write_text(text)
        (home / "secrets" / name).chmod(0o600)
    (home / "channels.toml").write_text(
        '[[channel]]\nname = "hook"\nkind = "webhook"\n'
        'url_file = "secrets/url"\nhmac_file = "secrets/hmac"\ngroup_s = 0\n'
    )
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        client, operator = create_app(plane).test_client(), bearer(plane, Role.OPERATOR)
        eventually(lambda: [s for s in plane.alerts.notifier.states() if s.last_error])
        answers = [
            client.post("/api/v1/channels/hook/test", headers=operator),
            *(
                client.get(f"/api/v1/{path}", headers=operator)
                for path in ("channels", "channels/hook/notices", "alerts", "alerts?state=all")
            ),
        ]
        assert answers[0].json["code"] == "notify_failed"
        assert answers[1].json["channels"][0]["last_error"]
        for answer in answers:
            assert canary not in answer.get_data(as_text=True)
        with plane.console.database.connection():
            assert not any(canary in row.detail for row in AuditEntry.select())
