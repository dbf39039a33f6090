"""The two forms of an exported file, and CSV (RFC 4180), written page by page."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Literal
from zoneinfo import ZoneInfo

from control_plane.exports.pages import Cell, Page
from control_plane.exports.times import TimeTexts

FileFormat = Literal["csv", "xlsx"]
MEDIA_TYPES: dict[FileFormat, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
XLSX_ROWS = 200_000
"""A sheet may have 1,048,576 rows; this many take a quarter of a minute of one core to write."""
_BOM = b"\xef\xbb\xbf"
# A spreadsheet takes a text that begins so for a formula; OWASP, "CSV Injection".
_FORMULA = re.compile(r"[=+\-@\t\r]")


def csv_chunks(
    head: list[str], pages: Iterable[Page], zone: ZoneInfo, *, with_bom: bool
) -> Iterator[bytes]:
    """Yield the file page by page; with a byte order mark, Excel shows Chinese characters."""
    texts = TimeTexts(zone)
    buffer = io.StringIO(newline="")
    write = csv.writer(buffer).writerow
    write(map(_csv_cell, head))
    if with_bom:
        yield _BOM
    for page in pages:
        for t_ns, cells in page.rows:
            write((texts.utc(t_ns), texts.local(t_ns), *map(_csv_cell, cells)))
        yield buffer.getvalue().encode("utf-8", "replace")
        buffer.seek(0)
        buffer.truncate()


def _csv_cell(cell: Cell) -> Cell:
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, str) and _FORMULA.match(cell):
        return f"'{cell}"
    return cell
