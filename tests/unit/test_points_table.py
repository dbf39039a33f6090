"""Points go into a table and back: every row or none, and the rest of the file stays as it is."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.contract.config import parse_collector
from collectors.contract.config_problems import ConfigError
from collectors.contract.messages import LANGUAGES
from collectors.points_table.cells import protected, unprotected
from collectors.points_table.changes import Change
from collectors.points_table.columns import columns_of
from collectors.points_table.exporting import rows_of
from collectors.points_table.importing import Import, plan_import, with_points
from collectors.points_table.nearest import nearest_address
from collectors.points_table.problems import TableError, TableProblem
from collectors.points_table.sheet import Sheet, sheet_of
from collectors.points_table.toml_points import rewritten

ROOT = Path(__file__).parents[2]

FILE = """\
# 注释：压机 1
name = "press"
protocol = "mitsubishi_mc"

[[devices]]
id = "plc1"   # the first
host = "10.0.0.1"
groups = [{ id = "fast", interval_s = 0.5 }, { id = "default" }]

# how fast the line is
[[devices.points]]
name = "speed"   # 速度
address = "D100"
scale = 0.1
group = "fast"

[[devices.points]]
name = "count"
address = "D101"

[[devices]]
id = "plc2"
host = "10.0.0.2"
points = [
  { name = "run", address = "M0", type = "bool" },
  { name = "level", address = "D1", clamp = [-5, 10.5], deadband = 0.5 },
]
"""


def table(text: str) -> Sheet:
    rows = [line.split("|") for line in text.strip().splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows]
    return sheet_of("t.csv", enumerate(cells, 1))


def imported(text: str, file: str = FILE, **options: Any) -> tuple[Import, str]:
    document = tomllib.loads(file)
    found = plan_import("t.csv", table(text), document, "press.toml", **options)
    return found, rewritten(file, with_points(document, found.edits), found.edits)


def problems(text: str, file: str = FILE) -> list[TableProblem]:
    with pytest.raises(TableError) as caught:
        imported(text, file)
    for problem in caught.value.problems:
        for language in LANGUAGES:
            assert "{" not in problem.text(language)
    return list(caught.value.problems)


def places(text: str) -> list[tuple[int | None, str, str, str]]:
    return [
        (p.row, p.column, p.code or (p.rule.code if p.rule else ""), p.nearest)
        for p in problems(text)
    ]


ALL_AS_THEY_ARE = """
device | name  | address
plc1   | speed | D100
plc1   | count | D101
plc2   | run   | M0
plc2   | level | D1
"""


def test_a_table_that_changes_nothing_leaves_every_byte() -> None:
    found, text = imported(ALL_AS_THEY_ARE)
    assert found.changes == ()
    assert text == FILE


def test_a_change_touches_its_line_only() -> None:
    found, text = imported(ALL_AS_THEY_ARE.replace("D100", "D200"))
    assert text == FILE.replace('"D100"', '"D200"')
    [change] = found.changes
    assert change.line() == "~ plc1/speed: address 'D100' → 'D200'"


def test_new_points_come_behind_the_old_ones() -> None:
    found, text = imported(
        ALL_AS_THEY_ARE + "plc1 | 温度 | D200\nplc1 | p | D300\nplc2 | limit | D9"
    )
    assert [change.line() for change in found.changes] == [
        "+ plc1/温度: name = '温度', address = 'D200'",
        "+ plc1/p: name = 'p', address = 'D300'",
        "+ plc2/limit: name = 'limit', address = 'D9'",
    ]
    assert text == FILE.replace(
        'address = "D101"\n',
        'address = "D101"\n\n[[devices.points]]\nname = "温度"\naddress = "D200"\n'
        '\n[[devices.points]]\nname = "p"\naddress = "D300"\n',
    ).replace("0.5 },\n]", '0.5 },\n  {name = "limit", address = "D9"},\n]')


def test_points_that_the_table_does_not_name_are_removed_or_kept() -> None:
    short = "device | name | address\nplc1 | speed | D100\nplc2 | level | D1"
    found, text = imported(short)
    assert [change.line() for change in found.changes] == ["- plc1/count", "- plc2/run"]
    names = [
        point["name"] for device in tomllib.loads(text)["devices"] for point in device["points"]
    ]
    assert names == ["speed", "level"]
    assert "# how fast the line is" in text
    kept, same = imported(short, keep=True)
    assert (kept.changes, same) == ((), FILE)


def test_an_empty_cell_means_the_default_and_a_missing_column_changes_nothing() -> None:
    found, text = imported(
        "device|name|address|scale|clamp_low|clamp_high|group\n"
        "plc1|speed|D100|||| \nplc1|count|D101|1|||default\nplc2|run|M0||||\nplc2|level|D1||||"
    )
    assert [change.line() for change in found.changes] == [
        "~ plc1/speed: scale 0.1 → ∅, group 'fast' → ∅",
        "~ plc2/level: clamp [-5, 10.5] → ∅",
    ]
    [level] = [p for p in tomllib.loads(text)["devices"][1]["points"] if p["name"] == "level"]
    assert level == {"name": "level", "address": "D1", "deadband": 0.5}


def test_a_device_without_points_gets_its_first_ones() -> None:
    for empty in ("", "points = []\n"):
        file = f'name = "a"\nprotocol = "modbus_tcp"\n[[devices]]\nid = "d"\nhost = "h"\n{empty}'
        found, text = imported("name | address\nt | holding:1\nu | holding:2", file)
        assert len(found.changes) == 2
        assert text.endswith(
            'host = "h"\n\n[[devices.points]]\nname = "t"\naddress = "holding:1"\n'
            '\n[[devices.points]]\nname = "u"\naddress = "holding:2"\n'
        )


def test_each_bad_cell_is_told_with_row_column_and_what_would_be_valid() -> None:
    assert places(
        """
device | name | address | type  | scale | group | writable | length | clamp_low | clamp_high
plc1   | a    | D1      | int61 | 1     |       |          |        |           |
plc7   | b    | D1      | int16 | 1,5   |       |          |        |           |
plc1   |      | D1      |       | 0x1   |       | maybe    | 1.5    | 3         |
plc1   | a    | D1      |       | #REF! |       |          |        |           |
plc1   | c    | D1      |       |       |       |          |        |           |
plc1   | c    | D2      |       |       |       |          |        |           |
"""
    ) == [
        (2, "type", "not_one_of", "int64"),
        (3, "scale", "decimal_comma", ""),
        (3, "device", "unknown_device", "plc2"),
        (4, "name", "empty_cell", ""),
        (4, "scale", "not_number", ""),
        (4, "writable", "not_flag", ""),
        (4, "length", "not_integer", ""),
        (4, "clamp_high", "half_a_pair", ""),
        (5, "scale", "cell_error", ""),
        (7, "name", "duplicate_point", ""),
    ]


def test_each_broken_rule_of_collector_files_is_told_with_row_and_column() -> None:
    assert places(
        """
device | name | address | type  | group | clamp_low | clamp_high | writable
plc1   | a    | D1O0    |       |       |           |            |
plc1   | b    | Ｄ200   |       |       |           |            |
plc1   | c    | D3      | bool  |       |           |            |
plc1   | d    | D4      |       | fats  |           |            |
plc2   | e    | D5      |       |       | 7         | 3          |
plc2   | f    | D6.1    | bool  |       |           |            | TRUE
plc2   | g    | D7      | int32 | never |           |            |
"""
    ) == [
        (2, "address", "bad_address", "D100"),
        (3, "address", "bad_address", "D200"),
        (4, "type", "type_mismatch", ""),
        (5, "group", "not_one_of", "fast"),
        (6, "clamp_low", "bad_clamp", ""),
        (7, "writable", "bit_not_writable", ""),
        (8, "group", "not_one_of", ""),
    ]


def test_a_rule_between_two_points_names_a_row() -> None:
    text = """
device | name | address | type  | writable
plc1   | a    | D1      | int32 | TRUE
plc1   | b    | D2      | int16 | TRUE
plc2   | c    | D1      |       |
"""
    assert places(text) == [(3, "address", "overlap", "")]


def test_headings_are_checked_before_anything_else() -> None:
    assert places("device | name | adress | name | colour\nplc1 | a | D1 | a | red") == [
        (1, "adress", "unknown_column", "address"),
        (1, "colour", "unknown_column", ""),
        (1, "name", "duplicate_column", ""),
        (1, "address", "missing_column", ""),
    ]
    headings = "Device | NAME | Address\nplc1 | speed | D100\nplc1|count|D101"
    found, _ = imported(headings, keep=True)
    assert found.changes == ()


def test_the_sentence_has_the_form_that_people_look_for() -> None:
    [problem] = problems("device | name | address\nplc1 | a | D1O0")
    assert problem.text("en") == (
        't.csv, row 2, column "address": D1O0 is not an address. Please write device and number, '
        "for example D100, M20, X1F or D100.A. Nearest valid: D100."
    )
    assert problem.text("zh-CN").startswith("t.csv 第 2 行“address”列：D1O0 不是有效地址。")


DEMOS = ("demo-modbus", "demo-opcua", "demo-mitsubishi")


@pytest.mark.parametrize("demo", DEMOS)
def test_an_exported_file_comes_back_without_a_change(demo: str) -> None:
    text = (ROOT / "simulators" / "demo" / f"{demo}.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    config = parse_collector(document, file="demo.toml")
    rows = list(rows_of(config))
    assert len(rows) == 1 + sum(len(device.points) for device in config.devices)
    sheet = sheet_of("t.csv", enumerate(rows, 1))
    found = plan_import("t.csv", sheet, document, "demo.toml")
    assert found.changes == ()
    assert rewritten(text, document, found.edits) == text


@pytest.mark.parametrize("protocol", ["modbus_tcp", "opcua", "mitsubishi_mc"])
def test_every_key_of_a_point_has_a_column(protocol: str) -> None:
    headings = [column.heading for column in columns_of(protocol)]
    assert headings[:2] == ["device", "name"]
    assert {"scale", "deadband", "clamp_low", "clamp_high", "writable"} <= set(headings)
    assert len(headings) == len(set(headings))


@given(st.text(alphabet="=+-@'\ta1", max_size=8))
def test_no_text_becomes_a_formula_and_each_one_comes_back(text: str) -> None:
    assert unprotected(protected(text)) == text
    assert not protected(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    ("protocol", "text", "near"),
    [
        ("mitsubishi_mc", "D1O0", "D100"),
        ("mitsubishi_mc", "D 100", "D100"),
        ("mitsubishi_mc", "Ｍ１００", "M100"),
        ("modbus_tcp", "Holding:100", "holding:100"),
        ("modbus_tcp", "holding：100", "holding:100"),
        ("modbus_tcp", "holding 100", "holding:100"),
        ("modbus_tcp", "holding:1O0", "holding:100"),
        ("opcua", "ns=2；i=7", "ns=2;i=7"),
        ("opcua", "nonsense", ""),
        ("mitsubishi_mc", "", ""),
    ],
)
def test_the_nearest_address_differs_in_looks_only(protocol: str, text: str, near: str) -> None:
    assert nearest_address(text, protocol) == near


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 999), st.sampled_from(["", "kg"])),
        unique_by=lambda row: row[0],
        min_size=1,
    )
)
def test_any_table_of_valid_rows_is_what_the_file_says_afterwards(
    rows: list[tuple[str, int, str]],
) -> None:
    lines = ["device|name|address|unit"]
    lines += [f"{d}|{name}|D{n}|{u}" for d in ("plc1", "plc2") for name, n, u in rows]
    found, text = imported("\n".join(lines))
    assert all(isinstance(change, Change) for change in found.changes)
    for device in tomllib.loads(text)["devices"]:
        points = {p["name"]: (p["address"], p.get("unit", "")) for p in device["points"]}
        assert points == {name: (f"D{n}", u) for name, n, u in rows}
    again = plan_import("t.csv", table("\n".join(lines)), tomllib.loads(text), "press.toml")
    assert again.changes == ()


@pytest.mark.parametrize("points", ["7", '"x"', "[1]", '[{name = 3}, "x"]', "[[]]"])
def test_points_that_are_no_tables_are_told_as_a_broken_file(points: str) -> None:
    file = (
        'name = "a"\nprotocol = "modbus_tcp"\n[[devices]]\nid = "d"\nhost = "h"\n'
        f"points = {points}\n"
    )
    with pytest.raises(ConfigError):
        imported("name | address\nt | holding:1", file)


def test_a_broken_point_in_the_file_can_be_mended_by_a_table() -> None:
    file = FILE.replace('"D101"', '"D1O1"').replace("scale = 0.1", 'scale = "much"')
    found, text = imported(ALL_AS_THEY_ARE.replace("address", "address | scale"), file)
    assert [change.line() for change in found.changes] == [
        "~ plc1/speed: scale 'much' → ∅",
        "~ plc1/count: address 'D1O1' → 'D101'",
    ]
    parse_collector(tomllib.loads(text), file="press.toml")


def test_headings_may_stand_below_empty_rows() -> None:
    sheet = sheet_of("t.csv", [(1, ("", "")), (2, ()), (3, ("name", "colour"))])
    with pytest.raises(TableError) as caught:
        plan_import("t.csv", sheet, tomllib.loads(FILE), "press.toml")
    assert {problem.row for problem in caught.value.problems} == {3}
