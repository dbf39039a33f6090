"""``daqplane backup`` and ``daqplane restore`` as people and scripts call them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def daqplane(home: Path, *arguments: str, language: str = "en") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "control_plane", "--home", str(home), *arguments],
        env=os.environ | {"DAQ_LANG": language, "DATABASE_URL": ""},
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "collectors.d").mkdir(parents=True)
    (tmp_path / "home" / "collectors.d" / "line1.toml").write_text('name = "line1"\n')
    assert daqplane(tmp_path / "home", "db", "upgrade").returncode == 0
    return tmp_path / "home"


def test_scripts_get_json_and_people_a_sentence(home: Path, tmp_path: Path) -> None:
    made = daqplane(home, "backup", str(tmp_path / "daq.zip"), "--json")
    report = json.loads(made.stdout)
    assert made.stderr == ""
    # The collector's file and the key of the audit trail.
    assert (report["files"], report["history_files"], report["skipped"]) == (2, 0, [])
    assert report["size_bytes"] == (tmp_path / "daq.zip").stat().st_size
    checked = daqplane(home, "restore", str(tmp_path / "daq.zip"), "--check", language="zh_CN")
    assert "完整" in checked.stdout
    (home / "collectors.d" / "line1.toml").write_text("changed\n")
    restored = daqplane(home, "restore", str(tmp_path / "daq.zip"))
    assert restored.returncode == 0, restored.stderr
    assert "Restored the state of" in restored.stdout
    assert (home / "collectors.d" / "line1.toml").read_text() == 'name = "line1"\n'


@pytest.mark.parametrize(
    ("language", "said"), [("en", "Nothing was changed"), ("zh", "未作任何更改")]
)
def test_what_is_no_backup_is_refused_in_the_language_of_the_user(
    language: str, said: str, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "daq.zip").write_text("no backup")
    for arguments in (("--check",), ()):
        refused = daqplane(
            home, "restore", str(tmp_path / "daq.zip"), *arguments, language=language
        )
        assert refused.returncode == 1
        assert said in refused.stderr
