"""The files that put daqplane into service say what is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "docs" / "deployment" / "daqplane.service"
MOST_EXPOSED = 2.0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit_and_finds_little_exposed(tmp_path: Path) -> None:
    # The analysis wants a program and a user that exist on this machine.
    text = UNIT.read_text().replace("/opt/daqplane/bin/daqplane", sys.executable)
    text = re.sub(r"^(User|Group)=.*$", r"\1=daemon", text, flags=re.MULTILINE)
    unit = tmp_path / "daqplane.service"
    unit.write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)],
        check=False,
        capture_output=True,
        text=True,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", rated.stdout)
    assert found is not None, rated.stdout + rated.stderr
    assert float(found[1]) <= MOST_EXPOSED


def test_what_the_image_is_built_from_exists() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    wanted = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert {name for name in wanted if not (ROOT / name).exists()} == set()
    assert {"control_plane", "collectors", "web", "setup.py", "requirements.lock"} <= set(wanted)


def test_the_documentation_names_files_that_exist() -> None:
    page = ROOT / "docs" / "deployment.md"
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert {link for link in links if not (page.parent / link).exists()} == set()
