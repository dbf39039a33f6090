"""Texts of collector files are judged, compared and edited by form without losing comments."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.collector_texts import (
    check_text,
    differences,
    document_of,
    revision_of_text,
    with_document,
)

TEXT = """\
# 压机
name = "line1"          # as the file
protocol = "modbus_tcp"

[[devices]]
id = "press1"           # the first
host = "127.0.0.1"

# how hot it is
[[devices.points]]
name = "temperature"
address = "holding:0"
unit = "°C"

[[devices.points]]
name = "speed"
address = "holding:1"   # rpm
"""


def test_a_sound_text_has_its_document_and_revision() -> None:
    checked = check_text("line1", TEXT)
    assert checked.problems == ()
    assert checked.config is not None
    assert checked.document == tomllib.loads(TEXT)
    assert checked.revision == revision_of_text(TEXT)


@pytest.mark.parametrize(
    ("old", "new", "key", "line"),
    [
        ('host = "127.0.0.1"', "hots = 1", "devices[0].hots", 7),
        ('"holding:1"', '"holdin:1"', "devices[0].points[1].address", 17),
        ('name = "line1"', 'name = "line2"', "name", 2),
        ("[[devices]]", "[[devices", "", 5),
    ],
)
def test_a_problem_is_told_with_its_key_and_line(old: str, new: str, key: str, line: int) -> None:
    checked = check_text("line1", TEXT.replace(old, new))
    assert checked.config is None
    problem = next(each for each in checked.problems if each.key == key)
    assert (problem.file, problem.line) == ("line1.toml", line)
    assert problem.remedy("zh-CN") != problem.remedy("en")


def test_points_are_compared_by_name_not_by_number() -> None:
    old = tomllib.loads(TEXT)
    new = tomllib.loads(TEXT.replace('name = "temperature"', 'name = "heat"'))
    new["devices"][0]["points"].reverse()
    new["devices"][0]["host"] = "10.0.0.1"
    found = {(each.key, each.kind) for each in differences(old, new)}
    assert found == {
        ("devices[press1].host", "changed"),
        ("devices[press1].points[temperature]", "removed"),
        ("devices[press1].points[heat]", "added"),
    }
    assert differences(old, old) == []


def test_a_form_changes_what_it_changes_and_no_comment() -> None:
    document = tomllib.loads(TEXT)
    document["devices"][0]["points"][1]["address"] = "holding:7"
    document["devices"][0]["timeout_s"] = 2
    document["display_name"] = None
    text = with_document(TEXT, document)
    assert 'address = "holding:7"   # rpm' in text
    assert "# how hot it is" in text
    assert "# the first" in text
    assert document_of(text)["devices"][0]["timeout_s"] == 2


def test_a_form_adds_and_removes_points() -> None:
    document = tomllib.loads(TEXT)
    points = document["devices"][0]["points"]
    points.pop(0)
    points.append({"name": "level", "address": "input:3"})
    text = with_document(TEXT, document)
    assert document_of(text) == document
    assert "# rpm" in text


def test_a_form_of_a_broken_text_begins_anew() -> None:
    document = tomllib.loads(TEXT)
    assert document_of(with_document("[[broken", document)) == document


KEYS = st.sampled_from(["id", "name", "host", "port", "x y", "中"])
LEAVES = (
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, width=32)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


@given(DOCUMENTS, DOCUMENTS)
def test_whatever_a_form_says_the_text_says_too(old: dict, new: dict) -> None:
    assert document_of(with_document(with_document("", old), new)) == new


@given(DOCUMENTS, DOCUMENTS)
def test_no_difference_means_the_same_document(old: dict, new: dict) -> None:
    assert differences(old, old) == []
    if not differences(old, new):
        assert repr(sorted(old)) == repr(sorted(new))
