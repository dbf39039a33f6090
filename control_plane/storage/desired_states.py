"""What operators want of each collector: to run (the default) or to stay stopped."""

from datetime import datetime

from control_plane.domain.process import Desired
from control_plane.storage.columns import fit
from control_plane.storage.database import StateDatabase
from control_plane.storage.models import DesiredState
from control_plane.storage.times import to_ms


class DesiredStates:
    """Usable from any thread."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def want(self, process: str, desired: Desired, actor: str, at: datetime) -> None:
        """Note what ``actor`` wants of ``process``."""
        facts = {"desired": desired.value, "actor": fit(actor, 80), "at_ms": to_ms(at)}
        with self._database.connection():
            DesiredState.insert(process=process, **facts).on_conflict(
                conflict_target=[DesiredState.process], update=facts
            ).execute()

    def forget(self, process: str) -> None:
        """Drop what is noted of a collector that is taken out of service."""
        with self._database.connection():
            DesiredState.delete().where(DesiredState.process == process).execute()

    def stopped(self) -> set[str]:
        """Return the collectors that are to stay stopped."""
        with self._database.connection():
            rows = DesiredState.select(DesiredState.process).where(
                DesiredState.desired == Desired.STOP.value
            )
            return {row.process for row in rows}
