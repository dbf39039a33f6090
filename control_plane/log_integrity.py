"""Keeps the seals of this machine's logs and checks them, with every check in the audit trail."""

import json
import logging
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Final

from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Permission, Role
from control_plane.clock import Clock
from control_plane.domain.seals import SealReport
from control_plane.errors import LogsUnreadable
from control_plane.logs.seal_chain import SealChain
from control_plane.logs.seal_check import check_seals
from control_plane.logs.sealer import LogSealer

log = logging.getLogger(__name__)

SEAL_EVERY_S: Final = 5.0
_BACKUPS = re.compile(r"(?m)^(?:stdout_)?logfile_backups\s*=\s*([0-9]{1,4})\s*$")
_SCHEDULER: Final = Actor(name="scheduler", role=Role.ADMIN, origin="scheduler")


class LogIntegrity:
    """Usable from any thread; only one check reads all the files at a time."""

    def __init__(self, home: Path, log_dir: Path, audit: Auditor, clock: Clock) -> None:
        self._home = home
        self._log_dir = log_dir
        self._audit = audit
        self._chain = SealChain(home / "seals")
        self._sealer = LogSealer(log_dir, self._chain, clock.now, self._backups)
        self._checking = threading.Lock()
        self.findings: int | None = None
        """How much the newest check of this process found."""

    def seal(self) -> int:
        """Seal what was rotated away since the last call; return how many files."""
        return self._sealer.seal()

    def remove_rotated(self, program: str) -> int:
        """Delete the rotated logs of a program of this machine; return the bytes given back."""
        return self._sealer.remove_rotated(f"{program}.log")

    def check(self, actor: Actor, newest: str = "") -> SealReport:
        """Compare every rotated log with its seal.

        ``newest`` is the code that an earlier check ended with; without it in the chain, records
        were cut off.

        Raises:
            NotPermitted, StorageError: it could not be written down.
            LogsUnreadable: names the file and the reason.
        """
        self._audit.allow(actor, Permission.ADMINISTER, "log.verify", "all")
        try:
            with self._checking:
                report = check_seals(self._log_dir, self._chain, newest)
        except (OSError, ValueError) as exc:
            raise LogsUnreadable(reason=str(exc)) from exc
        if not newest:  # Else it may only be that somebody mistyped the code.
            self.findings = len(report.problems)
        found = Counter(problem.kind.value for problem in report.problems)
        detail = {"newest": report.newest, "files": report.files, **found}
        outcome = "failed" if report.problems else "done"
        self._audit.note(actor, "log.verify", "all", outcome, json.dumps(detail))
        return report

    def check_daily(self) -> None:
        """Check, and say what is wrong in the log and, through :attr:`findings`, by an alert."""
        for problem in self.check(_SCHEDULER).problems:
            log.error(
                "a sealed log was changed",
                extra={
                    "kind": problem.kind.value,
                    "log": problem.log,
                    "file": problem.file,
                    "seal": problem.number,
                },
            )

    def _backups(self, log_name: str) -> int | None:
        """Return how many rotated files supervisord keeps of a log; ``None`` if nothing says."""
        program = log_name.removesuffix(".log")
        file = self._home / "supervisord.conf.d" / f"{program}.conf"
        if program == "supervisord":
            file = self._home / "supervisord.conf"
        try:
            found = _BACKUPS.search(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return int(found[1]) if found else None
