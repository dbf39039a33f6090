"""Tables as spreadsheet programs write them, and the command that reads them."""

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.contract.messages import LANGUAGES
from collectors.points_table.problems import TableError
from collectors.points_table.sheet import sheet_file

ROOT = Path(__file__).parents[2]
FILE = """\
# 采集器
name = "line1"
protocol = "modbus_tcp"

[[devices]]
id = "press"
host = "10.0.0.1"

[[devices.points]]
name = "油温"
address = "holding:100"
type = "float32"
unit = "°C"
description = "=cmd|' /C calc'!A0"
"""
TABLE = (
    "device,name,address,type,unit\r\npress,油温,holding:100,float32,℃\r\npress,+x,coil:3,bool,\r\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "line1.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def points(*arguments: str | Path, language: str = "en") -> tuple[int, str, str]:
    result = subprocess.run(
        [sys.executable, "-m", "collectors", "points", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "DAQ_LANG": language, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_each_encoding_and_separator_is_read(tmp_path: Path, encoding: str, separator: str) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(TABLE.replace(",", separator).encode(encoding))
    sheet = sheet_file(path).read(path)
    assert sheet.heading == ("device", "name", "address", "type", "unit")
    assert [(number, row[1], row[4]) for number, row in sheet.rows] == [
        (2, "油温", "℃"),
        (3, "+x", ""),
    ]


def test_a_first_line_that_names_the_separator_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(b"sep=;\r\nname;unit\r\na;1,5\r\n\r\nb;\r\n")
    sheet = sheet_file(path).read(path)
    assert sheet.heading == ("name", "unit")
    assert sheet.rows == ((2, ("a", "1,5")), (4, ("b", "")))


BROKEN: dict[str, tuple[str, bytes | None, str]] = {
    "no file": ("a.csv", None, "unreadable"),
    "another kind": ("a.xls", b"", "unknown_suffix"),
    "nothing": ("a.csv", b"\r\n,,\r\n", "empty"),
    "neither encoding": ("a.csv", b"name\r\n\xff\xff\xff\r\n", "not_text_file"),
    "an open quotation mark": ("a.csv", b'name\r\n"a\r\n', "not_csv"),
    "no XLSX": ("a.xlsx", b"name,unit", "not_xlsx"),
    "too many columns": ("a.csv", b"," * 300 + b"x", "too_big"),
}


@pytest.mark.parametrize(("name", "content", "code"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, name: str, content: bytes | None, code: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError) as caught:
        sheet_file(path).read(path)
    [problem] = caught.value.problems
    assert problem.code == code
    for language in LANGUAGES:
        assert str(path) in problem.text(language)
        assert "{" not in problem.text(language)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(401_000_000))
    with pytest.raises(TableError) as caught:
        sheet_file(path).read(path)
    assert caught.value.problems[0].code == "too_large"


def test_an_xlsx_keeps_the_numbers_of_its_rows_and_the_kinds_of_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "points.xlsx"
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(["name", "scale", "writable"])
    sheet.append([])
    sheet.append(["a", 0.5, True])
    sheet.append([40101, 2.0, None])
    workbook.save(path)
    read = sheet_file(path).read(path)
    assert read.heading == ("name", "scale", "writable")
    assert read.rows == ((3, ("a", 0.5, True)), (4, (40101, 2)))


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_what_is_exported_holds_no_formula_and_comes_back_unchanged(
    file: Path, tmp_path: Path, suffix: str
) -> None:
    table = tmp_path / f"points.{suffix}"
    code, output, errors = points("export", file, table)
    assert (code, output, errors) == (0, f"1 points are in {table}.\n", "")
    if suffix == "csv":
        assert table.read_bytes().startswith(b"\xef\xbb\xbfdevice,name,address")
        assert ",'=cmd" in table.read_text(encoding="utf-8-sig")
    else:
        cells = openpyxl.load_workbook(table).worksheets[0]["2"]
        assert all(cell.data_type != "f" for cell in cells)
    code, output, _ = points("import", table, file)
    assert code == 0
    assert "has these points already" in output
    assert file.read_text(encoding="utf-8") == FILE


def test_a_trial_shows_the_changes_and_makes_none(file: Path, tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_bytes(TABLE.encode("gbk"))
    code, output, _ = points("import", table, file, "--dry-run")
    assert code == 0
    assert output == (
        "~ press/油温: unit '°C' → '℃'\n"
        "+ press/+x: name = '+x', address = 'coil:3', type = 'bool'\n"
        f"Added: 1, changed: 1, removed: 0.\n{file} was not changed, because this was a trial.\n"
    )
    assert file.read_text(encoding="utf-8") == FILE


def test_an_import_changes_the_points_and_nothing_else(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    table = tmp_path / "points.csv"
    table.write_bytes(TABLE.encode("gbk"))
    code, output, _ = points("import", table, file, language="zh-CN")
    assert (code, output.splitlines()[-2:]) == (
        0,
        ["新增 1，更改 1，删除 0。", f"已写入 {file}。"],
    )
    assert file.read_text(encoding="utf-8") == FILE.replace("°C", "℃") + (
        '\n[[devices.points]]\nname = "+x"\naddress = "coil:3"\ntype = "bool"\n'
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_one_bad_row_leaves_the_file_alone(file: Path, tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text(TABLE + "press,bad,holding:70000,,\r\n", encoding="utf-8", newline="")
    code, output, errors = points("import", table, file)
    assert (code, output) == (78, "")
    assert errors.startswith(f'{table}, row 4, column "address": holding:70000 is not an address.')
    assert file.read_text(encoding="utf-8") == FILE


def test_a_file_that_cannot_be_written_is_named(file: Path, tmp_path: Path) -> None:
    code, _, errors = points("export", file, tmp_path / "no" / "points.csv")
    assert code == 78
    assert "cannot be written" in errors


def test_wrong_usage_is_told_in_the_users_language() -> None:
    code, _, errors = points("import", language="zh-CN")
    assert code == 2
    assert "FILE" in errors


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=200) | st.text(alphabet=',;\t"\n\r=a', max_size=60).map(str.encode)
)
def test_no_content_breaks_the_reader(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "points.csv"
        path.write_bytes(content)
        with contextlib.suppress(TableError):
            assert sheet_file(path).read(path).heading


def test_a_damaged_xlsx_is_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    whole = tmp_path / "whole.xlsx"
    workbook = openpyxl.Workbook()
    assert workbook.active is not None
    workbook.active.append(["name", "address"])
    workbook.save(whole)
    with zipfile.ZipFile(whole) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for damaged in parts:
        for content in (b"", b"<x/>", parts[damaged][: len(parts[damaged]) // 2]):
            path = tmp_path / "damaged.xlsx"
            with zipfile.ZipFile(path, "w") as archive:
                for name, part in parts.items():
                    archive.writestr(name, content if name == damaged else part)
            with contextlib.suppress(TableError):
                sheet_file(path).read(path)
