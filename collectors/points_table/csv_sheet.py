"""CSV as spreadsheet programs write it: UTF-8 or GBK, with commas, semicolons or tabs."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from collectors.points_table.cells import Cell, protected
from collectors.points_table.problems import TableError
from collectors.points_table.sheet import Sheet, check_size, sheet_of

_SEPARATORS: Final = ",;\t"
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEPARATOR_LINE: Final = "sep="
"""Excel reads and hides a first line such as ``sep=;``."""


class CsvFile:
    """See :class:`collectors.points_table.sheet.SheetFile`."""

    def read(self, path: Path) -> Sheet:
        file = str(path)
        check_size(path)
        try:
            text = _decoded(file, path.read_bytes())
        except OSError as exc:
            raise TableError.single(file, "unreadable", reason=exc.strerror) from None
        first, _, rest = text.partition("\n")
        if first.lower().startswith(_SEPARATOR_LINE) and len(first.rstrip("\r")) == 5:
            separator, text = first[4], rest
        else:
            separator = max(_SEPARATORS, key=first.count)
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
        except csv.Error as exc:
            raise TableError.single(file, "not_csv", reason=str(exc)) from None
        return sheet_of(file, enumerate(rows, 1))

    def write(self, path: Path, rows: Iterable[Sequence[Cell]]) -> None:
        # Without the mark Excel takes UTF-8 for the code page of its country.
        with path.open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.writer(stream)
            for row in rows:
                writer.writerow([_cell_text(cell) for cell in row])


def _cell_text(cell: Cell) -> Cell:
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    return protected(cell) if isinstance(cell, str) else cell


def _decoded(file: str, content: bytes) -> str:
    """Decode by the mark in front; without one as UTF-8, or as GBK, which Excel writes in China."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError as exc:
                raise TableError.single(file, "not_text_file", position=exc.start) from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("gb18030")
    except UnicodeDecodeError as exc:
        raise TableError.single(file, "not_text_file", position=exc.start) from None
