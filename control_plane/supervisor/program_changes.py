"""Adds, changes or removes one program of a running supervisord without touching any other."""

import contextlib
import enum
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from control_plane.errors import InvalidProgramFile, SupervisorFault, UnknownProcess
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.process_manager import ProcessManager
from control_plane.supervisor.program_files import render_program, write_atomically

_PARSE = (
    "import sys; from supervisor.options import ServerOptions;"
    "ServerOptions().realize(['-c', sys.argv[1]])"
)
_PARSE_DEADLINE_S = 20


class Change(enum.StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    """The program file differed: the program was started anew."""
    NONE = "none"


class ProgramChanges:
    """The only writer of program files of a running installation; usable from one thread."""

    def __init__(self, home: Path, client: SupervisorClient, manager: ProcessManager) -> None:
        self._home = home
        self._client = client
        self._manager = manager

    def apply(self, name: str) -> Change:
        """Write the collector's program file and have supervisord take it over.

        Raises:
            InvalidProgramFile: supervisord's own parser refuses it; nothing has changed.
            Busy, SupervisorUnreachable, SupervisorFault.
        """
        path = self._path(name)
        previous = path.read_text(encoding="utf-8") if path.exists() else None
        # Whether it starts by itself is the operator's word of before, not part of this change.
        autostart = "autostart=false" not in (previous or "")
        text = render_program("collector", name, self._home, autostart=autostart)
        if previous != text:
            self._check(name, text)
            write_atomically(path, text)
        try:
            reread = self._client.reread()
        except SupervisorFault as exc:
            self._restore(path, previous)
            raise InvalidProgramFile(name=name, reason=str(exc.params["reason"])) from exc
        # Others may have edited files of theirs: what they changed is theirs to apply.
        if name in reread.added:
            self._client.add_program(name)
            return Change.ADDED
        if name in reread.changed:
            self._manager.stop(name)
            self._client.remove_program(name)
            self._client.add_program(name)
            return Change.CHANGED
        return Change.NONE

    def remove(self, name: str) -> None:
        """Stop the program and forget it; raises as :meth:`apply` does."""
        with contextlib.suppress(UnknownProcess):
            self._manager.stop(name)
            self._client.remove_program(name)
        self._path(name).unlink(missing_ok=True)
        self._client.reread()

    def _path(self, name: str) -> Path:
        return self._home / "supervisord.conf.d" / f"{name}.conf"

    def _check(self, name: str, text: str) -> None:
        """Let supervisord's own parser read what the configuration would be, in a process apart."""
        with tempfile.TemporaryDirectory(prefix="daq-check-") as directory:
            candidate = Path(directory)
            for part in ("run", "log"):
                (candidate / part).mkdir()
            shutil.copy(self._home / "supervisord.conf", candidate)
            shutil.copytree(self._home / "supervisord.conf.d", candidate / "supervisord.conf.d")
            (candidate / "supervisord.conf.d" / f"{name}.conf").write_text(text, encoding="utf-8")
            result = subprocess.run(
                [sys.executable, "-c", _PARSE, str(candidate / "supervisord.conf")],
                capture_output=True,
                text=True,
                timeout=_PARSE_DEADLINE_S,
                check=False,
            )
        if result.returncode != 0:
            said = (result.stderr or result.stdout).strip().splitlines()
            raise InvalidProgramFile(name=name, reason=said[0] if said else "not readable")

    @staticmethod
    def _restore(path: Path, previous: str | None) -> None:
        if previous is None:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, previous)
