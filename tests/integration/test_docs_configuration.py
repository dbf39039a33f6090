"""docs/configuration.md is what the types say, and leaves nothing out."""

import re
from pathlib import Path

import pytest

from collectors.history.stores import Retention, retention_of
from control_plane.config_reference import config_reference
from control_plane.config_reference.keys import keys_of
from control_plane.config_reference.variables import VARIABLES
from control_plane.settings import load_settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
NAME_OF_A_VARIABLE = re.compile(r'"(DAQ_[A-Z_]+|DATABASE_URL)"')
KNOWN_TO_PROGRAMS_ONLY = {"DAQ_PARENT_FD", "DAQ_PARENT_PID"}


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_committed_page_is_up_to_date() -> None:
    reason = "docs/configuration.md is out of date; write it anew with: make config-reference"
    assert PAGE.read_text(encoding="utf-8") == config_reference(), reason


def test_every_row_says_form_default_and_meaning() -> None:
    found = rows(config_reference())
    assert len(found) > 150
    for name, form, default, *rest in found:
        # Only a rule may have no threshold, which is its last cell.
        assert form, name
        assert default, name
        assert len(rest) == 2 or (rest and rest[0]), name


def test_every_variable_that_the_programs_read_is_there() -> None:
    sources = [*ROOT.glob("control_plane/**/*.py"), *ROOT.glob("collectors/**/*.py")]
    read = {name for path in sources for name in NAME_OF_A_VARIABLE.findall(path.read_text())}
    named = {each.name for each in VARIABLES}
    assert read - KNOWN_TO_PROGRAMS_ONLY <= named
    assert len(named) == len(VARIABLES)


def test_the_defaults_of_variables_are_those_in_force(tmp_path: Path) -> None:
    default = {each.name: each.default.strip("`") for each in VARIABLES}
    settings = load_settings({"DAQ_HOME": str(tmp_path)})
    assert default["DAQ_HTTP_HOST"] == settings.http_host
    assert default["DAQ_HTTP_PORT"] == str(settings.http_port)
    assert default["DAQ_STORES"] == f"{settings.stores[0].kind}:"
    kept = Retention(
        days=int(default["DAQ_HISTORY_DAYS"]), rollup_days=int(default["DAQ_HISTORY_ROLLUP_DAYS"])
    )
    assert kept == retention_of({})


def test_a_key_without_a_description_would_be_noticed() -> None:
    from dataclasses import dataclass  # noqa: PLC0415  # The class below is read as text.

    @dataclass
    class Table:
        told: int = 1
        """A meaning."""
        silent_s: float = 2.0

    assert [(key.name, key.form, key.meaning) for key in keys_of(Table)] == [
        ("told", "whole number", "A meaning."),
        ("silent_s", "number s", ""),
    ]


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_what_the_readme_says_of_variables_exists(page: str) -> None:
    named = set(re.findall(r"`(DAQ_[A-Z_]+|DATABASE_URL)`", (ROOT / page).read_text()))
    assert named <= {each.name for each in VARIABLES}
