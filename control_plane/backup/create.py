"""Makes a backup while everything runs; nobody waits for it."""

import contextlib
import json
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.backup.archive import STATE, ArchiveWriter, Progress
from control_plane.backup.home import history_files, settings_files
from control_plane.backup.lines import to_line
from control_plane.clock import Clock
from control_plane.settings import Settings
from control_plane.storage.database import StateDatabase
from control_plane.storage.rows import Snapshot, snapshot
from control_plane.version import VERSION

_CHUNK_BYTES = 1 << 20
_ROW_BYTES = 150
"""About what a row takes; for the progress bar only."""
_LINES_A_CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that is not in the backup because it cannot be read."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What a backup holds; ``size_bytes`` is that of the archive."""

    file: str
    created_at: str
    size_bytes: int
    rows: int
    files: int
    history_files: int
    skipped: tuple[Skipped, ...]


def back_up(
    settings: Settings,
    database: StateDatabase,
    clock: Clock,
    file: Path,
    *,
    with_history: bool,
    progress: Progress,
) -> BackupReport:
    """Write state database, settings and, if asked for, history to one archive.

    An archive of this name is replaced when the new one is complete.

    Raises:
        BackupFailed, StorageError: the archive of before is still there.
    """
    created_at = clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")
    files = settings_files(settings.home)
    days = history_files(settings.history_dir) if with_history else []
    with ArchiveWriter(file) as archive:
        work = _Work(archive=archive, report=progress, total=sum(map(_size, [*files, *days])))
        with snapshot(database) as state:
            work.total += sum(state.count(name) * _ROW_BYTES for name in state.tables())
            for name in state.tables():
                work.add_table(state, name)
        for path in files:
            work.add_file(path.relative_to(settings.home).as_posix(), path)
        for path in days:
            work.add_database(f"history/{path.name}", path)
        archive.finish(
            daqplane=VERSION,
            created_at=created_at,
            schema=database.schema(),
            with_history=with_history,
        )
    return BackupReport(
        file=str(file),
        created_at=created_at,
        size_bytes=file.stat().st_size,
        rows=work.rows,
        files=len(files),
        history_files=len(days) - len(work.skipped),
        skipped=tuple(work.skipped),
    )


@dataclass(slots=True, kw_only=True)
class _Work:
    archive: ArchiveWriter
    report: Progress
    total: int = 0
    done: int = 0
    rows: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def add_table(self, state: Snapshot, name: str) -> None:
        self.archive.add(f"{STATE}{name}.jsonl", self._lines(state, name))

    def add_file(self, name: str, path: Path) -> None:
        try:
            content, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
        except FileNotFoundError:
            return  # It was taken away since it was listed.
        self.archive.add(name, [content], mode)
        self._step(len(content))

    def add_database(self, name: str, path: Path) -> None:
        """Add a SQLite file as it is at one moment; who writes it goes on."""
        with tempfile.NamedTemporaryFile(dir=self.archive.directory) as copy:
            try:
                with (
                    contextlib.closing(_read_only(path)) as source,
                    contextlib.closing(sqlite3.connect(copy.name)) as target,
                ):
                    source.backup(target)
            except sqlite3.Error as exc:
                self.skipped.append(Skipped(name=name, reason=str(exc)))
                return
            with Path(copy.name).open("rb") as whole:
                self.archive.add(name, self._counted(lambda: whole.read(_CHUNK_BYTES)), 0o640)

    def _lines(self, state: Snapshot, name: str) -> Iterator[bytes]:
        lines = [json.dumps(state.columns(name))]
        for row in state.rows(name):
            lines.append(to_line(row))
            self.rows += 1
            if len(lines) >= _LINES_A_CHUNK:
                yield "\n".join([*lines, ""]).encode()
                self._step(len(lines) * _ROW_BYTES)
                lines = []
        yield "\n".join([*lines, ""]).encode()
        self._step(len(lines) * _ROW_BYTES)

    def _counted(self, read: Callable[[], bytes]) -> Iterator[bytes]:
        while chunk := read():
            yield chunk
            self._step(len(chunk))

    def _step(self, size_bytes: int) -> None:
        self.done += size_bytes
        self.report(min(self.done, self.total), self.total)


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=5)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
