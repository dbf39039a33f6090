"""XLSX by openpyxl, read row by row within bounds."""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font

from collectors.points_table.cells import Cell, protected
from collectors.points_table.problems import TableError
from collectors.points_table.sheet import MAX_COLUMNS, MAX_ROWS, Sheet, check_size, sheet_of

_MAX_UNPACKED_BYTES: Final = 400_000_000
"""A file of 32 MB can unpack to a thousand times that."""
_TEXT: Final = "s"


class XlsxFile:
    """See :class:`collectors.points_table.sheet.SheetFile`."""

    def read(self, path: Path) -> Sheet:
        file = str(path)
        check_size(path)
        try:
            with zipfile.ZipFile(path) as archive:
                unpacked_bytes = sum(part.file_size for part in archive.infolist())
            if unpacked_bytes > _MAX_UNPACKED_BYTES:
                limit_mb = _MAX_UNPACKED_BYTES // 10**6
                raise TableError.single(file, "too_large", limit_mb=limit_mb)
            return _first_sheet(path)
        except TableError:
            raise
        except Exception as exc:  # noqa: BLE001 - openpyxl raises anything at a damaged file
            reason = str(exc) or type(exc).__name__
            raise TableError.single(file, "not_xlsx", reason=reason) from None

    def write(self, path: Path, rows: Iterable[Sequence[Cell]]) -> None:
        workbook = openpyxl.Workbook(write_only=True)
        worksheet = workbook.create_sheet("points")
        worksheet.freeze_panes = "A2"
        for number, row in enumerate(rows):
            worksheet.append([_cell(worksheet, cell, is_heading=number == 0) for cell in row])
        workbook.save(path)


def _first_sheet(path: Path) -> Sheet:
    workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        return sheet_of(str(path), _rows(workbook.worksheets[0]))
    finally:
        workbook.close()


def _rows(worksheet: Any) -> Iterator[tuple[int, Sequence[Cell]]]:
    # The file itself says how large it is, and may say it wrongly.
    worksheet.reset_dimensions()
    rows = worksheet.iter_rows(max_row=MAX_ROWS + 1, max_col=MAX_COLUMNS + 1, values_only=True)
    for number, row in enumerate(rows, 1):
        cells = [_plain(cell) for cell in row]
        while cells and cells[-1] is None:
            cells.pop()
        yield number, cells


def _plain(cell: Any) -> Cell:
    if isinstance(cell, date | datetime | time | timedelta):
        # Excel turns 1-2 into a day; what was meant is lost, but the row can be named.
        return str(cell)
    plain: Cell = cell
    return plain


def _cell(worksheet: Any, cell: Cell, *, is_heading: bool) -> Any:
    if not isinstance(cell, str):
        return cell
    made = WriteOnlyCell(worksheet, value=protected(cell))
    made.data_type = _TEXT
    if is_heading:
        made.font = Font(bold=True)
    return made
