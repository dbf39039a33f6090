"""``daqplane alerts`` and ``daqplane channel``, with the control plane down."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from notice_servers import Posts, http_server

from control_plane.cli.root import cli
from control_plane.console import build_console
from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertSeverity,
    AlertState,
    Subject,
    SubjectKind,
)
from control_plane.settings import load_settings
from control_plane.storage.alerts import Alerts, Memory
from control_plane.storage.models import AuditEntry

NOW = datetime.now(UTC)
ALERT = Alert(
    id=7, rule="cpu", fingerprint="f", severity=AlertSeverity.CRITICAL, code="alert.cpu",
    subject=Subject(kind=SubjectKind.PROCESS, name="line1"), state=AlertState.FIRING,
    since=NOW, fired_at=NOW, last_change=NOW, params={"value": 91, "limit": 80},
    evidence={"recommendations": ["read_log"]},
)  # fmt: skip


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--home", str(home), *arguments])


def test_without_alerts_the_command_ends_well(tmp_path: Path) -> None:
    result = run(tmp_path, "alerts")
    assert (result.exit_code, result.output) == (0, "No open alerts.\n")
    assert json.loads(run(tmp_path, "alerts", "--json").output) == []


def test_an_open_alert_is_shown_with_its_reason_and_advice(tmp_path: Path) -> None:
    console = build_console(load_settings({"DAQ_HOME": str(tmp_path)}))
    event = AlertEvent(kind=AlertEventKind.FIRED, at=NOW, alert=ALERT)
    Alerts(console.database).write([event], Memory(boot_id="", at=NOW, document="{}"))
    result = run(tmp_path, "alerts")
    assert result.exit_code == 3
    assert "line1: CPU 91 % of one core, limit 80 %" in result.output
    assert "→ Read the collector's log" in result.output
    (dumped,) = json.loads(run(tmp_path, "alerts", "--all", "--json").output)
    assert (dumped["id"], dumped["alarm_state"]) == (7, "active_unacknowledged")


def test_channels_are_listed_without_secrets_and_tried(tmp_path: Path) -> None:
    assert "panel only" in run(tmp_path, "channel", "list").output
    with http_server(Posts(statuses=[200, 500], answer=b"out of order")) as posts:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "url").write_text(f"{posts.url}?key=s3cret-Canary")
        (tmp_path / "secrets" / "url").chmod(0o600)
        entry = '[[channel]]\nname = "hook"\nkind = "webhook"\nurl_file = "secrets/url"\n'
        (tmp_path / "channels.toml").write_text(entry + '[[channel]]\nname = "x"\n')
        listed = run(tmp_path, "channel", "list")
        assert listed.exit_code == 3
        assert f"http://127.0.0.1:{posts.port}/…" in listed.output
        assert "channel[1].kind" in listed.output
        dumped = run(tmp_path, "channel", "list", "--json")
        assert "s3cret" not in listed.output + dumped.output
        sent = run(tmp_path, "channel", "test", "hook")
        assert (sent.exit_code, len(posts.bodies)) == (0, 1)
        failed = run(tmp_path, "channel", "test", "hook")
    assert failed.exit_code == 1
    assert "HTTP 500: out of order" in failed.output
    assert run(tmp_path, "channel", "test", "nobody").exit_code == 1
    console = build_console(load_settings({"DAQ_HOME": str(tmp_path)}))
    with console.database.connection():
        tried = [row.outcome for row in AuditEntry.select().order_by(AuditEntry.id)]
    assert tried == ["done", "failed", "failed"]


@pytest.fixture(autouse=True)
def _in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAQ_LANG", "en")
