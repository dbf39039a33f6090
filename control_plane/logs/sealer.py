"""Seals rotated log files: what was rotated away never changes again, or somebody did it."""

import contextlib
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from control_plane.domain.seals import Seal, SealKind
from control_plane.logs.rotated_files import (
    RotatedFile,
    open_rotated,
    rotated_logs,
    rotated_numbers,
)
from control_plane.logs.seal_chain import SealChain
from control_plane.logs.sealed_log import SealedLog, take_in

log = logging.getLogger(__name__)


class LogSealer:
    """Usable from any thread; ``backups`` says how many rotated files a log keeps, if known."""

    def __init__(
        self,
        log_dir: Path,
        chain: SealChain,
        now: Callable[[], datetime],
        backups: Callable[[str], int | None],
    ) -> None:
        self._log_dir = log_dir
        self._chain = chain
        self._now = now
        self._backups = backups
        self._lock = threading.Lock()
        self._known: dict[str, SealedLog] = {}
        self._has_read = False
        self._failure = ""
        self._removed: list[Seal] = []
        """Not noted yet: files are removed just when a disk is full."""

    def seal(self) -> int:
        """Seal every file that was rotated away since the last call; return how many.

        Never raises: what cannot be sealed now is tried again, and said once.
        """
        with self._lock:
            return self._guarded(self._seal_new, "logs cannot be sealed")

    def remove_rotated(self, log_name: str) -> int:
        """Delete the rotated files of a log, note in the chain that we did; return the bytes."""
        with self._lock:
            freed_bytes = 0
            for number in rotated_numbers(self._log_dir, log_name):
                with contextlib.suppress(OSError):
                    file = self._log_dir / f"{log_name}.{number}"
                    size_bytes = file.stat().st_size
                    file.unlink()
                    freed_bytes += size_bytes
            if freed_bytes:
                self._removed.append(Seal(at=self._now(), kind=SealKind.REMOVED, log=log_name))
                self._guarded(self._note_removed, "removal of logs cannot be noted")
            return freed_bytes

    def _seal_new(self) -> int:
        self._note_removed()
        logs = rotated_logs(self._log_dir)
        return self._append([seal for name in logs for seal in self._new_seals(name)])

    def _note_removed(self) -> int:
        count = self._append(self._removed)
        self._removed = []
        return count

    def _append(self, made: list[Seal]) -> int:
        if made:
            take_in(self._known, self._chain.append(made))
        return len(made)

    def _guarded(self, work: Callable[[], int], complaint: str) -> int:
        """Do it; what fails is said once, and once more when it works again."""
        try:
            if not self._has_read:
                self._known = {}
                take_in(self._known, self._chain.read().seals)
                self._has_read = True
            count = work()
        except (OSError, ValueError) as exc:
            self._has_read = False
            if str(exc) != self._failure:
                log.error(complaint, extra={"reason": str(exc)})
            self._failure = str(exc)
            return 0
        if self._failure:
            log.info("logs are sealed again")
        self._failure = ""
        return count

    def _new_seals(self, name: str) -> list[Seal]:
        """Return seals of the files that are newer than the newest sealed one, oldest first."""
        known = self._known.get(name) or SealedLog()
        with open_rotated(self._log_dir, name) as files:
            new: list[RotatedFile] = []
            follows = None
            for file in files:  # The newest first.
                follows = known.seal_of(file.identity)
                if follows is not None:
                    break
                new.append(file)
            # A sealed file that was changed in its place is no new one: it is left to the check.
            changed = {each.seal.inode for each in known.required(len(new))}
            new = [file for file in new if file.identity[0] not in changed]
            newest = known.newest
            kept, is_gap = (newest.seal.kept, follows != newest) if newest else (0, False)
            most = self._backups(name) or len(files)
            return [
                self._sealed(name, file, min(most, kept + number), gap=is_gap and number == 1)
                for number, file in enumerate(reversed(new), 1)
            ]

    def _sealed(self, name: str, file: RotatedFile, kept: int, *, gap: bool) -> Seal:
        inode, size_bytes, mtime_ns = file.identity
        return Seal(
            at=self._now(),
            kind=SealKind.SEALED,
            log=name,
            inode=inode,
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            sha256=file.sha256(),
            kept=kept,
            gap=gap,
        )
