"""What a type says about its keys: form, limits, default, meaning."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

Schema = Mapping[str, Any]

_FORMS: Final[Mapping[str, str]] = {
    r"^[a-z][a-z0-9_-]{0,47}$": "name: a–z, 0–9, `-`, `_`, a letter first, at most 48",
    r"^[a-z][a-z0-9_-]{0,14}$": "name: a–z, 0–9, `-`, `_`, a letter first, at most 15",
    r"^[a-z][a-z0-9_-]{0,39}$": "name: a–z, 0–9, `-`, `_`, a letter first, at most 40",
    r"^[^\x00-\x1f\x7f/]{1,64}$": "text of 1 to 64 characters without `/`",
    r"^[^\x00-\x1f\x7f]*$": "text",
    r"^[^\x00-\x1f\x7f]+$": "text",
    r"^[^\x00-\x1f\x7f:]{1,64}$": "text of 1 to 64 characters without `:`",
    r"^[A-Za-z0-9._:\[\]-]{1,253}$": "address or name of a host",
    r"^https?://[A-Za-z0-9._\[\]:-]+/?$": "`http://HOST:PORT`",
    r"^https?://[^\s@]+$": "URL without a password",
    r"^opc\.tcp://[^\s/@]+(/\S*)?$": "`opc.tcp://HOST:PORT/PATH`",
    r"^[0-9A-Fa-f:]+$": "64 hexadecimal digits, with colons or without",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "name of a variable",
    r"^[^\s@<>,;]+@[^\s@<>,;]+$": "mail address",
}
"""Patterns in words."""
_OTHERS: Final = {"boolean": "`true` `false`", "object": "table"}
_UNITS: Final = {"_s": "s", "_ms": "ms", "_bytes": "bytes"}
_ATTRIBUTE: Final = re.compile(r"^ {4,8}(\w+(?:, \w+)*): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of a table.

    Attributes:
        form: Type and limits in words.
        default: As it would be written; empty if the key must be there.
        meaning: One line, empty where the type says nothing.
        owner: The class that says so first.
    """

    name: str
    form: str
    default: str
    meaning: str
    owner: type


def keys_of(kind: type) -> list[Key]:
    """Return the keys of a dataclass or model in the order in which they are declared."""
    schema = TypeAdapter(kind).json_schema()
    definitions = schema.get("$defs", {})
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    needed = set(schema.get("required", ()))
    said = meanings_of(kind)
    return [
        Key(
            name=name,
            form=form_of(name, each, definitions),
            default="" if name in needed else _default_of(each),
            meaning=said.get(name, ("", kind))[0],
            owner=said.get(name, ("", kind))[1],
        )
        for name, each in schema["properties"].items()
    ]


def meanings_of(kind: type) -> dict[str, tuple[str, type]]:
    """Return what docstrings say about each attribute, and the class that says it."""
    found: dict[str, tuple[str, type]] = {}
    for each in reversed(kind.__mro__):
        if each not in (object, BaseModel) and "__annotations__" in vars(each):
            for name, text in _own_meanings(each):
                found[name] = _one_line(text), each
    return found


def _own_meanings(kind: type) -> Iterator[tuple[str, str]]:
    yield from _attributes_section(kind)
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):
        return  # A type that is made while the program runs has no text.
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield statement.target.id, text.value


def _attributes_section(kind: type) -> Iterator[tuple[str, str]]:
    text = inspect.cleandoc(kind.__doc__ or "")
    _, found, section = text.partition("Attributes:\n")
    names: list[str] = []
    words: list[str] = []
    for line in [*section.splitlines(), "    end: "] if found else []:
        if begins := _ATTRIBUTE.match(line):
            yield from ((name, " ".join(words)) for name in names)
            names, words = begins[1].split(", "), [line[begins.end() :]]
        else:
            words.append(line.strip())


def _one_line(text: str) -> str:
    text = " ".join(text.split()).replace("``", "`").replace("|", r"\|")
    return re.sub(r":(?:class|func|attr):`~?\.?([^`]+)`", r"`\1`", text)


def form_of(name: str, schema: Schema, definitions: Schema) -> str:
    """Return type, limits and unit of a value in words."""
    if "$ref" in schema:
        return form_of(name, definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if choices := [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]:
        return " or ".join(dict.fromkeys(form_of(name, each, definitions) for each in choices))
    if words := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " ".join(f"`{each}`" for each in words)
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return _number(name, schema)
    return _array(schema) if kind == "array" else _OTHERS.get(kind or "") or _text(schema)


def _number(name: str, schema: Schema) -> str:
    word = "number" if schema["type"] == "number" else "whole number"
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    low, above, high = (schema.get(each) for each in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        limits = f"{_figure(low)} to {_figure(high)}"
    elif high is not None:
        limits = f"above {_figure(above or 0)} up to {_figure(high)}"
    else:
        limits = "" if low is None else f"from {_figure(low)} on"
    return " ".join(part for part in (word, limits, unit) if part)


def _figure(number: float) -> str:
    return f"{int(number):,}" if number == int(number) else f"{number}"


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])} numbers"
    items = schema.get("items", {})
    if "$ref" in items:
        most = schema.get("maxItems")
        return "tables" if most is None else f"{schema.get('minItems', 0)} to {most} tables"
    return f"list of {schema.get('minItems', 0)} to {schema.get('maxItems')}: {_text(items)}"


def _text(schema: Schema) -> str:
    pattern = schema.get("pattern")
    word = "text" if pattern is None else _FORMS.get(pattern, f"text like `{pattern}`")
    most = schema.get("maxLength")
    return word if most is None or word != "text" else f"{word} of at most {most} characters"


def _default_of(schema: Schema) -> str:
    value = schema.get("default")
    match value:
        case None:
            return "none"
        case bool():
            return "`true`" if value else "`false`"
        case "":
            return "empty"
        case str():
            return f'`"{value}"`'
        case int() | float():
            return f"`{value:g}`" if abs(value) < 10**6 else f"`{value:_}`"
        case _:
            return "see there"
