"""A file of records, each with a code that depends on all before it and on a secret key.

``log.jsonl`` holds one JSON object a line; its ``mac`` is HMAC-SHA-256 (RFC 2104) over the code of
the line before and the line itself without its code. Whoever lacks ``log.key`` cannot change a
record, take one out or put one in without breaking the chain there. Records cut off at the end are
missed only by who kept a newer code: it is in the audit trail.
"""

import contextlib
import errno
import hmac
import json
import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from control_plane.domain.seals import NumberedSeal, Seal

_KEY_BYTES: Final = 32
_SEAL = TypeAdapter(Seal)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReading:
    """The records up to the first that is not as it was written.

    ``broken_at`` is the number of that one; ``newest`` the code of the last good record.
    """

    seals: tuple[NumberedSeal, ...]
    newest: str
    codes: tuple[str, ...] = ()
    broken_at: int | None = None
    has_key: bool = True


class SealChain:
    """The chain in a directory of its own; one process appends, any may read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "log.jsonl"
        self._key_file = directory / "log.key"
        self._lock = threading.Lock()

    def read(self) -> ChainReading:
        """Return what can be trusted.

        Raises:
            OSError: the chain is there and cannot be read.
        """
        lines = self._lines()
        try:
            key = self._kept_key()
        except (OSError, ValueError):
            return ChainReading(seals=(), newest="", has_key=not lines)
        found: list[NumberedSeal] = []
        codes: list[str] = []
        newest = ""
        for number, line in enumerate(lines, 1):
            seal = _checked(line, number, newest, key)
            if seal is None:
                return ChainReading(
                    seals=tuple(found), newest=newest, codes=tuple(codes), broken_at=number
                )
            newest = str(json.loads(line)["mac"])
            codes.append(newest)
            found.append(NumberedSeal(number, seal))
        return ChainReading(seals=tuple(found), newest=newest, codes=tuple(codes))

    def append(self, seals: Sequence[Seal]) -> list[NumberedSeal]:
        """Add records, see them on the disk, and return them with their numbers.

        Raises:
            OSError, ValueError: nothing was added, or the last line of it is incomplete.
        """
        with self._lock:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            key = self._key()
            self._drop_half_line()
            lines = self._lines()
            newest = _code_of(lines[-1]) if lines else ""
            text = b""
            numbered = [NumberedSeal(n, seal) for n, seal in enumerate(seals, len(lines) + 1)]
            for each in numbered:
                body = {"number": each.number, **_SEAL.dump_python(each.seal, mode="json")}
                newest = _code(key, newest, body)
                text += json.dumps(body | {"mac": newest}).encode() + b"\n"
            _write(self._file, text, os.O_APPEND)
            return numbered

    def _lines(self) -> list[bytes]:
        """Return whole lines; half a line at the end is what a crash leaves of a record."""
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return []
        return data.split(b"\n")[:-1]

    def _drop_half_line(self) -> None:
        with contextlib.suppress(FileNotFoundError), self._file.open("r+b") as file:
            data = file.read()
            if not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)

    def _key(self) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return self._kept_key()
        key = secrets.token_bytes(_KEY_BYTES)
        # Whole or not at all: half a key could be guessed.
        new = self._key_file.with_suffix(".new")
        _write(new, key.hex().encode() + b"\n", os.O_TRUNC)
        new.replace(self._key_file)
        return key

    def _kept_key(self) -> bytes:
        key = bytes.fromhex(self._key_file.read_text(encoding="ascii").strip())
        if len(key) != _KEY_BYTES:
            raise ValueError(f"{self._key_file}: no key of {_KEY_BYTES} bytes; put it back")
        return key


def _write(file: Path, text: bytes, flags: int) -> None:
    """See all of it on the disk. Raises OSError, also if a full disk takes only a part."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    try:
        if os.write(fd, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        os.fsync(fd)
    finally:
        os.close(fd)


def _code(key: bytes, before: str, body: dict[str, object]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, f"{before}\n{text}".encode(), "sha256").hex()


def _code_of(line: bytes) -> str:
    """Return the code that a line claims; of a broken one any text, which breaks the next too."""
    try:
        return str(json.loads(line)["mac"])
    except (ValueError, KeyError, TypeError):
        return ""


def _checked(line: bytes, number: int, before: str, key: bytes) -> Seal | None:
    try:
        body = json.loads(line)
        code = str(body.pop("mac"))
        if body["number"] != number or not hmac.compare_digest(_code(key, before, body), code):
            return None
        return _SEAL.validate_python(
            {name: value for name, value in body.items() if name != "number"}
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError):
        return None
