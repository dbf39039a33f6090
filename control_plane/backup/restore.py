"""Puts a backup in place of a stopped installation, all or nothing; keeps what was there."""

import contextlib
import fcntl
import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Role
from control_plane.backup.archive import STATE, Archive, Manifest, Progress
from control_plane.backup.home import settings_directories
from control_plane.backup.lines import from_line
from control_plane.clock import Clock
from control_plane.errors import NewerSchema, RestoreFailed, RestoreInterrupted, StillRunning
from control_plane.settings import Settings
from control_plane.storage.audit import AuditTrail
from control_plane.storage.audit_seal import AuditSeal
from control_plane.storage.database import StateDatabase
from control_plane.storage.rows import insert, known_schema, make_schema, replacing

RESTORING = ".restoring"
"""Exists below DAQ_HOME as long as a restore is under way, and after one that was killed."""
_SQLITE_PARTS = ("", "-wal", "-shm")
_PROBE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What was restored; ``kept`` is where that lies which was there before."""

    created_at: str
    daqplane: str
    rows: int
    files: int
    history_files: int
    kept: str


def check(file: Path, progress: Progress) -> Manifest:
    """Read a backup from end to end and return what it says of itself.

    Raises:
        BadArchive, ArchiveTooNew, NewerSchema.
    """
    with Archive(file) as archive:
        _check_schema(archive)
        archive.watch(progress, rounds=1)
        archive.verify()
        return archive.manifest


def restore(
    settings: Settings, clock: Clock, file: Path, *, actor: str, progress: Progress
) -> RestoreReport:
    """Check the backup whole, then put it in place.

    Killed half-way, it is repeated with the same backup; nothing that was there is deleted, and
    :func:`refuse_half_restored` keeps the installation from starting meanwhile.

    Raises:
        StillRunning: something of this installation runs.
        BadArchive, ArchiveTooNew, NewerSchema: nothing was touched.
        RestoreFailed, StorageError: everything is as it was.
    """
    with _nothing_running(settings.home), Archive(file) as archive:
        _check_schema(archive)
        archive.watch(progress, rounds=2)
        archive.verify()
        try:
            with _Swap(settings.home, clock) as swap:
                rows = _put_in_place(settings, archive, swap)
                # While the directory of the swap still marks the restore as not ended: one that
                # is killed before its anchor is made again.
                _note(settings, clock, file, actor)
        except OSError as exc:
            raise RestoreFailed(file=str(file), reason=str(exc)) from exc
        names = [member.name for member in archive.manifest.members]
        days = sum(name.startswith("history/") for name in names)
        return RestoreReport(
            created_at=archive.manifest.created_at,
            daqplane=archive.manifest.daqplane,
            rows=rows,
            files=len(names) - days - sum(name.startswith(STATE) for name in names),
            history_files=days,
            kept=str(swap.kept),
        )


def refuse_half_restored(home: Path) -> None:
    """Raises RestoreInterrupted if a restore was killed before its end."""
    if (home / RESTORING).exists():
        raise RestoreInterrupted(home=str(home))


def _put_in_place(settings: Settings, archive: Archive, swap: "_Swap") -> int:
    """Unpack beside what is there, then change places; the database commits last."""
    _unpack(archive, swap.fresh)
    wanted = StateDatabase(settings.database_url)
    with contextlib.ExitStack() as stack:
        if wanted.file is None:
            database = wanted
        else:
            database = StateDatabase(f"sqlite:///{swap.fresh / 'state.db'}")
        stack.callback(database.close)
        with replacing(database, swap.kept.name.lower().replace("-", "_")):
            rows = _load_state(archive, database)
            if wanted.file is None:
                stack.enter_context(swap.undone_on_error())
                _exchange_files(settings, swap)
                return rows
    with swap.undone_on_error():
        for part in _SQLITE_PARTS:
            swap.put(swap.fresh / f"state.db{part}", Path(f"{wanted.file}{part}"))
        _exchange_files(settings, swap)
    return rows


def _exchange_files(settings: Settings, swap: "_Swap") -> None:
    home = settings.home
    present = [*settings_directories(home), *home.glob("*.toml")]
    restored = [p for p in swap.fresh.iterdir() if not p.name.startswith("state.db")]
    for name in sorted({path.name for path in (*present, *restored)}):
        swap.put(swap.fresh / name, home / name)


def _load_state(archive: Archive, database: StateDatabase) -> int:
    """Build the schema of then, fill it, and bring it up to date."""
    make_schema(database, archive.manifest.schema[-1])
    rows = 0
    for member in archive.manifest.members:
        if member.name.startswith(STATE):
            table = member.name.removeprefix(STATE).removesuffix(".jsonl")
            lines = archive.lines(member.name)
            columns: list[str] = json.loads(next(lines))
            rows += insert(database, table, columns, map(from_line, lines))
    make_schema(database)
    return rows


def _unpack(archive: Archive, directory: Path) -> None:
    for member in archive.manifest.members:
        if member.name.startswith(STATE):
            continue
        target = directory / member.name
        for parent in reversed(target.relative_to(directory).parents):
            (directory / parent).mkdir(mode=0o750, exist_ok=True)
        with target.open("wb") as stream:
            target.chmod(member.mode & 0o777)
            for chunk in archive.chunks(member.name):
                stream.write(chunk)


class _Swap:
    """Exchanges files of ``home`` for those in :attr:`fresh`, keeping the old ones."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self.fresh = home / RESTORING
        stamp = f"{clock.now():%Y%m%dT%H%M%SZ}"
        taken = len(list(home.glob(f"replaced-{stamp}*")))
        self.stamp = f"{stamp}-{taken + 1}" if taken else stamp
        self.kept = home / f"replaced-{self.stamp}"
        self._moves: list[tuple[Path, Path]] = []

    def __enter__(self) -> Self:
        shutil.rmtree(self.fresh, ignore_errors=True)  # of a restore that was killed
        self.fresh.mkdir(mode=0o700)
        self.kept.mkdir(mode=0o700)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is left of our own; what was set aside stays."""
        shutil.rmtree(self.fresh, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.kept.rmdir()  # if nothing was replaced

    def put(self, new: Path, place: Path) -> None:
        """Set aside what is at ``place``, then put ``new`` there; either may be missing."""
        if place.exists():
            self._move(place, self.kept / place.name)
        if new.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            self._move(new, place)

    def _move(self, source: Path, target: Path) -> None:
        shutil.move(source, target)
        self._moves.append((source, target))

    @contextlib.contextmanager
    def undone_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            for source, target in reversed(self._moves):
                shutil.move(target, source)
            raise


def _check_schema(archive: Archive) -> None:
    known, schema = known_schema(), archive.manifest.schema
    if unknown := [name for name in schema if name not in known]:
        raise NewerSchema(migrations=", ".join(unknown))
    if not schema or schema != known[: len(schema)]:
        raise archive.bad("its schema is not one that this program ever had")


@contextlib.contextmanager
def _nothing_running(home: Path) -> Iterator[None]:
    """Refuse if a part of the installation runs, and let none start meanwhile.

    Raises:
        StillRunning: names it.
    """
    with socket.socket(socket.AF_UNIX) as probe, contextlib.ExitStack() as locks:
        probe.settimeout(_PROBE_S)
        with contextlib.suppress(OSError):
            probe.connect(str(home / "run" / "supervisor.sock"))
            raise StillRunning(home=str(home), part="supervisord")
        # A start migrates the database first, and waits for this lock.
        (home / "run" / "migrate.lock").touch()
        for path in (*home.glob("run/*.lock"), *home.glob("run/lock/*.lock")):
            file = locks.enter_context(path.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StillRunning(home=str(home), part=path.stem) from None
        yield


def _note(settings: Settings, clock: Clock, file: Path, actor: str) -> None:
    database = StateDatabase(settings.database_url)
    whoever = Actor(name=actor, role=Role.ADMIN, origin="console")
    trail = AuditTrail(database, AuditSeal(settings.home))
    trail.begin(clock.now(), restored=True)
    Auditor(trail, clock).note(whoever, "backup.restore", file.name, "done")
    database.close()
