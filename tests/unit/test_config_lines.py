"""A problem in a collector file names the line on which it stands."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import collectors
from collectors.contract.config import load_collector
from collectors.contract.config_problems import ConfigError
from collectors.contract.toml_lines import KeyLines

SAMPLES = sorted(Path(collectors.__file__).parent.glob("*/sample.toml"))

TEXT = '''# a comment with [brackets] = "and" more
name = "line1"
"quoted key" = 1
title.short = 'x # no comment = ] }'
notes = """
[[devices]]
id = "not a key"
"""

[spool]  # a table
max_bytes = 1_000

[[devices]]
id = "a"
groups = [{ id = "fast", interval_s = 0.5 }, { id = "slow" }]
points = [
  { name = "p0", address = "holding:0" },  # first

  { name = "p1", address = "holding:1", clamp = [1.5,
      2.5] },

]
[devices.retry]
base_s = 1.0

[[devices]]
id = "b"
[[devices.points]]
name = "q0"
[[devices.points]]
name = "q1"
at = 2026-01-01T00:00:00Z
'''

LINES = {
    "name": 2,
    "quoted key": 3,
    "title.short": 4,
    "notes": 5,
    "spool": 10,
    "spool.max_bytes": 11,
    "devices[0]": 13,
    "devices[0].id": 14,
    "devices[0].groups": 15,
    "devices[0].groups[1].id": 15,
    "devices[0].points[0]": 17,
    "devices[0].points[1].name": 19,
    "devices[0].points[1].address": 19,
    "devices[0].points[1].clamp[0]": 19,
    "devices[0].points[1].clamp[1]": 20,
    "devices[0].points[1].missing": 19,
    "devices[0].retry.base_s": 24,
    "devices[0].host": 13,
    "devices[1]": 26,
    "devices[1].points[0].name": 29,
    "devices[1].points[1]": 30,
    "devices[1].points[1].at": 32,
}


@pytest.mark.parametrize("key", LINES)
def test_a_key_is_found_on_its_line(key: str) -> None:
    tomllib.loads(TEXT)
    assert KeyLines(TEXT).line_of(key) == LINES[key]


def test_what_is_nowhere_has_no_line() -> None:
    assert KeyLines(TEXT).line_of("protocol") is None
    assert KeyLines(TEXT).line_of("") is None
    assert KeyLines("").line_of("name") is None


def leaves(document: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the last name of every key of a parsed document."""
    if isinstance(document, dict):
        for name, value in document.items():
            inner = f"{path}.{name}" if path else name
            yield inner, name
            yield from leaves(value, inner)
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from leaves(value, f"{path}[{index}]")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parent.name)
def test_every_key_of_the_samples_stands_where_it_is_said_to(path: Path) -> None:
    text = path.read_text()
    lines, found = text.splitlines(), KeyLines(text)
    for key, name in leaves(tomllib.loads(text)):
        line = found.line_of(key)
        assert line is not None
        assert name in lines[line - 1], key


@given(st.text(st.sampled_from("ab1.=[]{},\"'\\\n# "), max_size=80))
def test_no_text_makes_the_search_fail_or_stand_still(text: str) -> None:
    KeyLines(text).line_of("a.b[0]")


def test_a_refused_file_names_the_line_of_each_problem(tmp_path: Path) -> None:
    file = tmp_path / "line1.toml"
    file.write_text(
        'name = "line1"\nprotocol = "modbus_tcp"\n\n[[devices]]\nid = "plc"\nhost = "h"\n'
        '\n[[devices.points]]\nname = "a"\naddress = "holding:0"\n'
        '\n[[devices.points]]\nname = "b"\nadress = "holding:1"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_collector(file)
    found = {problem.key: problem.line for problem in caught.value.problems}
    assert found == {"devices[0].points[1].address": 12, "devices[0].points[1].adress": 14}
    assert f"{file}:14: devices[0].points[1].adress: " in str(caught.value)
