"""Which columns the table of a protocol's points has: one for each key of a point."""

import dataclasses
import enum
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from collectors.contract.config_types import PROTOCOLS

DEVICE = "device"
NAME = "name"
_LEADING = (NAME, "address", "node_id", "type", "order", "length", "group", "unit")
_TRAILING = ("description",)


class Kind(enum.Enum):
    TEXT = enum.auto()
    INTEGER = enum.auto()
    NUMBER = enum.auto()
    FLAG = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        heading: As in the first row.
        key: Of the point; the one of a pair of numbers has two columns, told apart by ``part``.
        default: What an empty cell means; ``None`` leaves the key out.
        choices: The only texts that are allowed; empty if others are.
    """

    heading: str
    key: str
    kind: Kind
    part: int | None = None
    is_required: bool = False
    default: object = None
    choices: tuple[str, ...] = ()


@cache
def columns_of(protocol: str) -> tuple[Column, ...]:
    """Return the columns in the order in which they are exported."""
    kind = PROTOCOLS[protocol].point
    fields = {field.name: field for field in dataclasses.fields(kind)}
    annotations = get_type_hints(kind)
    middle = [key for key in fields if key not in (*_LEADING, *_TRAILING)]
    order = [key for key in (*_LEADING, *middle, *_TRAILING) if key in fields]
    columns = [Column(heading=DEVICE, key=DEVICE, kind=Kind.TEXT, is_required=True)]
    for key in order:
        field = fields[key]
        is_required = field.default is dataclasses.MISSING
        default = None if is_required else field.default
        columns += _columns(key, annotations[key], is_required=is_required, default=default)
    return tuple(columns)


def _columns(key: str, annotation: Any, *, is_required: bool, default: object) -> list[Column]:
    bare = _bare(annotation)
    if get_origin(bare) is tuple:
        return [
            Column(heading=f"{key}_{end}", key=key, kind=Kind.NUMBER, part=part)
            for part, end in enumerate(("low", "high"))
        ]
    choices = get_args(bare) if get_origin(bare) is Literal else ()
    kinds = {bool: Kind.FLAG, int: Kind.INTEGER, float: Kind.NUMBER}
    return [
        Column(
            heading=key,
            key=key,
            kind=kinds.get(bare, Kind.TEXT),
            is_required=is_required,
            default=default,
            choices=tuple(str(choice) for choice in choices),
        )
    ]


def _bare(annotation: Any) -> Any:
    """Return the type without ``None``."""
    if get_origin(annotation) in (None, tuple, Literal):
        return annotation
    inner = [part for part in get_args(annotation) if part is not NoneType]
    return _bare(inner[0])
