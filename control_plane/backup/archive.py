"""The file of a backup: a ZIP whose last member, the manifest, has length and hash of all others.

Members are named as the files below DAQ_HOME are; ``state/TABLE.jsonl`` holds the rows of one
table of the state database, the first line its columns.
"""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from control_plane.errors import ArchiveTooNew, BackupFailed, BadArchive

FORMAT = 1
MANIFEST = "manifest.json"
STATE = "state/"
_DIRECTORIES = ("state", "history", "pki")
"""Beside those that end in ``.d``; see :mod:`control_plane.backup.home`."""
_CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]
"""Called with what is done and what there is to do, both in bytes or nearly so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of the archive; ``mode`` are its permission bits."""

    name: str
    size_bytes: int
    sha256: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the archive says of itself.

    Attributes:
        format: Of the archive; a program refuses what is newer than its own.
        daqplane: Version of the program that wrote it.
        created_at: ISO 8601, UTC.
        schema: The migrations of the state database, in order.
        with_history: Whether the day files of the embedded store are in it.
    """

    format: int
    daqplane: str
    created_at: str
    schema: list[str]
    with_history: bool
    members: list[Member]


_MANIFEST = TypeAdapter(Manifest)


class ArchiveWriter:
    """Writes an archive that appears under its name when it is complete, readable by its owner
    alone.

    Raises:
        BackupFailed: the file cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._partial = file.with_name(f".{file.name}.{os.getpid()}.part")
        self._members: list[Member] = []

    def __enter__(self) -> Self:
        try:
            # A file left by a killed run with our process id is of no use to anybody.
            self._partial.unlink(missing_ok=True)
            number = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            raise BackupFailed(file=str(self._file), reason=exc.strerror) from exc
        self._stream = os.fdopen(number, "w+b")
        self._zip = zipfile.ZipFile(self._stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        return self

    @property
    def directory(self) -> Path:
        """Where the archive is written; there should be room for copies, too."""
        return self._partial.parent

    def add(self, name: str, chunks: Iterable[bytes], mode: int = 0o600) -> None:
        digest, size_bytes = hashlib.sha256(), 0
        with self._zip.open(name, "w", force_zip64=True) as target:
            for chunk in chunks:
                target.write(chunk)
                digest.update(chunk)
                size_bytes += len(chunk)
        self._members.append(
            Member(name=name, size_bytes=size_bytes, sha256=digest.hexdigest(), mode=mode)
        )

    def finish(self, **facts: Any) -> Manifest:
        """Write the manifest and put the archive under its name, safe from a power cut."""
        manifest = Manifest(format=FORMAT, members=self._members, **facts)
        self._zip.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
        self._zip.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._partial.replace(self._file)
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return manifest

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._zip.close()
        self._stream.close()
        self._partial.unlink(missing_ok=True)
        if isinstance(exc, OSError):
            raise BackupFailed(file=str(self._file), reason=exc.strerror or str(exc)) from exc


class Archive:
    """An archive that is read; close it by ``with``.

    Raises:
        BadArchive: it is no backup, or damaged.
        ArchiveTooNew: a newer program wrote it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._zip = zipfile.ZipFile(file)
        except (OSError, zipfile.BadZipFile) as exc:
            raise self.bad(str(exc)) from exc
        try:
            self.manifest = self._read_manifest()
        except BaseException:
            self._zip.close()
            raise
        self._read_bytes, self._total_bytes = 0, 0
        self._progress: Progress = lambda _done, _total: None

    def watch(self, progress: Progress, rounds: int) -> None:
        """Call ``progress`` from now on, while the whole is read for so many times."""
        size_bytes = sum(member.size_bytes for member in self.manifest.members)
        self._read_bytes, self._total_bytes = 0, rounds * size_bytes
        self._progress = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def verify(self) -> None:
        """Read everything once and compare it with the manifest."""
        for member in self.manifest.members:
            digest, size_bytes = hashlib.sha256(), 0
            for chunk in self.chunks(member.name):
                digest.update(chunk)
                size_bytes += len(chunk)
            if (size_bytes, digest.hexdigest()) != (member.size_bytes, member.sha256):
                raise self.bad(f"{member.name} is not what was written")

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member piece by piece."""
        try:
            with self._zip.open(name) as source:
                while chunk := source.read(_CHUNK_BYTES):
                    yield chunk
                    self._read_bytes += len(chunk)
                    self._progress(self._read_bytes, self._total_bytes)
        except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as exc:
            raise self.bad(f"{name}: {exc}") from exc

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a member."""
        rest = b""
        for chunk in self.chunks(name):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _read_manifest(self) -> Manifest:
        try:
            text = self._zip.read(MANIFEST)
            stated = json.loads(text).get("format")
        except (
            KeyError, ValueError, AttributeError, OSError, zipfile.BadZipFile, zlib.error
        ) as exc:  # fmt: skip
            raise self.bad("it has no readable manifest") from exc
        if isinstance(stated, int) and stated > FORMAT:
            raise ArchiveTooNew(file=str(self._file), format=stated, known=FORMAT)
        try:
            manifest = _MANIFEST.validate_json(text)
        except ValidationError as exc:
            raise self.bad("its manifest is not of this program") from exc
        listed = [member.name for member in manifest.members]
        if sorted([*listed, MANIFEST]) != sorted(self._zip.namelist()):
            raise self.bad("its manifest and its content differ")
        for name in listed:
            _check_name(name, self.bad)
        return manifest

    def bad(self, reason: str) -> BadArchive:
        """Return the error that says why this archive cannot be restored."""
        return BadArchive(file=str(self._file), reason=reason)


def _check_name(name: str, bad: Callable[[str], BadArchive]) -> None:
    """Refuse a name that would lead out of DAQ_HOME, or to what no backup holds."""
    top, *below = PurePosixPath(name).parts or ("",)
    known = top.endswith(".d") or top in _DIRECTORIES if below else top.endswith(".toml")
    if not known or ".." in below or "\\" in name:
        raise bad(f"{name!r} is no name of a member")
