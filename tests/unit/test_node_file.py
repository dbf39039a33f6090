"""The list of other machines: what is refused, and that nothing else suffers."""

import re
from pathlib import Path

import pytest

from control_plane.domain.node import program_and_node, qualified
from control_plane.supervisor.node_file import NodeList, read_node_file

GOOD = """
[[node]]
name = "line2"
url = "http://10.0.0.2:9001"
username = "daq"
password_file = "secrets/line2"
"""


def write(home: Path, text: str, password: bytes = b"secret\n", mode: int = 0o600) -> NodeList:
    secret = home / "secrets" / "line2"
    secret.parent.mkdir(exist_ok=True)
    secret.write_bytes(password)
    secret.chmod(mode)
    (home / "nodes.toml").write_text(text, encoding="utf-8")
    return read_node_file(home / "nodes.toml", "me")


def test_without_the_file_there_is_no_other_machine(tmp_path: Path) -> None:
    found = read_node_file(tmp_path / "nodes.toml", "me")
    assert (found.addresses, found.problems) == ({}, ())


def test_a_node_has_an_address_and_its_password_shows_nowhere(tmp_path: Path) -> None:
    found = write(tmp_path, GOOD)
    address = found.addresses["line2"]
    assert (address.host, address.port, address.tls) == ("10.0.0.2", 9001, False)
    assert address.password == "secret"
    assert address.label == "http://10.0.0.2:9001"
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "key", "code"),
    [
        ("[[node", "", "not_toml"),
        ("nodes = 1", "nodes", "unknown_key"),
        ("node = 1", "node", "not_a_table_list"),
        ("node = [1]", "node[0]", "invalid"),
        (GOOD.replace("line2", "Line 2", 1), "node[0].name", "bad_pattern"),
        (GOOD.replace("line2", "local", 1), "node[0].name", "reserved_name"),
        (GOOD + "user = 1", "node[0].user", "unknown_key"),
        (GOOD.replace('username = "daq"', ""), "node[0].username", "missing"),
        (GOOD.replace(":9001", ""), "node[0].url", "bad_pattern"),
        (GOOD.replace(":9001", ":99999"), "node[0].url", "bad_pattern"),
        (GOOD.replace("10.0.0.2", "daq:pw@10.0.0.2"), "node[0].url", "bad_pattern"),
        (GOOD.replace("http:", "file:"), "node[0].url", "bad_pattern"),
        (GOOD.replace('"daq"', '"a\\nb"'), "node[0].username", "bad_pattern"),
        (GOOD.replace("secrets/line2", "nowhere"), "node[0].password_file", "missing_file"),
        (GOOD + GOOD, "node[1].name", "duplicate"),
        (GOOD * 101, "node", "list_too_long"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, key: str, code: str
) -> None:
    (problem, *_) = write(tmp_path, text).problems
    assert (problem.key, problem.code) == (key, code)
    for language in ("en", "zh-CN"):
        assert re.search(r"\{[a-z_]+\}", problem.text(language)) is None
        assert "nodes.toml" in problem.text(language)


@pytest.mark.parametrize(
    ("password", "mode", "code"),
    [
        (b"", 0o600, "bad_secret"),
        (b"two\nlines", 0o600, "bad_secret"),
        (b"\xff", 0o600, "missing_file"),
        (b"secret", 0o640, "open_secret"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_refused(
    tmp_path: Path, password: bytes, mode: int, code: str
) -> None:
    (problem,) = write(tmp_path, GOOD, password, mode).problems
    assert (problem.key, problem.code) == ("node[0].password_file", code)


def test_a_bad_entry_leaves_the_good_ones(tmp_path: Path) -> None:
    found = write(tmp_path, GOOD + GOOD.replace("line2", "Line3", 1))
    assert set(found.addresses) == {"line2"}
    assert len(found.problems) == 1


def test_names_of_programs_say_their_node() -> None:
    assert (qualified("press", "local"), qualified("press", "line2")) == ("press", "press@line2")
    for name in ("press", "press@line2"):
        assert qualified(*program_and_node(name)) == name
