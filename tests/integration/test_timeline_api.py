"""The past of one collector: judged stretches, scores, restarts and what people did."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.domain.audit import AuditEvent
from control_plane.domain.health import (
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
    ProcessHealth,
)
from control_plane.settings import load_settings
from control_plane.storage.process_history import ProcessHistory

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
URL = "/api/v1/processes/line1/timeline?from=2026-01-31T11:00:00Z&to=2026-01-31T13:00:00Z"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    (tmp_path / "collectors.d").mkdir()
    (tmp_path / "collectors.d" / "line1.toml").write_text('name = "line1"\nprotocol = "x"')
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> FlaskClient:
    me = Actor(name="console:test", role=Role.ADMIN, origin="console")
    token = plane.console.account_commands.create_token(me, "t", Role.VIEWER)
    client = create_app(plane).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def judge(plane: ControlPlane, at_s: float, status: HealthStatus, score: float) -> None:
    check = HealthCheckResult(
        check_type=HealthCheckType.CONNECTION_STATUS, status=status, code=f"connection.{status}"
    )
    health = ProcessHealth(status=status, score=score, confidence=1, since=NOON, checks=(check,))
    at = NOON + timedelta(seconds=at_s)
    ProcessHistory(plane.console.database).record_health(at, [("line1", health)])


def runs(client: FlaskClient) -> list[tuple[str, str, str]]:
    body: Any = client.get(URL).json
    return [(run["from"][11:19], run["to"][11:19], run["status"]) for run in body["runs"]]


def test_equal_rounds_are_one_run_and_its_score_is_told_once(
    client: FlaskClient, plane: ControlPlane
) -> None:
    for at_s in (0, 30, 60):
        judge(plane, at_s, HealthStatus.HEALTHY, 100)
    judge(plane, 90, HealthStatus.CRITICAL, 20)
    assert runs(client)[0] == ("12:00:00", "12:01:30", "healthy")
    assert runs(client)[1][2] == "critical"
    scores: Any = client.get(URL).json
    assert [score for _, score in scores["scores"]] == [100, 20]


def test_where_rounds_are_missing_nothing_is_told(client: FlaskClient, plane: ControlPlane) -> None:
    judge(plane, 0, HealthStatus.HEALTHY, 100)
    judge(plane, 600, HealthStatus.HEALTHY, 100)
    (_, end, _), (start, _, _) = runs(client)
    assert end < start == "12:10:00"
    body: Any = client.get(URL).json
    assert [score for _, score in body["scores"]] == [100, None, 100]


def test_restarts_and_what_people_did_are_told_but_not_who_looked(
    client: FlaskClient, plane: ControlPlane
) -> None:
    ProcessHistory(plane.console.database).note_incarnation("line1", 7, NOON, NOON)
    for action, outcome in [
        ("process.stop", "requested"),
        ("process.stop", "done"),
        ("log.search", "done"),
    ]:
        event = AuditEvent(
            at=NOON, actor="bob", origin="::1", action=action, target="line1", outcome=outcome
        )
        plane.console.audit.trail.record(event)
    body: Any = client.get(URL).json
    assert body["restarts"] == ["2026-01-31T12:00:00Z"]
    assert [(each["actor"], each["action"]) for each in body["actions"]] == [
        ("bob", "process.stop")
    ]


def test_a_range_that_cannot_be_is_refused(client: FlaskClient) -> None:
    base = "/api/v1/processes/line1/timeline"
    assert client.get(f"{base}?from=now&to=-1h").status_code == 400
    assert client.get(f"{base}?from=-40d").status_code == 400
    assert client.get("/api/v1/processes/nobody/timeline").status_code == 404
