"""The points of a collector as rows of a table."""

from collections.abc import Iterator, Sequence
from typing import Any

from collectors.contract.config import AnyCollector, AnyPoint
from collectors.points_table.cells import Cell
from collectors.points_table.columns import DEVICE, Column, columns_of


def rows_of(config: AnyCollector) -> Iterator[Sequence[Cell]]:
    """Yield the headings, then one row for each point with all of its keys, in the file's order."""
    columns = columns_of(config.protocol)
    yield [column.heading for column in columns]
    for device in config.devices:
        points: Sequence[AnyPoint] = device.points
        for point in points:
            yield [_cell(device.id, point, column) for column in columns]


def _cell(device_id: str, point: AnyPoint, column: Column) -> Cell:
    if column.key == DEVICE:
        return device_id
    value: Any = getattr(point, column.key)
    if column.part is not None:
        value = None if value is None else value[column.part]
    cell: Cell = int(value) if isinstance(value, float) and value.is_integer() else value
    return cell
