"""Read the rows of a table as points, and say of every cell what is wrong with it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from collectors.points_table.cells import BadCell, Cell, is_empty, value_of
from collectors.points_table.columns import DEVICE, NAME, Column, columns_of
from collectors.points_table.nearest import nearest
from collectors.points_table.problems import TableError, TableProblem
from collectors.points_table.sheet import Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One point of a table.

    Attributes:
        number: Of the row.
        settings: Keys and values; a key with an empty cell has its default, ``None`` for no value.
    """

    number: int
    device: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.settings[NAME])


@dataclass(slots=True)
class _Reading:
    file: str
    problems: list[TableProblem] = field(default_factory=list)

    def say(
        self,
        code: str,
        row: int,
        column: str,
        params: Mapping[str, object] | None = None,
        near: str = "",
    ) -> None:
        self.problems.append(
            TableProblem(
                file=self.file,
                row=row,
                column=column,
                code=code,
                params=params or {},
                nearest=near,
            )
        )


def rows_of_sheet(file: str, sheet: Sheet, protocol: str, devices: Sequence[str]) -> list[Row]:
    """Return the points of a table.

    Args:
        file: Named in problems.
        devices: Ids of the devices that the collector file has; of a single one the column can be
            left out.

    Raises:
        TableError: with every problem that was found.
    """
    reading = _Reading(file)
    columns = _columns(reading, sheet, protocol, devices)
    if reading.problems:
        raise TableError(reading.problems)
    rows: list[Row] = []
    for number, cells in sheet.rows:
        row = _row(reading, number, [(c, _at(cells, i)) for i, c in columns.items()], devices)
        if row is not None:
            rows.append(row)
    _reject_duplicates(reading, rows)
    if reading.problems:
        raise TableError(reading.problems)
    return rows


def _columns(
    reading: _Reading, sheet: Sheet, protocol: str, devices: Sequence[str]
) -> dict[int, Column]:
    known = {column.heading: column for column in columns_of(protocol)}
    found: dict[int, Column] = {}
    for index, heading in enumerate(sheet.heading):
        if not heading:
            continue
        column = known.get(heading.lower())
        if column is None:
            near = nearest(heading, list(known))
            reading.say(
                "unknown_column", sheet.heading_row, heading, {"known": ", ".join(known)}, near
            )
        else:
            found[index] = column
    counts = Counter(column.heading for column in found.values())
    for heading, count in counts.items():
        if count > 1:
            reading.say("duplicate_column", sheet.heading_row, heading)
    for heading, column in known.items():
        can_be_absent = heading == DEVICE and len(devices) == 1
        if column.is_required and heading not in counts and not can_be_absent:
            reading.say("missing_column", sheet.heading_row, heading)
    return found


def _at(cells: Sequence[Cell], index: int) -> Cell:
    return cells[index] if index < len(cells) else None


def _row(
    reading: _Reading, number: int, cells: Sequence[tuple[Column, Cell]], devices: Sequence[str]
) -> Row | None:
    before = len(reading.problems)
    settings: dict[str, Any] = {}
    for column, cell in cells:
        value = _value(reading, number, column, cell)
        if column.part is None:
            settings[column.key] = value
        else:
            settings.setdefault(column.key, [None, None])[column.part] = value
    device = settings.pop(DEVICE, None) or devices[0]
    if device not in devices:
        near = nearest(str(device), devices)
        facts = {"value": device, "known": ", ".join(devices)}
        reading.say("unknown_device", number, DEVICE, facts, near)
    for key, pair in settings.items():
        if isinstance(pair, list) and pair.count(None) == 1:
            reading.say("half_a_pair", number, f"{key}_{('low', 'high')[pair.index(None)]}")
        elif isinstance(pair, list) and None in pair:
            settings[key] = None
    if len(reading.problems) > before:
        return None
    return Row(number=number, device=str(device), settings=settings)


def _value(reading: _Reading, number: int, column: Column, cell: Cell) -> Any:
    if is_empty(cell):
        if column.is_required and column.key != DEVICE:
            reading.say("empty_cell", number, column.heading)
        return column.default
    try:
        value = value_of(cell, column)
    except BadCell as exc:
        reading.say(exc.code, number, column.heading, exc.params)
        return None
    if column.choices and value not in column.choices:
        near = nearest(str(value), column.choices)
        facts = {"value": value, "expected": ", ".join(column.choices)}
        reading.say("not_one_of", number, column.heading, facts, near)
    return value


def _reject_duplicates(reading: _Reading, rows: Sequence[Row]) -> None:
    first: dict[tuple[str, str], int] = {}
    for row in rows:
        other = first.setdefault((row.device, row.name), row.number)
        if other != row.number:
            facts = {"device": row.device, "name": row.name, "other": other}
            reading.say("duplicate_point", row.number, NAME, facts)
