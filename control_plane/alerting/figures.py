"""How well people can still follow: alarm rate, chattering and standing alarms; pure.

The limits are those of ANSI/ISA-18.2 and EEMUA 191: more than ten alarms in ten minutes are a
flood, three of one kind within a minute chatter, one that is a day old stands.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from control_plane.domain.alerts import Alert, AlertSeverity, AlertState

DAY: Final = timedelta(days=1)
_TEN_MINUTES, _HOUR, _MINUTE = timedelta(minutes=10), timedelta(hours=1), timedelta(minutes=1)
_FLOOD: Final = 10
_CHATTERS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmFigures:
    """Figures of the last 24 hours.

    Attributes:
        open: Open alerts by severity; shelved ones are counted apart.
        standing: Open alerts that fired more than 24 hours ago.
        chattering: Fingerprints that fired three times within a minute, or are flapping.
        in_10_min, in_1_h, in_24_h: Alerts that fired.
        peak_in_10_min: Most alerts that fired within ten minutes.
        flood: Whether more than ten fired in the last ten minutes.
    """

    open: dict[str, int]
    unacknowledged: int
    shelved: int
    standing: int
    chattering: tuple[str, ...]
    in_10_min: int
    in_1_h: int
    in_24_h: int
    peak_in_10_min: int
    flood: bool


def figures(now: datetime, open_alerts: Iterable[Alert], fired: Sequence[Alert]) -> AlarmFigures:
    """Return the figures; ``fired`` are the alerts of the last day, oldest first."""
    alerts = list(open_alerts)
    awake = [alert for alert in alerts if alert.state is not AlertState.SHELVED]
    by_severity = Counter(alert.severity for alert in awake)
    times = [at for alert in fired if (at := alert.fired_at) is not None and at >= now - DAY]
    in_10_min = sum(at > now - _TEN_MINUTES for at in times)
    return AlarmFigures(
        open={severity.value: by_severity[severity] for severity in AlertSeverity},
        unacknowledged=sum(alert.acknowledged is None for alert in awake),
        shelved=len(alerts) - len(awake),
        standing=sum(a.fired_at is not None and a.fired_at < now - DAY for a in alerts),
        chattering=_chattering(alerts, fired),
        in_10_min=in_10_min,
        in_1_h=sum(at > now - _HOUR for at in times),
        in_24_h=len(times),
        peak_in_10_min=_peak(times),
        flood=in_10_min > _FLOOD,
    )


def _chattering(open_alerts: Iterable[Alert], fired: Sequence[Alert]) -> tuple[str, ...]:
    found = {alert.fingerprint for alert in open_alerts if alert.flapping}
    newest: dict[str, deque[datetime]] = {}
    for alert in fired:
        if alert.fired_at is None:
            continue
        times = newest.setdefault(alert.fingerprint, deque(maxlen=_CHATTERS))
        times.append(alert.fired_at)
        if len(times) == _CHATTERS and times[-1] - times[0] <= _MINUTE:
            found.add(alert.fingerprint)
    return tuple(sorted(found))


def _peak(times: Sequence[datetime]) -> int:
    window: deque[datetime] = deque()
    peak = 0
    for at in times:
        window.append(at)
        while window[0] <= at - _TEN_MINUTES:
            window.popleft()
        peak = max(peak, len(window))
    return peak
