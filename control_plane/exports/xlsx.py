"""XLSX (ECMA-376), row by row; imported where one is written, as openpyxl loads slowly."""

from collections.abc import Iterable
from typing import IO, Any, Final
from zoneinfo import ZoneInfo

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from control_plane.exports.pages import Cell, Page
from control_plane.exports.times import TimeTexts

_EXACT_INTEGER: Final = 2**53
"""Beyond, a spreadsheet's numbers (IEEE 754 double) skip integers."""
_TIME_FORMAT: Final = "yyyy-mm-dd hh:mm:ss.000"


def write_xlsx(
    file: IO[bytes],
    head: list[str],
    pages: Iterable[Page],
    zone: ZoneInfo,
    facts: Iterable[tuple[str, str]],
) -> None:
    """Write a workbook of two sheets, the rows and the ``facts`` about them.

    The rows go through a temporary file, never all through memory.
    """
    book: Any = openpyxl.Workbook(write_only=True)
    try:
        about = book.create_sheet("about")
        about.column_dimensions["A"].width, about.column_dimensions["B"].width = 24, 60
        for name, value in facts:
            about.append([_text(about, name), _text(about, value)])
        _write_rows(book.create_sheet("data", 0), head, pages, zone)
    finally:
        # After an error, too: nothing else removes the sheets' temporary files.
        book.save(file)


def _write_rows(sheet: Any, head: list[str], pages: Iterable[Page], zone: ZoneInfo) -> None:
    sheet.freeze_panes = "A2"
    for letter, width in zip("ABCDEFGHI", (29, 25, 36, 14, 14, 14, 10, 10, 10), strict=True):
        sheet.column_dimensions[letter].width = width
    sheet.append([_text(sheet, each) for each in head])
    texts = TimeTexts(zone)
    # A row is written when it is appended, so one cell serves all; making its style is slow.
    at = WriteOnlyCell(sheet)
    at.number_format = _TIME_FORMAT
    for page in pages:
        for t_ns, cells in page.rows:
            at.value = texts.wall_clock(t_ns)
            sheet.append((texts.utc(t_ns), at, *(_xlsx_cell(sheet, each) for each in cells)))


def _xlsx_cell(sheet: Any, cell: Cell) -> Any:
    if isinstance(cell, str):
        return _text(sheet, cell)
    if isinstance(cell, int) and abs(cell) > _EXACT_INTEGER:
        return _text(sheet, str(cell))
    return cell


def _text(sheet: Any, text: str) -> Any:
    """Return a text, or a cell that says that it is one where it could be taken for a formula."""
    text = ILLEGAL_CHARACTERS_RE.sub("", text)
    if text[:1] not in ("=", "#"):
        return text
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    return cell
