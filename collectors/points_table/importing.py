"""Bring the points of a table into a collector file, all of them or none."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collectors.contract.addresses_mc import MC_PROFILES
from collectors.contract.config import parse_collector
from collectors.contract.config_problems import ConfigError, ConfigProblem
from collectors.points_table.changes import Change
from collectors.points_table.columns import columns_of
from collectors.points_table.nearest import nearest, nearest_address
from collectors.points_table.problems import TableError, TableProblem
from collectors.points_table.rows import Row, rows_of_sheet
from collectors.points_table.sheet import Sheet

_POINT_KEY = re.compile(r"devices\[(\d+)\]\.points\[(\d+)\](?:\.(\w+))?.*")
_COLUMNS = {
    "type_mismatch": "type",
    "double_word": "type",
    "read_only_table": "writable",
    "bit_not_writable": "writable",
    "past_end": "address",
    "point_too_long": "length",
    "bad_clamp": "clamp_low",
}
"""Where to look if a rule is about several keys of a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointEdit:
    """One point as it is to be.

    Attributes:
        old_index: Its place in the file, ``None`` for a new one.
        settings: All of its keys that the file is to have.
        row: Of the table; ``None`` for a point that the table does not name.
    """

    old_index: int | None
    settings: dict[str, Any]
    row: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What an import comes to, by device in the order of the file."""

    edits: tuple[tuple[PointEdit, ...], ...]
    changes: tuple[Change, ...]


def plan_import(
    table: str, sheet: Sheet, document: Mapping[str, Any], file: str, *, keep: bool = False
) -> Import:
    """Return how the points of ``document`` become those of ``sheet``.

    A column that the table does not have leaves its key as it is; an empty cell means the default.

    Args:
        table, file: Names of the table and of the collector file, for problems.
        keep: Points that the table does not name stay; otherwise they are removed.

    Raises:
        TableError: rows that cannot be used, every one of them.
        ConfigError: the collector file itself is broken.
    """
    devices = _devices(document, file)
    ids = [str(device["id"]) for device in devices]
    rows = rows_of_sheet(table, sheet, str(document["protocol"]), ids)
    edits = tuple(
        _edits(device, [row for row in rows if row.device == device["id"]], document, keep=keep)
        for device in devices
    )
    _validate(table, document, file, edits)
    changes = [
        change
        for device, wanted in zip(devices, edits, strict=True)
        for change in _changes(device, wanted)
    ]
    return Import(edits=edits, changes=tuple(changes))


def _devices(document: Mapping[str, Any], file: str) -> list[dict[str, Any]]:
    """Return the devices of a file that is sound but for its points, or that has none yet."""
    devices: Any = document.get("devices")
    try:
        parse_collector(dict(document), file=file)
    except ConfigError as exc:
        others = [p for p in exc.problems if ".points" not in p.key]
        if others or not _have_points(devices):
            raise ConfigError(others or exc.problems) from None
    return [{"points": [], **device} for device in devices]


def _have_points(devices: Any) -> bool:
    """Tell whether each device has a list of tables, whatever is in them."""
    return isinstance(devices, list) and all(
        isinstance(device.get("points", []), list)
        and all(isinstance(point, dict) for point in device.get("points", []))
        for device in devices
    )


def _edits(
    device: Mapping[str, Any], rows: Sequence[Row], document: Mapping[str, Any], *, keep: bool
) -> tuple[PointEdit, ...]:
    by_name = {row.name: row for row in rows}
    edits: list[PointEdit] = []
    known: set[str] = set()
    for index, old in enumerate(device["points"]):
        row = by_name.get(str(old.get("name")))
        if row is not None and row.name not in known:
            known.add(row.name)
            settings = _merged(old, row, str(document["protocol"]))
            edits.append(PointEdit(old_index=index, settings=settings, row=row.number))
        elif keep:
            edits.append(PointEdit(old_index=index, settings=dict(old), row=None))
    edits += [
        PointEdit(
            old_index=None,
            settings=_merged({}, row, str(document["protocol"])),
            row=row.number,
        )
        for row in rows
        if row.name not in known
    ]
    return tuple(edits)


def _merged(old: Mapping[str, Any], row: Row, protocol: str) -> dict[str, Any]:
    """Return the old keys with those of the row; what is the default anyway is not written."""
    defaults = {column.key: column.default for column in columns_of(protocol)}
    merged = dict(old)
    for key, value in row.settings.items():
        if value == merged.get(key, defaults[key]) and _same_kind(value, merged.get(key)):
            continue
        if value is None or value == defaults[key]:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _same_kind(value: Any, old: Any) -> bool:
    return old is None or isinstance(value, bool) is isinstance(old, bool)


def _validate(
    table: str,
    document: Mapping[str, Any],
    file: str,
    edits: Sequence[Sequence[PointEdit]],
) -> None:
    wanted = with_points(document, edits)
    problems = _group_problems(table, wanted, edits)
    try:
        parse_collector(wanted, file=file)
    except ConfigError as exc:
        found = [_problem(table, wanted, problem, edits) for problem in exc.problems]
        problems += [
            problem
            for problem in found
            if isinstance(problem, TableProblem)
            and not (problem.rule and problem.rule.code == "unknown_group")
        ]
        if not problems:
            raise
    if problems:
        raise TableError(sorted(problems, key=lambda problem: problem.row or 0))


def _group_problems(
    table: str, wanted: Mapping[str, Any], edits: Sequence[Sequence[PointEdit]]
) -> list[TableProblem]:
    """Return every unknown poll group; the rules of collector files stop at the first."""
    problems: list[TableProblem] = []
    for device, points in zip(wanted["devices"], edits, strict=True):
        known = [str(group.get("id", "default")) for group in device.get("groups") or [{}]]
        for edit in points:
            group = edit.settings.get("group", "default")
            if edit.row is not None and group not in known:
                facts = {"value": group, "expected": ", ".join(known)}
                problem = TableProblem(
                    file=table,
                    row=edit.row,
                    column="group",
                    code="not_one_of",
                    params=facts,
                    nearest=nearest(str(group), known),
                )
                problems.append(problem)
    return problems


def with_points(
    document: Mapping[str, Any], edits: Sequence[Sequence[PointEdit]]
) -> dict[str, Any]:
    """Return the document with other points."""
    devices = [
        {**device, "points": [edit.settings for edit in wanted]}
        for device, wanted in zip(document["devices"], edits, strict=True)
    ]
    return {**document, "devices": devices}


def _problem(
    table: str,
    wanted: Mapping[str, Any],
    problem: ConfigProblem,
    edits: Sequence[Sequence[PointEdit]],
) -> TableProblem | ConfigProblem:
    """Return the problem with its row and column, or as it is if no row is to blame."""
    match = _POINT_KEY.fullmatch(problem.key)
    if match is None:
        return problem
    device = int(match[1])
    edit = edits[device][int(match[2])]
    if edit.row is None:
        return problem
    column = {"clamp": "clamp_low"}.get(match[3], match[3]) or _COLUMNS.get(problem.code, "")
    near = ""
    if problem.code == "bad_address":
        near = _nearest_address(wanted, device, edit.settings.get(column))
    return TableProblem(file=table, row=edit.row, column=column, nearest=near, rule=problem)


def _nearest_address(wanted: Mapping[str, Any], device: int, address: Any) -> str:
    series = wanted["devices"][device].get("series", "Q")
    known = series if series in MC_PROFILES else None
    return nearest_address(str(address), str(wanted["protocol"]), known)


def _changes(device: Mapping[str, Any], edits: Sequence[PointEdit]) -> list[Change]:
    olds = device["points"]
    kept = {edit.old_index for edit in edits}
    changes = [
        Change(kind="removed", point=f"{device['id']}/{old.get('name')}", old={}, new={})
        for index, old in enumerate(olds)
        if index not in kept
    ]
    for edit in edits:
        old = {} if edit.old_index is None else olds[edit.old_index]
        keys = [k for k in {**old, **edit.settings} if old.get(k) != edit.settings.get(k)]
        if keys:
            changes.append(
                Change(
                    kind="added" if edit.old_index is None else "changed",
                    point=f"{device['id']}/{edit.settings.get('name')}",
                    old={key: old[key] for key in keys if key in old},
                    new={key: edit.settings[key] for key in keys if key in edit.settings},
                )
            )
    return changes
