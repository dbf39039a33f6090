"""Seals of rotated logs in a running control plane: API, command line, scheduler, audit trail."""

import itertools
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.cli import main  # noqa: F401 - puts the commands into the group
from control_plane.cli.root import cli
from control_plane.doctor import examine_installation
from control_plane.settings import load_settings

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
LINE = '{"ts": "2026-01-31T08:00:0%dZ", "level": "%s", "event": "line %d"}\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "collectors.d").mkdir()
    (tmp_path / "collectors.d" / "line1.toml").write_text('name = "line1"\nprotocol = "x"')
    (tmp_path / "log").mkdir()
    for number in range(3):
        name = f"line1.log.{number}" if number else "line1.log"
        level = "ERROR" if number == 1 else "INFO"
        (tmp_path / "log" / name).write_text(LINE % (9 - number, level, 9 - number))
    return tmp_path


@pytest.fixture
def plane(home: Path) -> Iterator[ControlPlane]:
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        yield plane


def daqplane(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--home", str(home), *arguments])


def verified(home: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    result = daqplane(home, "logs", "verify", "--json", *arguments)
    report: dict[str, object] = json.loads(result.stdout)
    return result.exit_code, report


def test_the_scheduler_seals_and_the_api_tells_of_a_change(home: Path, plane: ControlPlane) -> None:
    client = create_app(plane).test_client()
    answers = {}
    for role in Role:
        token = plane.console.account_commands.create_token(ME, f"t-{role}", role)
        headers = {"Authorization": f"Bearer {token}"}
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answers[role] = client.get("/api/v1/logs/integrity", headers=headers)
            if role is not Role.ADMIN or answers[role].json["files"] == 2:
                break
            time.sleep(0.2)
    assert {role: answer.status_code for role, answer in answers.items()} == {
        Role.VIEWER: 403,
        Role.OPERATOR: 403,
        Role.ADMIN: 200,
    }
    assert answers[Role.ADMIN].json["sound"] is True
    assert answers[Role.ADMIN].json["unsealed"] == ["line1.log"]
    (home / "log" / "line1.log.2").write_text("nothing happened\n")
    answer = client.get("/api/v1/logs/integrity", headers=headers).json
    assert answer["sound"] is False
    assert [(p["kind"], p["file"]) for p in answer["problems"]] == [("cut", "line1.log.2")]


def test_the_command_line_says_what_was_changed_and_what_is_open(
    home: Path, plane: ControlPlane
) -> None:
    plane.console.log_integrity.seal()
    code, report = verified(home)
    assert (code, report["files"], report["problems"]) == (0, 2, [])
    newest = str(report["newest"])
    assert verified(home, "--newest", newest)[0] == 0
    assert verified(home, "--newest", "0" * 64)[0] == 1
    log = home / "log" / "line1.log.1"
    log.write_text(log.read_text().replace("ERROR", "INFO "))
    result = daqplane(home, "logs", "verify")
    assert result.exit_code == 1
    assert "line1.log.1" in result.stdout.splitlines()[0]
    assert "Not sealed yet" in result.stdout
    with closing(sqlite3.connect(home / "state.db")) as database:
        rows = database.execute(
            "SELECT outcome FROM audit WHERE action = 'log.verify' ORDER BY id"
        ).fetchall()
    assert rows == [("done",), ("done",), ("failed",), ("failed",)]


def test_the_daily_check_complains_in_the_log(
    home: Path, plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    plane.console.log_integrity.seal()
    with caplog.at_level(logging.ERROR, "control_plane.log_integrity"):
        plane.console.log_integrity.check_daily()
        assert caplog.records == []
        (home / "log" / "line1.log.2").unlink()
        plane.console.log_integrity.check_daily()
    assert [record.message for record in caplog.records] == ["a sealed log was changed"]


def test_a_failed_check_is_an_alert_until_one_finds_nothing(
    home: Path, plane: ControlPlane
) -> None:
    integrity = plane.console.log_integrity
    log = home / "log" / "line1.log.1"
    integrity.seal()
    sound = log.read_bytes()
    seen = log.stat()

    def is_open(wanted: bool) -> bool:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = any(a.rule == "sealed_logs" for a in plane.alerts.service.present())
            if found is wanted:
                return True
            time.sleep(0.1)
        return False

    log.write_bytes(sound.replace(b"ERROR", b"INFO "))
    assert integrity.check(ME, newest="").problems
    assert is_open(True)
    log.write_bytes(sound)
    os.utime(log, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    integrity.check_daily()
    assert is_open(False)


def test_giving_back_disk_is_no_missing_file(home: Path, plane: ControlPlane) -> None:
    integrity = plane.console.log_integrity
    integrity.seal()
    assert integrity.remove_rotated("line1") == 2 * len(LINE % (9, "ERROR", 9)) - 1
    assert integrity.check(ME).problems == ()
    assert (home / "log" / "line1.log").exists()


def test_a_log_is_shown_filtered_over_its_rotated_files(home: Path, plane: ControlPlane) -> None:
    def lines(*arguments: str) -> list[str]:
        result = daqplane(home, "logs", *arguments)
        assert result.exit_code == 0, result.output
        return [line.split("line ")[1] for line in result.stdout.splitlines()]

    assert lines("line1") == ["7", "8", "9"]
    assert lines("-n", "2", "line1") == ["8", "9"]
    assert lines("show", "line1", "--level", "error") == ["8"]
    assert lines("line1", "--grep", "line [79]") == ["7", "9"]
    assert lines("line1", "--since", "2026-01-31T08:00:08Z") == ["8", "9"]
    assert lines("line1", "--since", "15m") == []
    (home / "log" / "supervisord.log").write_text(
        "2026-01-31 08:00:00,000+00:00 INFO spawned: 'line1' with pid 11\n"
        "2026-01-31 08:00:08,500+00:00 INFO spawned: 'line1' with pid 12\n"
    )
    assert lines("line1", "--previous") == ["7", "8"]
    for wrong in (["nobody"], ["line1", "--since", "x"], ["line1", "--grep", "("], ["../line1"]):
        result = daqplane(home, "logs", *wrong)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr


def test_the_doctor_complains_of_a_log_directory_that_others_may_write(
    home: Path, plane: ControlPlane
) -> None:
    def codes() -> list[str]:
        found = examine_installation(plane.console, home)
        return [each.code for each in itertools.takewhile(lambda f: f.code != "panel_built", found)]

    assert "log_dir_open" not in codes()
    (home / "log").chmod(0o777)
    assert "log_dir_open" in codes()
