"""Write changed points into a TOML file and leave the rest of it as it is."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import AoT, Array, Table

from collectors.points_table.importing import PointEdit


class NotRewritten(Exception):
    """The text with the changes would not mean what it should; it was not used."""


def rewritten(text: str, wanted: Mapping[str, Any], edits: Sequence[Sequence[PointEdit]]) -> str:
    """Return ``text`` with the points of ``edits``, by device.

    Args:
        wanted: What the result has to mean.

    Raises:
        NotRewritten: it would mean something else.
    """
    document: Any = tomlkit.parse(text)
    devices = document["devices"]
    for index, device_edits in enumerate(edits):
        device = devices[index]
        if device.get("points"):
            _edit(device["points"], device_edits)
        else:
            _begin(device, device_edits)
    result = tomlkit.dumps(document).rstrip("\n") + "\n"
    if tomllib.loads(result) != tomllib.loads(tomlkit.dumps(wanted)):
        raise NotRewritten
    return result


def _begin(device: Any, edits: Sequence[PointEdit]) -> None:
    """Give a device its first points."""
    device.pop("points", None)
    if not _ends_blank(device):
        device.add(tomlkit.nl())
    # tomlkit parts the tables of a list that it has not read itself.
    points = tomlkit.aot()
    for edit in edits:
        points.append(_table(edit.settings))
    points[-1].add(tomlkit.nl())
    device.append("points", points)


def _edit(points: Any, edits: Sequence[PointEdit]) -> None:
    count = len(points)
    grows = any(edit.old_index is None for edit in edits)
    if grows and count and isinstance(points, AoT) and not _ends_blank(points[-1]):
        points[-1].add(tomlkit.nl())
    for edit in edits:
        if edit.old_index is None:
            _append(points, edit.settings)
        else:
            _update(points[edit.old_index], edit.settings)
    kept = {edit.old_index for edit in edits}
    for index in reversed(range(count)):
        if index not in kept:
            del points[index]


def _ends_blank(table: Any) -> bool:
    return str(table.as_string()).endswith("\n\n")


def _update(point: Any, settings: Mapping[str, Any]) -> None:
    for key in [key for key in point if key not in settings]:
        del point[key]
    for key, value in settings.items():
        if key not in point or point[key] != value:
            point[key] = value


def _append(points: Any, settings: Mapping[str, Any]) -> None:
    if isinstance(points, AoT):
        points.append(_table(settings))
        points[-1].add(tomlkit.nl())
        return
    inline = tomlkit.inline_table()
    inline.update(settings)
    if isinstance(points, Array) and "\n" in points.as_string():
        indent = re.search(r"\n([ \t]*)\{", points.as_string())
        points.add_line(inline, indent=indent[1] if indent else "  ")
    else:
        points.append(inline)


def _table(settings: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for key, value in settings.items():
        table.add(key, value)
    return table
