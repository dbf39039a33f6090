"""The dependency rule of setup.cfg is kept, and it bites."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT), "--no-cache"], cwd=directory, capture_output=True, text=True, check=False
    )


def test_the_code_keeps_the_dependency_rule() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "offence"),
    [
        ("control_plane/domain/process.py", "import control_plane.monitor"),
        ("control_plane/health/checks.py", "import psutil"),
        ("control_plane/monitor.py", "import collectors.runtime.runner"),
        ("control_plane/supervisor/plugin/__init__.py", "import pydantic"),
        ("collectors/contract/points.py", "import collectors.runtime.runner"),
        ("collectors/modbus_tcp/driver.py", "import collectors.opcua.driver"),
        ("simulators/waveforms.py", "import collectors.contract.points"),
    ],
)
def test_a_planted_offence_is_found(tmp_path: Path, file: str, offence: str) -> None:
    for package in ("collectors", "control_plane", "simulators"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    target = tmp_path / file
    target.write_text(f"{target.read_text()}\n{offence}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert "BROKEN" in result.stdout
