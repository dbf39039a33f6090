"""What somebody gets who installs the wheel: no checkout, no Node.js, no make."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import LOCAL, Installation, free_port, is_delivering

ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(
    ".*", "__pycache__", "node_modules", "build", "dist", "tests", "*.egg-info", "var"
)


def pip(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, as building leaves files in the source tree."""
    copy = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(ROOT, copy, ignore=NOT_SOURCE)
    shutil.copytree(ROOT / "web" / "dist", copy / "web" / "dist")
    return copy


def build(source: Path) -> subprocess.CompletedProcess[str]:
    return pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", ".", cwd=source)


@pytest.fixture(scope="module")
def daqplane(source: Path) -> Path:
    """The command of an environment that has the wheel, and of this one only the libraries."""
    built = build(source)
    assert built.returncode == 0, built.stderr
    (wheel,) = (source / "dist").glob("daqplane-*.whl")
    environment = source.parent / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    # A path in a .pth file lends the libraries but not the checkout, whose own .pth is not read.
    (purelib / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(environment / "bin" / "python")
    installed = pip(
        "--python", python, "install", "--no-deps", "--no-index", str(wheel), cwd=source
    )
    assert installed.returncode == 0, installed.stderr
    return environment / "bin" / "daqplane"


@pytest.fixture
def installed(daqplane: Path, tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "home", free_port(), ("--demo",), daqplane=daqplane)
    yield installation
    assert installation.stop() == 0


def test_every_file_of_the_packages_is_in_the_wheel(daqplane: Path, source: Path) -> None:
    packages = ("control_plane", "collectors", "simulators")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(daqplane.parents[1])}))
    missing = {
        path.relative_to(source)
        for package in packages
        for path in (source / package).rglob("*")
        if path.is_file()
        and path.suffix not in (".pyc", ".md")
        and not (site / path.relative_to(source)).is_file()
    }
    assert missing == set()


def test_the_wheel_alone_runs_the_demo_with_its_panel(installed: Installation) -> None:
    installed.start()
    for name in ("demo-modbus", "demo-opcua", "demo-mitsubishi"):
        installed.wait_until(name, is_delivering, "delivers")
    with LOCAL.open(f"http://127.0.0.1:{installed.port}/", timeout=10) as answer:
        assert b'<div id="app"' in answer.read()
    checked = installed.run("doctor")
    assert checked.returncode == 0, checked.stdout
    command = installed.home / "supervisord.conf.d" / "demo-modbus.conf"
    assert f"command={installed.daqplane.parent}" in command.read_text()


def test_a_wheel_without_the_panel_is_refused_with_the_remedy(source: Path) -> None:
    index = source / "web" / "dist" / "index.html"
    hidden = index.rename(index.with_name("hidden"))
    try:
        built = build(source)
    finally:
        hidden.rename(index)
    assert built.returncode != 0
    assert "the panel is not built yet; build the wheel with: make wheel" in built.stderr
