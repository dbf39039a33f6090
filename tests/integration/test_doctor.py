"""What ``daqplane doctor`` finds around an installation, each made for real."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from collectors.contract import wire
from collectors.contract.heartbeat import (
    ConnectionStatus,
    Heartbeat,
    heartbeat_path,
    write_heartbeat,
)
from collectors.contract.historian_status import (
    HistorianStatus,
    StoreStatus,
    write_historian_status,
)
from collectors.contract.messages import LANGUAGES, sentence
from control_plane import doctor_machine
from control_plane.auth.permissions import Actor, Role
from control_plane.console import Console, build_console
from control_plane.doctor import examine_installation
from control_plane.doctor_findings import Finding
from control_plane.settings import load_settings

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")


@pytest.fixture
def busy() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def console(tmp_path: Path, busy: socket.socket) -> Console:
    port = busy.getsockname()[1]
    settings = load_settings({"DAQ_HOME": str(tmp_path), "DAQ_HTTP_PORT": str(port)})
    return build_console(settings)


def codes(found: Iterator[Finding]) -> list[str]:
    kept = []
    for each in found:
        for language in LANGUAGES:
            assert "{" not in sentence(
                "control_plane", f"doctor.{each.code}", each.params, language
            )
        kept.append(each.code)
    return kept


def test_a_taken_port_and_a_socket_that_was_left_are_named(
    console: Console, tmp_path: Path, busy: socket.socket
) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(console.settings.socket_path))
    found = codes(examine_installation(console, tmp_path))
    assert {"supervisord_down", "port_taken", "stale_socket"} <= set(found)
    busy.close()
    console.settings.socket_path.unlink()
    found = codes(examine_installation(console, tmp_path))
    assert {"port_taken", "stale_socket"} & set(found) == set()


def test_open_directories_and_secrets_are_named(console: Console) -> None:
    home = console.settings.home
    console.audit.note(ME, "user.list", "*", "done")
    assert codes(doctor_machine.rights(home)) == []
    (home / "pki" / "audit.key").chmod(0o644)
    (home / "collectors.d").chmod(0o777)
    assert codes(doctor_machine.rights(home)) == ["open_directory", "open_secret"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_named(console: Console) -> None:
    home = console.settings.home
    os.chown(home / "spool", 12345, -1)
    (found,) = doctor_machine.rights(home)
    assert (found.code, found.params["path"]) == ("foreign_owner", home / "spool")


def test_the_settings_are_those_of_the_running_panel(console: Console) -> None:
    env = {"DAQ_HTTP_PORT": "12345", "DAQ_HTTP_HOST": "::1", "DAQ_HOME": "/elsewhere"}
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE) as panel:
        used = doctor_machine.settings_in_use(console.settings, panel.pid)
        panel.communicate(b"\n")
    assert (used.panel_url, used.home) == ("http://[::1]:12345/", console.settings.home)
    assert doctor_machine.settings_in_use(console.settings, panel.pid) == console.settings
    assert doctor_machine.settings_in_use(console.settings, None) == console.settings


def test_the_limit_of_open_files_is_that_of_supervisord() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        _, hard = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (250, hard))
        few = doctor_machine.open_files(10, child.pid)
        many = doctor_machine.open_files(20, child.pid)
        child.communicate(b"\n")
    assert (few.level, many.level) == ("ok", "fail")
    assert many.params == {"limit": 250, "needed": 260}


def test_a_week_without_a_backup_is_named(console: Console) -> None:
    clock, trail = console.clock, console.audit.trail
    console.audit.note(ME, "user.list", "*", "done")
    assert codes(doctor_machine.backups(trail, clock.now())) == []
    later = clock.now() + timedelta(days=8)
    assert codes(doctor_machine.backups(trail, later)) == ["no_backup"]
    console.audit.note(ME, "backup.create", "a.zip", "done")
    assert codes(doctor_machine.backups(trail, clock.now())) == ["backup"]
    assert codes(doctor_machine.backups(trail, later)) == ["no_backup"]


def test_silent_devices_and_stores_are_named_with_their_reason(console: Console) -> None:
    home, now = console.settings.home, console.clock.now()
    lost = ConnectionStatus(
        device_id="plc",
        device_ip="10.0.0.9",
        device_port=502,
        protocol_type="modbus",
        last_error="no route to host",
    )
    beat = Heartbeat(
        collector="line1",
        protocol="modbus_tcp",
        pid=42,
        started_at=now,
        sequence=1,
        sent_at=now,
        config_revision="a",
    )
    path = heartbeat_path(home, "line1")
    path.parent.mkdir(exist_ok=True)
    write_heartbeat(path, beat, [wire.encode(lost)])
    (device,) = doctor_machine.devices(home, ["line1", "line2"])
    assert codes(iter([device])) == ["device_down"]
    assert device.params["address"] == "10.0.0.9:502"
    old = path.stat().st_mtime - 60
    os.utime(path, (old, old))
    assert list(doctor_machine.devices(home, ["line1"])) == []

    assert list(doctor_machine.stores(home)) == []
    down = StoreStatus(name="influx", url="http://127.0.0.1:8086", error="connection refused")
    status = HistorianStatus(pid=1, sent_at=now, stores=(down,))
    write_historian_status(home / "run", status)
    (store,) = doctor_machine.stores(home)
    assert (store.code, store.params["reason"]) == ("store_down", "connection refused")


def test_programs_of_another_version_are_named(tmp_path: Path) -> None:
    directory = tmp_path / "supervisord.conf.d"
    directory.mkdir()
    (directory / "line1.conf").write_text("[program:line1]\ncommand=/old/python -m collectors run")
    (directory / "line2.conf").write_text(f"[program:line2]\ncommand={sys.executable} -m x")
    found = list(doctor_machine.versions("3.9", tmp_path, sys.executable))
    assert codes(iter(found)) == ["supervisor_differs", "other_python"]
    assert found[1].params["used"] == "/old/python"


def test_the_kernel_says_whether_the_clock_is_kept_right() -> None:
    assert set(codes(doctor_machine.clock())) <= {"clock", "clock_unsynchronised"}
