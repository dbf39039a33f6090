"""Small records as JSON, to and from frozen dataclasses: commands, heartbeats, lock, ledger.

What is read may come from anybody, so every value is checked against its type.
"""

import json
import math
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from collectors.contract.limits import Limits

T = TypeVar("T")

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_WORDS |= {NoneType: "null", datetime: "a time with its zone"}


class WireError(ValueError):
    """Not the record that was expected; says what is wrong and where."""


def encode(record: object) -> bytes:
    """Return a dataclass as one line of JSON, without the end of the line."""
    # Lone surrogates, which a device's own words may hold, have no UTF-8.
    return _ENCODER.encode(record).encode(errors="replace")


def decode(kind: type[T], text: bytes | str) -> T:
    """Return the record in ``text``; keys that ``kind`` does not have are passed over.

    Raises:
        WireError: not JSON, a key is missing, or a value is not of its type or beyond its limits.
    """
    return build(kind, parse(text))


def parse(text: bytes | str) -> Any:
    """Return what a JSON text says.

    Raises:
        WireError: it is no JSON, nested too deeply, or has a number that JSON does not know.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise WireError(f"not JSON: {exc}") from None


def build(kind: type[T], document: object, *, forbid_unknown: bool = False) -> T:
    """Return the ``kind`` of record that a parsed document describes.

    Raises:
        WireError: see :func:`decode`; or an unknown key, where that is forbidden.
    """
    known: Any = kind
    if forbid_unknown and isinstance(document, dict):
        for key in document:
            if key not in _names(known):
                raise WireError(f"{key}: this key is not known")
    built: T = _read_record(kind, document, "")
    return built


def _read_record(kind: Any, value: object, key: str) -> Any:
    if not isinstance(value, dict):
        start = f"{key}: " if key else ""
        raise WireError(f"{start}an object with keys is needed, not {_shown(value)}")
    hints, values = _hints(kind), {}
    for field in fields(kind):
        inner = f"{key}.{field.name}" if key else field.name
        if field.name in value:
            values[field.name] = _read(hints[field.name], value[field.name], inner)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise WireError(f"{inner}: this key is missing")
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _read(kind: Any, value: object, key: str) -> Any:
    """Return ``value`` as what the annotation ``kind`` says."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        read = _read(arguments[0], value, key)
        if any(isinstance(mark, Limits) and not mark.admit(read) for mark in arguments[1:]):
            raise WireError(f"{key}: {_shown(value)} is not allowed")
        return read
    if origin in (UnionType, Union):
        return _read_one_of(arguments, value, key)
    if origin is Literal:
        return _read_choice(arguments, value, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise WireError(f"{key}: a list is needed, not {_shown(value)}")
        return tuple(_read(arguments[0], item, f"{key}[{i}]") for i, item in enumerate(value))
    return _read_plain(kind, value, key)


def _read_choice(choices: tuple[Any, ...], value: object, key: str) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return value
    raise WireError(f"{key}: {_shown(value)} is none of {list(choices)}")


def _read_one_of(kinds: tuple[Any, ...], value: object, key: str) -> Any:
    first: WireError | None = None
    for kind in kinds:
        try:
            return _read(kind, value, key)
        except WireError as exc:
            first = first or exc
    assert first is not None
    raise first


def _read_plain(kind: Any, value: object, key: str) -> Any:
    if kind is float and type(value) in (int, float):
        return _read_number(value, key)
    if kind is datetime and isinstance(value, str):
        return _read_time(value, key)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(_read_choice(tuple(each.value for each in kind), value, key))
    if is_dataclass(kind):
        return _read_record(kind, value, key)
    if type(value) is kind:
        return value
    raise WireError(f"{key}: {_WORDS[kind]} is needed, not {_shown(value)}")


def _read_number(value: Any, key: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise WireError(f"{key}: {_shown(value)} is too big")
    return number


def _read_time(text: str, key: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise WireError(f"{key}: {_WORDS[datetime]} is needed, not {_shown(text)}")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if is_dataclass(value):
        return {name: getattr(value, name) for name in _names(value.__class__)}
    raise TypeError(f"{type(value).__name__} has no JSON")


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_ENCODER = json.JSONEncoder(default=_plain, ensure_ascii=False, separators=(",", ":"))


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
