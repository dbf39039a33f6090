"""One bad thing must not hide everything else, and what people see must not lie about intent."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.bootstrap import ControlPlane, running
from control_plane.errors import StorageError
from control_plane.settings import load_settings

COLLECTOR = """
name = "{name}"
protocol = "modbus_tcp"
[[devices]]
id = "press1"
host = "127.0.0.1"
points = [{{ name = "temperature", address = "holding:0" }}]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "collectors.d").mkdir()
    (tmp_path / "log").mkdir()
    for name in ("line1", "line2"):
        (tmp_path / "collectors.d" / f"{name}.toml").write_text(COLLECTOR.format(name=name))
    return tmp_path


@pytest.fixture
def plane(home: Path) -> Iterator[ControlPlane]:
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        yield plane


def next_picture(plane: ControlPlane) -> object:
    before = plane.monitor.picture()
    while (now := plane.monitor.picture()) is before:
        plane.monitor.wake()
    return now


@pytest.mark.parametrize(
    "line",
    [
        '{"ts":"0001-01-01T00:00:00+14:00","level":"ERROR","event":"x"}',
        '{"source":"a.py:' + "9" * 5000 + '","level":"ERROR","event":"x"}',
        '{"level":"ERROR","event":"\\ud800"}',
    ],
)
def test_no_log_line_stops_the_monitor(home: Path, line: str) -> None:
    (home / "log" / "line1.log").write_text(line + "\n")
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        picture = next_picture(plane)
        assert set(picture.processes) == {"line1", "line2"}
        assert plane.monitor.picture_age_s() < 60


def test_a_log_that_is_a_directory_hides_nobody(home: Path) -> None:
    (home / "log" / "line1.log").mkdir()
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        picture = next_picture(plane)
        assert set(picture.processes) == {"line1", "line2"}


def test_a_number_without_end_in_a_collector_file_is_a_problem_of_that_file(
    home: Path,
) -> None:
    (home / "collectors.d" / "line1.toml").write_text("x = " + "1" * 5000)
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        picture = next_picture(plane)
        assert set(picture.processes) == {"line1", "line2"}


def test_a_database_that_goes_away_does_not_stop_the_picture(
    home: Path, plane: ControlPlane
) -> None:
    next_picture(plane)
    (home / "junk").write_bytes(b"this is no database " * 1000)
    (home / "junk").replace(home / "state.db")
    with pytest.raises(StorageError, match="was replaced while in use; restart daqplane"):
        plane.console.accounts.users()
    picture = next_picture(plane)
    assert set(picture.processes) == {"line1", "line2"}
    (home / "state.db").unlink()
    with pytest.raises(StorageError, match="was removed while in use"):
        plane.console.accounts.users()
    assert not (home / "state.db").exists()
    assert set(next_picture(plane).processes) == {"line1", "line2"}


def test_an_old_heartbeat_of_a_process_that_is_gone_claims_no_connection(
    home: Path,
) -> None:
    link = {
        "device_id": "press1", "device_ip": "h", "device_port": 1, "protocol_type": "modbus",
        "is_connected": True,
    }  # fmt: skip
    beat = {
        "collector": "line1", "protocol": "modbus_tcp", "pid": 1, "sequence": 1,
        "started_at": "2026-01-01T00:00:00Z", "sent_at": "2026-01-01T00:00:00Z",
        "config_revision": "x", "connections": [link],
    }  # fmt: skip
    (home / "run" / "heartbeat").mkdir(parents=True)
    path = home / "run" / "heartbeat" / "line1.json"
    path.write_text(json.dumps(beat))
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        fresh = next_picture(plane).processes["line1"]
        # supervisord does not answer, so a heartbeat just written is still believed.
        assert fresh.connection_status.is_connected
        os.utime(path, (1, 1))
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        old = next_picture(plane).processes["line1"]
        assert not old.connection_status.is_connected
        assert old.connection_status.devices_connected == 0
