"""The control plane on each engine: what it writes while it runs is there after its restart."""

import os
import subprocess
import sys
from pathlib import Path

from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import running
from control_plane.settings import load_settings
from control_plane.storage.models import AuditEntry

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
PASSWORD = "a long password"


def test_accounts_and_audit_outlive_the_control_plane(database_url: str, tmp_path: Path) -> None:
    settings = load_settings({"DAQ_HOME": str(tmp_path), "DATABASE_URL": database_url})
    with running(settings) as plane:
        plane.console.account_commands.add_user(ME, "bob", Role.OPERATOR, PASSWORD)
    with running(settings) as plane:
        assert plane.console.applied_migrations == ()
        client = create_app(plane).test_client()
        credentials = {"username": "bob", "password": PASSWORD}
        assert client.post("/api/v1/session", json=credentials).status_code == 200
        assert client.get("/api/v1/processes").status_code == 200
        refused = client.post("/api/v1/session", json=credentials | {"password": "wrong"})
        assert refused.status_code == 401
        with plane.console.database.connection():
            actions = [(row.actor, row.action, row.outcome) for row in AuditEntry.select()]
    assert ("console:test", "user.add", "done") in actions
    assert ("bob", "session.open", "done") in actions


def test_db_upgrade_brings_the_schema_up_to_date_once(database_url: str, tmp_path: Path) -> None:
    def upgrade() -> str:
        return subprocess.run(
            [sys.executable, "-m", "control_plane", "--home", str(tmp_path), "db", "upgrade"],
            env=os.environ | {"DATABASE_URL": database_url, "DAQ_LANG": "en"},
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip

    assert "Applied: 0001_initial" in upgrade()
    assert "up to date" in upgrade()
