"""The command line of the data plane, without devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import collectors
from collectors.contract.config import load_collector
from collectors.runtime.cli import language_of, main
from collectors.runtime.driver import DRIVERS, plan_of
from collectors.runtime.table import render

ROOT = Path(collectors.__file__).parent
SAMPLES = sorted(ROOT.glob("*/sample.toml"))


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAQ_LANG", "en")


@pytest.fixture
def collector_file(tmp_path: Path) -> Path:
    path = tmp_path / "line1.toml"
    path.write_text(
        """
name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "press"
host = "127.0.0.1"
port = 1
points = [
  {name = "temperature", address = "holding:0"},
  {name = "pressure", address = "holding:3", type = "float32"},
  {name = "running", address = "coil:8", type = "bool"},
]
"""
    )
    return path


def test_every_protocol_has_a_sample_and_a_readme() -> None:
    folders = {entry.package.replace("collectors.", "") for entry in DRIVERS.values()}
    assert {path.parent.name for path in SAMPLES} == folders
    assert all((path.parent / "README.md").exists() for path in SAMPLES)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parent.name)
def test_a_sample_is_valid_and_leads_to_requests_for_every_point(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_collector(path)
    planned = {
        field.point
        for device in config.devices
        for blocks in plan_of(config.protocol, device).values()
        for block in blocks
        for field in block.fields
    }
    assert planned == {f"{d.id}/{p.name}" for d in config.devices for p in d.points}
    assert main(["check", str(path)]) == 0
    assert "valid" in capsys.readouterr().out


def test_check_prints_what_is_merged(
    collector_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(collector_file)]) == 0
    out = capsys.readouterr().out
    assert "holding 0-4 (5)" in out
    assert "coil 8 (1)" in out
    assert main(["check", str(collector_file), "--json"]) == 0
    merged = json.loads(capsys.readouterr().out)[0]
    assert merged["points"] == ["press/temperature", "press/pressure"]
    assert merged["unused"] == 2


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "Did you mean address?"), ("zh-CN", "address"), ("zh_CN.UTF-8", "address")],
)
def test_a_broken_file_is_refused_with_every_problem_in_the_users_language(
    collector_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    words: str,
) -> None:
    monkeypatch.setenv("DAQ_LANG", language)
    text = (
        collector_file.read_text().replace("address", "adress", 1).replace("port = 1", "port = 0")
    )
    collector_file.write_text(text)
    assert main(["check", str(collector_file)]) == 78
    errors = capsys.readouterr().err
    assert "devices[0].points[0].adress" in errors
    assert "devices[0].port" in errors
    assert words in errors
    assert ("请" in errors) is language.startswith("zh")


def test_once_shows_every_point_of_a_device_that_cannot_be_reached(
    collector_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["once", str(collector_file)]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("connection lost") == 3
    assert "press (127.0.0.1:1): Connection refused" in shown.err
    assert main(["once", str(collector_file), "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert [value["quality"] for value in values] == ["BAD_COMM"] * 3


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("press/temprature", "Did you mean temperature?"),
        ("press/xyz", "temperature, pressure, running"),
        ("boiler/temperature", "press"),
        ("temperature", "DEVICE/POINT"),
    ],
)
def test_a_point_that_does_not_exist_is_answered_with_those_that_do(
    collector_file: Path, capsys: pytest.CaptureFixture[str], name: str, answer: str
) -> None:
    assert main(["test-read", str(collector_file), name]) == 2
    assert answer in capsys.readouterr().err


def test_wrong_usage_is_explained_in_both_languages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for language, words in (("en", "cannot be understood"), ("zh-CN", "无法理解")):
        monkeypatch.setenv("DAQ_LANG", language)
        with pytest.raises(SystemExit) as caught:
            main(["check"])
        assert caught.value.code == 2
        assert words in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(["--help"])
        assert "historian" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh-CN"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"DAQ_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "zh_TW", "LANG": "en_US"}, "zh-CN"),
    ],
)
def test_the_language_is_that_of_the_environment(
    environment: dict[str, str], language: str
) -> None:
    assert language_of(environment) == language


def test_tables_line_up_where_characters_are_two_cells_wide() -> None:
    table = render(["点位", "V"], [["温度计", "1"], ["ab", "22"]], right=(1,))
    assert table.splitlines() == ["点位     V", "温度计   1", "ab      22"]


@pytest.mark.parametrize("protocol", DRIVERS)
def test_a_collector_loads_no_library_but_its_own(protocol: str) -> None:
    libraries = {"modbus_tcp": "pymodbus", "opcua": "asyncua", "mitsubishi_mc": "pymcprotocol"}
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from collectors.contract.config import load_collector\n"
        "from collectors.runtime import process\n"
        "from collectors.runtime.driver import Traffic, create_driver\n"
        f"config = load_collector(Path({str(ROOT / protocol / 'sample.toml')!r}))\n"
        "create_driver(config.protocol, config.devices[0], Traffic(), lambda lost: None)\n"
        "print(*(name for name in sys.modules if '.' not in name))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
    )
    loaded = set(result.stdout.split())
    unwanted = {"flask", "requests", "influxdb_client", "numpy", "peewee", "sqlite3", "supervisor"}
    assert loaded & (set(libraries.values()) | unwanted) == {libraries[protocol]}
