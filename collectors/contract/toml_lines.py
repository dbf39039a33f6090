"""Find the lines of keys in a TOML text, which the standard library's parser does not tell. Pure.

The text has been parsed before, so it is TOML 1.0; this only walks over it.
"""

import re
from collections.abc import Iterator
from typing import Final

Path = tuple[str | int, ...]

_TOKEN: Final = re.compile(
    r"""
    (?P<skip>[ \t\r]+|\#[^\n]*)
  | (?P<newline>\n)
  | (?P<text>\"\"\"(?:\\.|[^\\])*?\"{3,5}|'''.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
  | (?P<mark>[\[\]{},=.])
  | (?P<bare>[^\s\[\]{},=.\#"']+)
    """,
    re.VERBOSE | re.DOTALL,
)
_SIMPLE_ESCAPES: Final = re.compile(r"\\(.)")


class KeyLines:
    """Where each key of a text stands."""

    def __init__(self, text: str) -> None:
        self._lines = dict(_Walk(text).keys())

    def line_of(self, key: str) -> int | None:
        """Return the line, from 1 on, of ``devices[0].points[2].address`` or of what contains it.

        Returns:
            ``None`` if not even the first part of the key is there.
        """
        wanted = _path_of(key)
        for length in range(len(wanted), 0, -1):
            if wanted[:length] in self._lines:
                return self._lines[wanted[:length]]
        return None


def _path_of(key: str) -> Path:
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", key)
    return tuple(int(index) if index else name for index, name in parts)


class _Walk:
    """Goes over the tokens once and tells the path and line of every key and element."""

    def __init__(self, text: str) -> None:
        self._tokens = self._tokens_of(text)
        self._kind, self._word, self._line = "", "", 1
        self._taken = 0
        self._counts: dict[Path, int] = {}
        """How many tables each array of tables has."""
        self._found: list[tuple[Path, int]] = []
        self._next()

    def keys(self) -> Iterator[tuple[Path, int]]:
        table: Path = ()
        while self._kind:
            if self._kind == "newline":
                self._next()
            elif self._word == "[" and self._kind == "mark":
                table = self._header()
            else:
                self._pair(table)
            yield from self._found
            self._found.clear()

    @staticmethod
    def _tokens_of(text: str) -> Iterator[tuple[str, str, int]]:
        line = 1
        for match in _TOKEN.finditer(text):
            kind, word = str(match.lastgroup), match[0]
            if kind != "skip":
                yield kind, word, line
            line += word.count("\n")

    def _next(self) -> None:
        self._kind, self._word, self._line = next(self._tokens, ("", "", self._line))
        self._taken += 1

    def _is(self, mark: str) -> bool:
        return self._kind == "mark" and self._word == mark

    def _skip_newlines(self) -> None:
        while self._kind == "newline":
            self._next()

    def _header(self) -> Path:
        line = self._line
        self._next()
        is_array = self._is("[")
        if is_array:
            self._next()
        path = self._resolved(self._dotted(), is_array=is_array)
        while self._is("]"):
            self._next()
        if is_array and path[-1:] == (0,):
            self._found.append((path[:-1], line))
        self._found.append((path, line))
        return path

    def _resolved(self, names: Path, *, is_array: bool) -> Path:
        """Return the path with the index of the newest table of each array on the way."""
        path: Path = ()
        for position, name in enumerate(names):
            path = (*path, name)
            if is_array and position == len(names) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _dotted(self) -> Path:
        names: list[str | int] = []
        while self._kind in ("bare", "text") or self._is("."):
            if not self._is("."):
                names.append(_name_of(self._word) if self._kind == "text" else self._word)
            self._next()
        return tuple(names)

    def _pair(self, table: Path) -> None:
        line = self._line
        path = (*table, *self._dotted())
        self._found.append((path, line))
        if self._is("="):
            self._next()
            self._value(path)
        elif path == table:
            self._next()  # never the case in TOML, but this must not stand still

    def _value(self, path: Path) -> None:
        if self._is("["):
            self._next()
            self._elements(path)
        elif self._is("{"):
            self._next()
            while self._kind and not self._is("}"):
                self._pair(path) if not self._is(",") else self._next()
                self._skip_newlines()
            self._next()
        else:
            while self._kind in ("bare", "text") or self._is("."):
                self._next()

    def _elements(self, path: Path) -> None:
        index = 0
        self._skip_newlines()
        while self._kind and not self._is("]"):
            self._found.append(((*path, index), self._line))
            before = self._taken
            self._value((*path, index))
            if self._taken == before:
                self._next()  # never the case in TOML, but this must not stand still
            self._skip_newlines()
            if self._is(","):
                self._next()
                index += 1
                self._skip_newlines()
        self._next()


def _name_of(quoted: str) -> str:
    return _SIMPLE_ESCAPES.sub(r"\1", quoted[1:-1]) if quoted[0] == '"' else quoted[1:-1]
