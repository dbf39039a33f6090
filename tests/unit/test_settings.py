from pathlib import Path

import pytest

from control_plane.errors import SettingsError
from control_plane.settings import console_language, load_settings


def test_defaults_are_a_local_panel_and_sqlite_below_the_home(tmp_path: Path) -> None:
    settings = load_settings({"DAQ_HOME": str(tmp_path)})
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8080)
    assert settings.database_url == f"sqlite:///{tmp_path}/state.db"


def test_the_command_line_wins_over_the_environment(tmp_path: Path) -> None:
    assert load_settings({"DAQ_HOME": "/elsewhere"}, home=tmp_path).home == tmp_path


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "80 ", "８０"])
def test_a_port_that_cannot_be_is_refused_by_name(port: str) -> None:
    with pytest.raises(SettingsError, match=r"DAQ_HTTP_PORT=.*1\.\.65535"):
        load_settings({"DAQ_HTTP_PORT": port})


@pytest.mark.parametrize("path", ["/a b", "/a%b", "/a;b", '/a"b', "/a\nb", "/a[b", "/" + "x" * 100])
def test_a_home_that_supervisord_would_misread_is_refused(path: str) -> None:
    with pytest.raises(SettingsError, match="DAQ_HOME"):
        load_settings({"DAQ_HOME": path})


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh-CN"),
        ({"LANG": "zh_CN.UTF-8", "DAQ_LANG": "en"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_console_language_follows_the_usual_variables(
    environ: dict[str, str], language: str
) -> None:
    assert console_language(environ) == language


@pytest.mark.parametrize("days", ["0", "3651", "a week"])
def test_the_state_database_remembers_for_a_sane_time(days: str, tmp_path: Path) -> None:
    env = {"DAQ_HOME": str(tmp_path), "DAQ_STATE_KEEP_DAYS": days}
    with pytest.raises(SettingsError, match="DAQ_STATE_KEEP_DAYS"):
        load_settings(env)
    assert load_settings(env | {"DAQ_STATE_KEEP_DAYS": "7"}).state_keep_days == 7


def test_stores_and_the_one_that_charts_read_come_from_the_environment(tmp_path: Path) -> None:
    names = {"DAQ_STORES": "embedded: vm+http://127.0.0.1:8428", "DAQ_READER": "vm-127.0.0.1-8428"}
    settings = load_settings({"DAQ_HOME": str(tmp_path), **names})
    assert [store.kind for store in settings.stores] == ["embedded", "vm"]
    assert settings.reader.kind == "vm"
    assert load_settings({"DAQ_HOME": str(tmp_path)}).reader.kind == "embedded"


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("DAQ_STORES", "vm+http://me:secret@host", "token_file="),
        ("DAQ_READER", "vm", "use one of: embedded"),
    ],
)
def test_stores_that_cannot_be_used_are_explained_without_secrets(
    tmp_path: Path, variable: str, value: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"DAQ_HOME": str(tmp_path), variable: value})
    assert variable in str(caught.value)
    assert remedy in str(caught.value)
    assert "secret" not in str(caught.value)
