"""A table as rows of cells, whatever file it came from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from collectors.points_table.cells import Cell
from collectors.points_table.problems import TableError

MAX_BYTES: Final = 32_000_000
MAX_ROWS: Final = 200_000
MAX_COLUMNS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a file holds.

    Attributes:
        heading: The first row that is not empty; ``heading_row`` is its number.
        rows: Every further row that is not empty, with its number as the spreadsheet shows it.
    """

    heading: tuple[str, ...]
    heading_row: int
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]


class SheetFile(Protocol):
    """A kind of file."""

    def read(self, path: Path) -> Sheet:
        """Read a table.

        Raises:
            TableError: it cannot be read, or is too large.
        """

    def write(self, path: Path, rows: Iterable[Sequence[Cell]]) -> None:
        """Write a table, the first row of which are the headings.

        Raises:
            OSError: the file cannot be written.
        """


def sheet_file(path: Path) -> SheetFile:
    """Return what reads and writes files of this name; XLSX needs 20 MB that are loaded here.

    Raises:
        TableError: tables are not kept in such files.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv", ".txt"):
        from collectors.points_table.csv_sheet import CsvFile  # noqa: PLC0415 - only what is needed

        return CsvFile()
    if suffix == ".xlsx":
        from collectors.points_table.xlsx_sheet import XlsxFile  # noqa: PLC0415 - openpyxl is big

        return XlsxFile()
    raise TableError.single(str(path), "unknown_suffix", suffix=suffix or "''")


def sheet_of(file: str, rows: Iterable[tuple[int, Sequence[Cell]]]) -> Sheet:
    """Return the sheet of numbered rows.

    Raises:
        TableError: no heading, or too many rows or columns.
    """
    filled = [(number, tuple(row)) for number, row in _bounded(file, rows) if any_cell(row)]
    if not filled:
        raise TableError.single(file, "empty")
    heading = tuple("" if cell is None else str(cell).strip() for cell in filled[0][1])
    return Sheet(heading=heading, heading_row=filled[0][0], rows=tuple(filled[1:]))


def any_cell(row: Sequence[Cell]) -> bool:
    return any(cell is not None and cell != "" for cell in row)


def _bounded(
    file: str, rows: Iterable[tuple[int, Sequence[Cell]]]
) -> Iterable[tuple[int, Sequence[Cell]]]:
    for number, row in rows:
        if number > MAX_ROWS or len(row) > MAX_COLUMNS:
            raise TableError.single(file, "too_big", rows=MAX_ROWS, columns=MAX_COLUMNS)
        yield number, row


def check_size(path: Path) -> None:
    """Accept a file that exists and is not too large.

    Raises:
        TableError: it is not.
    """
    try:
        size_bytes = path.stat().st_size
    except OSError as exc:
        raise TableError.single(str(path), "unreadable", reason=exc.strerror) from None
    if size_bytes > MAX_BYTES:
        raise TableError.single(str(path), "too_large", limit_mb=MAX_BYTES // 10**6)
