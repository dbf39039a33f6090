"""The exported files say exactly what was stored, and nothing in them is run as a formula."""

import csv
import io
import tempfile
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.exports.formats import csv_chunks
from control_plane.exports.pages import Cell, Page
from control_plane.exports.times import TimeTexts
from control_plane.exports.xlsx import write_xlsx

SHANGHAI = ZoneInfo("Asia/Shanghai")
T_NS = 1_769_846_400_123_000_000  # 2026-01-31T08:00:00.123Z
HEAD = ["time", "当地时间", "value"]


def page(*cells: Cell) -> Page:
    return Page(rows=[(T_NS, (cell,)) for cell in cells], fraction=1.0)


def csv_rows(*cells: Cell) -> list[list[str]]:
    content = b"".join(csv_chunks(HEAD, [page(*cells)], SHANGHAI, with_bom=True))
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def xlsx_cells(*cells: Cell) -> list[tuple[str, object]]:
    file = io.BytesIO()
    write_xlsx(file, HEAD, [page(*cells)], SHANGHAI, [("=fact", "事实")])
    book = openpyxl.load_workbook(file)
    rows = list(book["data"].iter_rows())
    assert [each.value for each in rows[0]] == HEAD
    assert rows[1][1].value == datetime(2026, 1, 31, 16, 0, 0, 123_000)  # noqa: DTZ001 - a clock's
    assert [[each.value for each in row] for row in book["about"].iter_rows()] == [
        ["=fact", "事实"]
    ]
    return [(row[2].data_type, row[2].value) for row in rows[1:]]


def test_csv_has_both_times_and_each_value_as_it_is() -> None:
    rows = csv_rows(1.5, -3, True, None, 'a "b", c\nd', 2**64 - 1, 0.1 + 0.2)
    assert rows[0] == HEAD
    assert rows[1] == ["2026-01-31T08:00:00.123Z", "2026-01-31 16:00:00.123", "1.5"]
    values = [row[2] for row in rows[2:]]
    big = str(2**64 - 1)
    assert values == ["-3", "TRUE", "", 'a "b", c\nd', big, "0.30000000000000004"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_no_text_becomes_a_formula(text: str) -> None:
    assert csv_rows(text)[1][2] == f"'{text}"
    ((kind, value),) = xlsx_cells(text)
    assert (kind, value) == ("s", text)


def test_xlsx_keeps_types_and_rounds_no_integer() -> None:
    found = xlsx_cells(1.5, -3, True, None, "一号", 2**53 + 1, "#N/A", "a\x07b")
    assert found == [
        ("n", 1.5), ("n", -3), ("b", True), ("n", None), ("s", "一号"),
        ("s", "9007199254740993"), ("s", "#N/A"), ("s", "ab"),
    ]  # fmt: skip


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1)),  # noqa: DTZ001 - hypothesis' wish
    st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"]),
)
def test_times_are_exact_and_follow_the_zone(at: datetime, zone: str) -> None:
    at = at.replace(tzinfo=UTC)
    t_ns = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    texts = TimeTexts(ZoneInfo(zone))
    assert datetime.fromisoformat(texts.utc(t_ns)) == at
    there = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    there -= timedelta(microseconds=there.microsecond % 1000)
    assert texts.wall_clock(t_ns) == there
    assert texts.local(t_ns) == there.isoformat(" ", "milliseconds")


def test_nanoseconds_are_shown_where_there_are_any() -> None:
    texts = TimeTexts(SHANGHAI)
    assert texts.utc(T_NS + 1) == "2026-01-31T08:00:00.123000001Z"
    assert texts.utc(T_NS + 1000) == "2026-01-31T08:00:00.123001Z"


def test_an_error_among_the_rows_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Iterator[Page]:
        yield page(1)
        raise ConnectionError

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ConnectionError):
        write_xlsx(io.BytesIO(), HEAD, broken(), SHANGHAI, [])
    assert list(tmp_path.iterdir()) == []


def many_pages(pages: int) -> Iterator[Page]:
    for number in range(pages):
        at = T_NS + number * 1000 * 10**9
        yield Page(rows=[(at + n * 10**9, ("line1/plc/x", n / 3)) for n in range(1000)], fraction=0)


def test_memory_does_not_grow_with_the_rows() -> None:
    def peak_bytes(pages: int) -> int:
        tracemalloc.start()
        for _ in csv_chunks(HEAD, many_pages(pages), SHANGHAI, with_bom=False):
            pass
        with open("/dev/null", "w+b") as nowhere:  # noqa: PTH123 - no path, a device
            write_xlsx(nowhere, HEAD, many_pages(pages), SHANGHAI, [])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(1)
    assert peak_bytes(8) < peak_bytes(2) + 500_000
