"""Who is told what, and when; pure."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from control_plane.domain.alerts import AlertEvent, AlertEventKind, AlertSeverity, AlertState
from control_plane.storage.notifications import Notice
from control_plane.storage.times import to_ms

MAX_ATTEMPTS: Final = 10
"""With the pauses below this is about an hour."""
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 900.0
_JITTER: Final = 0.2

_PROBLEMS: Final = frozenset(
    {
        AlertEventKind.FIRED,
        AlertEventKind.REPEATED,
        AlertEventKind.UNSHELVED,
        AlertEventKind.FLAPPING,
    }
)
_NAMED_ONCE: Final = frozenset({AlertEventKind.FIRED, AlertEventKind.RESOLVED})


def is_told(event: AlertEvent, least: AlertSeverity) -> bool:
    """Tell whether a channel for ``least`` and worse is to hear of an event.

    Every end is queued, and dropped later if nobody was told of the beginning.
    """
    if event.kind is AlertEventKind.RESOLVED:
        return True
    if event.alert.state is AlertState.SHELVED or event.alert.severity.rank < least.rank:
        return False
    return event.kind in _PROBLEMS or (event.kind is AlertEventKind.UPDATED and event.worse)


def name_of(event: AlertEvent) -> str:
    """Return what is unique to this event, and the same whenever it is queued again."""
    name = f"{event.alert.id}:{event.kind}"
    if event.kind is AlertEventKind.UPDATED:
        return f"{name}:{event.alert.severity}"
    return name if event.kind in _NAMED_ONCE else f"{name}:{to_ms(event.at)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of the queue goes out now, and what nobody needs any more."""

    send: tuple[Notice, ...]
    drop: tuple[Notice, ...]


def choose(
    queued: Sequence[Notice], due_ids: Collection[int], was_told: Callable[[int], bool]
) -> Choice:
    """Choose from all queued notices of one channel, oldest first.

    An alert that ends before its channel's delay is over is never told. The end of one that was
    told, or could not be told for lack of a connection, goes out together with whatever waits.
    """
    send: list[Notice] = []
    drop: list[Notice] = []
    for alert_id in dict.fromkeys(n.alert_id for n in queued if n.id in due_ids):
        notices = [notice for notice in queued if notice.alert_id == alert_id]
        due = [notice for notice in notices if notice.id in due_ids]
        begun = [n for n in notices if n.kind != AlertEventKind.RESOLVED]
        if len(begun) == len(notices):
            send += due
        elif any(n.attempts or n in due for n in begun) or was_told(alert_id):
            send += notices
        else:
            drop += notices
    return Choice(send=tuple(send), drop=tuple(drop))


def next_attempt(now: datetime, attempts: int, chance: Callable[[], float]) -> datetime:
    """Return when to try again after the failed attempt number ``attempts``, from 1.

    ``chance`` gives 0..1 and spreads the attempts of many installations.
    """
    pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (attempts - 1))
    return now + timedelta(seconds=pause_s * (1 + _JITTER * (2 * chance() - 1)))
