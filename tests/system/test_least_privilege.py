"""An installation needs no rights, gives away none, and listens nowhere but at the panel."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import argon2
import psutil
import pytest
from installation import LOCAL, free_port, wait_for

import control_plane

pytestmark = [
    pytest.mark.supervisord,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else"),
]

CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
SOMEBODY_ELSE = 65533


MODULES = os.pathsep.join(str(Path(each.__file__).parents[1]) for each in (control_plane, argon2))


def _interpreter(user: int) -> str | None:
    """Return a Python that this user may run and that has everything, ``None`` if there is none.

    One in root's home directory is closed to others; the system's may be of the same version.
    """
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            probe = subprocess.run(
                [python, "-c", "import argon2, control_plane.foreground, supervisor"],
                user=user, group=user, extra_groups=[], check=False, capture_output=True,
                env={"PYTHONPATH": MODULES}, cwd="/",
            )  # fmt: skip
        except OSError:
            continue
        if probe.returncode == 0:
            return python
    return None


@pytest.fixture
def nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


@pytest.fixture
def python(nobody: pwd.struct_passwd) -> str:
    found = _interpreter(nobody.pw_uid)
    if found is None:
        pytest.skip("no Python here that others may run")
    return found


@pytest.fixture
def home(nobody: pwd.struct_passwd) -> Iterator[Path]:
    # Not below pytest's own directory, which is root's alone.
    home = Path(tempfile.mkdtemp(prefix="daq-"))
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    yield home
    shutil.rmtree(home)


def test_everything_runs_as_a_user_without_rights_and_only_the_panel_listens(
    home: Path, nobody: pwd.struct_passwd, python: str
) -> None:
    port = free_port()
    environment = {
        "DAQ_HOME": str(home / "daq"),
        "DAQ_HTTP_PORT": str(port),
        "DAQ_LANG": "en",
        "HOME": str(home),
        "USER": "nobody",
        "LOGNAME": "nobody",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": MODULES,
    }
    output = home / "output"
    with output.open("wb") as file:
        runner = subprocess.Popen(
            [python, "-m", "control_plane", "run"],
            env=environment, cwd="/", stdout=file, stderr=file,
            user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], umask=0o022,
        )  # fmt: skip
    try:
        wait_for(
            lambda: "Panel:" in output.read_text() or runner.poll() is not None, "the panel", 30
        )
        assert runner.poll() is None, output.read_text()
        family = [psutil.Process(runner.pid), *psutil.Process(runner.pid).children(recursive=True)]
        assert len(family) >= 4
        for each in family:
            assert set(each.uids()) == {nobody.pw_uid}, each
            status = Path(f"/proc/{each.pid}/status").read_text()
            assert "CapEff:\t0000000000000000\n" in status, each
        listening = {
            (connection.laddr.ip, connection.laddr.port)
            for each in family
            for connection in each.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {("127.0.0.1", port)}
        socket_file = home / "daq" / "run" / "supervisor.sock"
        assert stat.S_IMODE(socket_file.stat().st_mode) == 0o700
        lines = (home / "daq" / "supervisord.conf").read_text().splitlines()
        assert not any(line.startswith("[inet_http_server]") for line in lines)
        # Even with every directory above open, the socket itself is closed to others.
        for directory in (home, home / "daq", home / "daq" / "run"):
            directory.chmod(0o755)
        stranger = subprocess.run(
            [python, "-c", CONNECT, str(socket_file)],
            user=SOMEBODY_ELSE, group=SOMEBODY_ELSE, extra_groups=[], check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert "PermissionError" in stranger.stderr
        for secret in ("pki/audit.key", "log/audit-anchors.jsonl"):
            assert stat.S_IMODE((home / "daq" / secret).stat().st_mode) == 0o600, secret
        with LOCAL.open(urllib.request.Request(f"http://127.0.0.1:{port}/healthz")) as answer:
            assert answer.status == 200
    finally:
        runner.terminate()
        runner.wait(20)
