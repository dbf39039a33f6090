"""Texts of collector files: whether one can be used, how two differ, a form back into its text."""

import hashlib
import math
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import tomlkit

from collectors.contract.config import AnyCollector, load_collector
from collectors.contract.config_problems import ConfigError, ConfigProblem

_LINE: Final = re.compile(r"at line (\d+)")
_MOST_KEYS: Final = 200
"""Of one table; no file has a tenth of them, and tomlkit takes minutes for a hundred thousand."""
_DEEPEST: Final = 50
"""Tables and lists inside each other; no file has ten."""
_NAMES: Final = ("id", "name")
"""Keys by which an entry of a list is the same one in both texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedText:
    """What a text comes to.

    Attributes:
        document: As written; ``None`` if it is no TOML.
        config: ``None`` if it cannot be used; then ``problems`` says why.
    """

    name: str
    text: str
    revision: str
    document: Mapping[str, Any] | None
    config: AnyCollector | None
    problems: tuple[ConfigProblem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key that is new, gone or other.

    Attributes:
        key: With names instead of numbers: ``devices[press1].points[speed].address``.
        old, new: ``None`` where the key is not there.
    """

    key: str
    kind: Literal["added", "removed", "changed"]
    old: Any
    new: Any


def revision_of_text(text: str) -> str:
    """Return the name of a text, the same as that of a file that holds it."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_text(name: str, text: str) -> CheckedText:
    """Judge a text as the file of the collector ``name``, just as the collector itself would.

    Raises:
        OSError: no room for a temporary file.
    """
    config: AnyCollector | None = None
    problems: tuple[ConfigProblem, ...] = ()
    with tempfile.TemporaryDirectory(prefix="daq-text-") as directory:
        path = Path(directory) / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        try:
            config = load_collector(path)
        except ConfigError as exc:
            problems = tuple(_as_of(f"{name}.toml", each) for each in exc.problems)
    return CheckedText(
        name=name,
        text=text,
        revision=revision_of_text(text),
        document=document_of(text),
        config=config,
        problems=problems,
    )


def document_of(text: str) -> dict[str, Any] | None:
    """Return what a text says, ``None`` if it is no TOML, or so deep that no JSON can hold it."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if _is_deeper(document, _DEEPEST) else document


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _as_of(file: str, problem: ConfigProblem) -> ConfigProblem:
    """Name the file as people know it, and the line where only the parser's words have it."""
    found = _LINE.search(str(problem.params.get("reason", "")))
    line = int(found[1]) if found and problem.line is None else problem.line
    return replace(problem, file=file, line=line)


def differences(old: Any, new: Any) -> list[Difference]:
    """Return what is other in ``new``, in the order of the texts."""
    return list(_differences("", old, new))


def _differences(key: str, old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        before, after = old, new
    elif (named := _by_name(old)) is not None and (other := _by_name(new)) is not None:
        before, after = named, other
    else:
        if not _same(old, new):
            yield Difference(key=key, kind="changed", old=old, new=new)
        return
    for name in [*before, *(name for name in after if name not in before)]:
        inner = f"{key}{name}" if name.startswith("[") else f"{key}.{name}".lstrip(".")
        if name not in after:
            yield Difference(key=inner, kind="removed", old=before[name], new=None)
        elif name not in before:
            yield Difference(key=inner, kind="added", old=None, new=after[name])
        else:
            yield from _differences(inner, before[name], after[name])


def _same(old: Any, new: Any) -> bool:
    both_nan = isinstance(old, float) and isinstance(new, float) and math.isnan(old + new)
    return both_nan or (old == new and isinstance(old, bool) == isinstance(new, bool))


def _by_name(value: Any) -> dict[str, Any] | None:
    """Return the entries of a list by name, ``None`` if they have no names of their own."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return None
    for key in _NAMES:
        names = [f"[{entry[key]}]" for entry in value if isinstance(entry.get(key), str)]
        if len(set(names)) == len(value):
            return dict(zip(names, value, strict=True))
    return None


def with_document(text: str, document: Mapping[str, Any]) -> str:
    """Return ``text`` so that it says ``document``; comments and order stay where they can.

    Raises:
        ValueError, TypeError: ``document`` holds what TOML cannot say.
    """
    wanted = _without_nulls(document)
    try:
        parsed: Any = tomlkit.parse(text)
        _merge(parsed, wanted)
        merged = str(tomlkit.dumps(parsed))
        if document_of(merged) == wanted:
            return merged
    except (tomlkit.exceptions.TOMLKitError, KeyError, IndexError):
        pass  # The form comes first: what was there before cannot be built upon.
    return str(tomlkit.dumps(wanted))


def _without_nulls(value: Any) -> Any:
    """TOML has no null; a form says so of a key that is not given."""
    if isinstance(value, Mapping):
        if len(value) > _MOST_KEYS:
            raise ValueError(f"a table has more than {_MOST_KEYS} keys")
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_nulls(each) for each in value]
    return value


def _merge(table: Any, wanted: Mapping[str, Any]) -> None:
    for key in [key for key in table if key not in wanted]:
        del table[key]
    for key, value in wanted.items():
        if key not in table:
            table[key] = value
        elif isinstance(table[key], dict) and isinstance(value, dict):
            _merge(table[key], value)
        elif not _merge_entries(table[key], value) and not _same(table[key], value):
            table[key] = value


def _merge_entries(tables: Any, wanted: Any) -> bool:
    return _is_tables(tables) and _is_tables(wanted) and _merge_tables(tables, wanted)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(e, dict) for e in value)


def _merge_tables(tables: Any, wanted: list[dict[str, Any]]) -> bool:
    """Edit entry by entry, if they have names and the ones that stay keep their order."""
    before, after = _by_name(list(tables)), _by_name(wanted)
    if before is None or after is None:
        return False
    stay = [name for name in before if name in after]
    if stay != list(after)[: len(stay)]:
        return False
    for index in reversed(range(len(before))):
        if list(before)[index] not in after:
            del tables[index]
    for index, name in enumerate(stay):
        _merge(tables[index], after[name])
    for name in list(after)[len(stay) :]:
        tables.append(tomlkit.item(after[name]))
    return True
