"""What stands in a cell, and what it means. Pure."""

import math
import re
from collections.abc import Callable, Mapping

from collectors.points_table.columns import Column, Kind

Cell = str | int | float | bool | None
"""As a spreadsheet keeps it; a CSV file has texts only."""
PointValue = str | int | float | bool

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_FLAGS = {
    "true": True, "yes": True, "1": True, "是": True, "真": True, "wahr": True,
    "false": False, "no": False, "0": False, "否": False, "假": False, "falsch": False,
}  # fmt: skip
_ERRORS = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"}
)
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet program takes a text that begins so for a formula, and would run it."""


class BadCell(Exception):
    """The cell cannot mean what its column needs; ``table.CODE`` says why."""

    def __init__(self, code: str, **params: object) -> None:
        self.code = code
        self.params: Mapping[str, object] = params
        super().__init__(code)


def protected(text: str) -> str:
    """Return a text that no spreadsheet program takes for a formula."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA_SIGNS) else text


def unprotected(text: str) -> str:
    """Undo :func:`protected`."""
    is_protected = text.startswith("'") and text.lstrip("'").startswith(_FORMULA_SIGNS)
    return text[1:] if is_protected else text


def is_empty(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def value_of(cell: Cell, column: Column) -> PointValue:
    """Return what a cell that is not empty means.

    Raises:
        BadCell: nothing that the column can hold. Nothing is guessed, a decimal comma either.
    """
    if isinstance(cell, str):
        cell = cell.strip()
        if cell in _ERRORS:
            raise BadCell("cell_error", value=cell)
    return _READERS[column.kind](cell)


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return unprotected(cell)
    if isinstance(cell, bool):
        raise BadCell("not_text", value=cell)
    if isinstance(cell, int) or (isinstance(cell, float) and cell.is_integer()):
        return str(int(cell))
    # 100.10 and 100.1 are one number, but two addresses.
    raise BadCell("number_for_text", value=cell)


def _integer(cell: Cell) -> int:
    if isinstance(cell, str) and _INTEGER.fullmatch(cell) and len(cell) < 20:
        return int(cell)
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    raise BadCell("not_integer", value=cell)


def _number(cell: Cell) -> int | float:
    if isinstance(cell, str):
        if _DECIMAL_COMMA.fullmatch(cell):
            raise BadCell("decimal_comma", value=cell, point=cell.replace(",", "."))
        if not _NUMBER.fullmatch(cell) or len(cell) > 40:
            raise BadCell("not_number", value=cell)
        return int(cell) if _INTEGER.fullmatch(cell) else float(cell)
    if isinstance(cell, bool) or cell is None or not math.isfinite(cell):
        raise BadCell("not_number", value=cell)
    return int(cell) if cell == int(cell) else cell


def _flag(cell: Cell) -> bool:
    if isinstance(cell, bool):
        return cell
    flag = _FLAGS.get(str(cell).lower())
    if flag is None:
        raise BadCell("not_flag", value=cell)
    return flag


_READERS: Mapping[Kind, Callable[[Cell], PointValue]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.FLAG: _flag,
}
