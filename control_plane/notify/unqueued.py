"""Notices that cannot be queued, because the state database is away; kept in memory only."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from control_plane.domain.alerts import AlertEventKind
from control_plane.storage.notifications import NewNotice, Notice

_MOST: Final = 1000
"""Later ones wait for the queue."""


class Unqueued:
    """Of one channel; one thread sends, any may :meth:`keep` and say :meth:`is_queued`."""

    def __init__(self) -> None:
        self._waiting: dict[str, NewNotice] = {}
        self._told: set[str] = set()
        self._begun: set[int] = set()
        """Alerts whose beginning was told since the start."""

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def keep(self, notice: NewNotice) -> None:
        """Take a notice, once."""
        if notice.event not in self._told and len(self._waiting) < _MOST:
            self._waiting.setdefault(notice.event, notice)

    def due(self, now: datetime) -> list[NewNotice]:
        """Return what is to be told now.

        The end of an alert of which we did not tell the beginning waits for the queue, which knows,
        and so does all that is over.
        """
        waiting = list(self._waiting.values())
        over = {n.alert_id for n in waiting if n.kind == AlertEventKind.RESOLVED} - self._begun
        return [n for n in waiting if n.due <= now and n.alert_id not in over]

    def note_told(self, notices: Sequence[NewNotice | Notice]) -> None:
        """Remember what was told until the queue has heard of it."""
        for notice in notices:
            self._waiting.pop(notice.event, None)
            self._told.add(notice.event)
            self._begun.add(notice.alert_id)

    def is_queued(self) -> None:
        """The queue could be written to: it has whatever waits here."""
        self._waiting.clear()

    def divided(self, notices: Sequence[Notice]) -> tuple[list[Notice], list[Notice]]:
        """Return which of the queue was told already, and which was not."""
        told = [notice for notice in notices if notice.event in self._told]
        return told, [notice for notice in notices if notice not in told]

    def forget(self, notices: Sequence[Notice]) -> None:
        """The queue has heard that these were told."""
        self._told -= {notice.event for notice in notices}
        self._begun -= {n.alert_id for n in notices if n.kind == AlertEventKind.RESOLVED}
