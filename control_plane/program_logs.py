"""Where a program's log is to be had: as a file of this machine, or through its node."""

from contextlib import AbstractContextManager
from pathlib import Path

from control_plane.domain.logs import LogChunk
from control_plane.domain.node import LOCAL_NODE, program_and_node
from control_plane.errors import ControlPlaneError
from control_plane.logs.book import LogBook, open_book, open_remote_book
from control_plane.logs.known_secrets import KnownSecrets
from control_plane.logs.reader import FileLog, LogReader, ReadChunk, RedactedLog, RemoteLog
from control_plane.logs.runs import Run, runs_of
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.nodes import Nodes


class ProgramLogs:
    """The logs of all programs, without their secrets. Usable from any thread."""

    def __init__(self, log_dir: Path, nodes: Nodes, secrets: KnownSecrets) -> None:
        self.secrets = secrets
        self._log_dir = log_dir
        self._nodes = nodes

    def reader(self, name: str) -> LogReader:
        """Return a reader for the log of a program, given its qualified name.

        Raises:
            UnknownNode.
        """
        return RedactedLog(self.raw_reader(name), self.secrets.redactor)

    def raw_reader(self, name: str) -> LogReader:
        """Return a reader whose lines still have their secrets.

        Raises:
            UnknownNode.
        """
        program, node = program_and_node(name)
        if node == LOCAL_NODE:
            return FileLog(self._log_dir / f"{program}.log")
        return RemoteLog(read_through(self._nodes.of(name).client, name))

    def book(self, name: str) -> AbstractContextManager[LogBook]:
        """Open all that is kept of a program's log; its lines still have their secrets.

        Raises:
            UnknownNode.
        """
        program, node = program_and_node(name)
        if node == LOCAL_NODE:
            return open_book(self._log_dir / f"{program}.log")
        return open_remote_book(read_through(self._nodes.of(name).client, name))

    def runs(self, name: str) -> list[Run]:
        """Return the newest runs of a program of this machine, the newest first.

        Of other nodes nothing is known: their supervisord's own log stays there.
        """
        program, node = program_and_node(name)
        if node != LOCAL_NODE:
            return []
        with open_book(self._log_dir / "supervisord.log") as book:
            return runs_of(book, program)


def read_through(client: SupervisorClient, name: str) -> ReadChunk:
    """Return a function that asks supervisord for a part of a program's log."""

    def read(inode: int, offset: int, limit_bytes: int) -> LogChunk | None:
        try:
            return client.plugin.read_log(name, inode, offset, limit_bytes)
        except ControlPlaneError:
            return None

    return read
