"""The secrets that this installation itself uses, so that no log can show one."""

import re
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from control_plane.logs.redaction import Redactor
from control_plane.settings import environment

_LOOK_EVERY_S: Final = 2.0
_MOST_BYTES: Final = 64 * 1024
_SHORTEST_URL_PART: Final = 6
"""Shorter parts of an address are words of everyday."""
_SECRET_KEY = re.compile(
    r"(?i)passw|passphrase|pwd|secret|token|hmac|api_?key|access_?key|credential|url_file|community"
)
_SECRET_VARIABLE = re.compile(r"(?i)passw|pwd|secret|token|api_?key|access_?key|credential|_auth$")
_POINTER = re.compile(r"(?i)_(?:file|path|dir|type|name|ttl)s?$")
_STORE_TOKEN = re.compile(r"token_(file|env)=([^\s&,;]+)")


class KnownSecrets:
    """Keeps the redactor up to date with files that people edit while we run.

    The files are the TOML files of DAQ_HOME and ``collectors.d`` and those that they name; usable
    from any thread.
    """

    def __init__(
        self,
        home: Path,
        environ: Mapping[str, str] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._environ = environment() if environ is None else environ
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._read: frozenset[Path] = frozenset()
        self._signature: tuple[object, ...] | None = None
        self._looked_mono = 0.0
        self._redactor = Redactor()

    def redactor(self) -> Redactor:
        """Return a redactor that knows the secrets of at most two seconds ago."""
        with self._lock:
            mono = self._monotonic()
            if self._signature is None or mono - self._looked_mono >= _LOOK_EVERY_S:
                self._looked_mono = mono
                if self._signature_now() != self._signature:
                    self._learn()
            return self._redactor

    def _learn(self) -> None:
        read: set[Path] = set()
        values = set(self._of_environment(read))
        for file in self._files():
            values.update(self._of_file(file, read))
        self._read = frozenset(read)
        self._signature = self._signature_now()
        self._redactor = Redactor(values)

    def _files(self) -> list[Path]:
        return sorted([*self._home.glob("*.toml"), *self._home.glob("collectors.d/*.toml")])

    def _signature_now(self) -> tuple[object, ...]:
        return tuple((path, _changed(path)) for path in [*self._files(), *sorted(self._read)])

    def _of_environment(self, read: set[Path]) -> Iterator[str]:
        for name, value in self._environ.items():
            if _SECRET_VARIABLE.search(name) and not _POINTER.search(name):
                yield from _parts(value)
            elif "://" in value:
                yield from _password(value)
        for kind, named in _STORE_TOKEN.findall(self._environ.get("DAQ_STORES", "")):
            if kind == "env":
                yield self._environ.get(named, "")
            else:
                yield from self._content(Path(unquote(named)), read)

    def _of_file(self, file: Path, read: set[Path]) -> Iterator[str]:
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return  # Told where the file is used.
        for key, value in _pairs(document):
            if "://" in value:
                yield from _password(value)
            if _SECRET_KEY.search(key):
                yield from self._named(key, value, file.parent, read)

    def _named(self, key: str, value: str, beside: Path, read: set[Path]) -> Iterator[str]:
        if key.endswith("_file"):
            for base in {beside, self._home}:
                yield from self._content(base / value, read)
        elif key.endswith("_env"):
            yield from _parts(self._environ.get(value, ""))
        elif not _POINTER.search(key):
            yield from _parts(value)

    def _content(self, path: Path, read: set[Path]) -> Iterator[str]:
        read.add(path)
        try:
            if not path.is_file():  # A named pipe would hold us up.
                return
            with path.open("rb") as file:
                text = file.read(_MOST_BYTES).decode("utf-8", errors="surrogateescape")
        except OSError:
            return
        for line in text.splitlines():
            yield from _parts(line.strip())


def _changed(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _pairs(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a document with the nearest key above it."""
    if isinstance(node, dict):
        for inner_key, inner in node.items():
            yield from _pairs(inner, inner_key)
    elif isinstance(node, list):
        for inner in node:
            yield from _pairs(inner, key)
    elif isinstance(node, str):
        yield key, node


def _parts(value: str) -> Iterator[str]:
    """Yield a secret, and of one that is an address also the parts that make it one."""
    yield value
    if "://" not in value:
        return
    yield from _password(value)
    try:
        address = urlsplit(value)
    except ValueError:
        return
    pieces = [*address.path.split("/"), *re.split(r"[&=]", address.query), address.netloc]
    yield from (piece for piece in pieces if len(piece) >= _SHORTEST_URL_PART)


def _password(value: str) -> Iterator[str]:
    for found in re.findall(r"://[^\s/:@]{0,200}:([^\s/]{1,300})@", value):
        yield found
        yield unquote(found)
