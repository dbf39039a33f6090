"""The write-ahead list: what was begun, until it is known how it ended."""

from dataclasses import dataclass
from datetime import datetime

from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import PendingCommand
from control_plane.storage.times import to_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A command whose end is not known."""

    process: str
    action: str
    actor: str
    origin: str


class PendingCommands:
    """Usable from any thread; one command for each process."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def begin(self, command: Pending, at: datetime) -> None:
        """Note the command before anything is sent."""
        facts = {
            "action": command.action,
            "actor": fit(command.actor, 80),
            "origin": fit(command.origin, 80),
            "at_ms": to_ms(at),
        }
        with self._database.connection():
            PendingCommand.insert(process=command.process, **facts).on_conflict(
                conflict_target=[PendingCommand.process], update=facts
            ).execute()

    def end(self, process: str) -> None:
        """Forget it: how it ended is known."""
        with self._database.connection():
            PendingCommand.delete().where(PendingCommand.process == process).execute()

    def processes(self, since: datetime) -> set[str]:
        """Return the processes with a command that was begun since then and has not ended."""
        with self._database.connection():
            where = PendingCommand.at_ms >= to_ms(since)
            return {row.process for row in PendingCommand.select().where(where)}

    def all(self, since: datetime) -> list[Pending]:
        """Return what was begun since then and not ended; forget what is older.

        What was interrupted long ago says nothing about what is wanted now.
        """
        with self._database.connection():
            PendingCommand.delete().where(PendingCommand.at_ms < to_ms(since)).execute()
            return [
                Pending(process=r.process, action=r.action, actor=r.actor, origin=r.origin)
                for r in PendingCommand.select().order_by(PendingCommand.at_ms)
            ]
