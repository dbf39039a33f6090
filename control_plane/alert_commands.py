"""What a user may do with alerts: acknowledge, shelve, try a channel; all of it audited."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from control_plane.alerting.service import AlertService
from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Permission
from control_plane.clock import Clock
from control_plane.domain.alerts import Alert, Note, Silence
from control_plane.errors import ControlPlaneError, UnknownSilence
from control_plane.notify.channel_file import Channel
from control_plane.notify.notifier import Notifier

LONGEST_SHELF: Final = timedelta(days=30)
"""ISA-18.2: nothing is shelved for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelving:
    """What is to be shelved: one alert, or whatever matches both patterns."""

    alert_id: int | None
    rule: str
    subject: str
    lasts: timedelta
    reason: str


def try_channel(notifier: Notifier, audit: Auditor, actor: Actor, name: str) -> Channel:
    """Send a test message through a channel.

    Raises:
        NotPermitted, UnknownChannel, NotifyFailed.
    """
    audit.allow(actor, Permission.COMMAND, "channel.test", name)
    try:
        channel = notifier.test(name)
    except ControlPlaneError as exc:
        audit.note(actor, "channel.test", name, "failed", exc.message())
        raise
    audit.note(actor, "channel.test", name, "done")
    return channel


class AlertCommands:
    """Acknowledge and shelve."""

    def __init__(
        self, alerts: AlertService, notifier: Notifier, audit: Auditor, clock: Clock
    ) -> None:
        self._alerts = alerts
        self._notifier = notifier
        self._audit = audit
        self._clock = clock

    def acknowledge(self, actor: Actor, alert_id: int, reason: str) -> Alert:
        """Raises NotPermitted or UnknownAlert."""
        self._audit.allow(actor, Permission.COMMAND, "alert.acknowledge", str(alert_id))
        note = Note(by=actor.name, at=self._clock.now(), reason=reason)
        alert = self._alerts.acknowledge(alert_id, note)
        target = f"{alert.rule} {alert.subject.name}"
        self._audit.note(actor, "alert.acknowledge", target, "done", f"{alert_id} {reason}".strip())
        return alert

    def shelve(self, actor: Actor, wanted: Shelving) -> Silence:
        """Raises NotPermitted."""
        target = f"{wanted.rule} {wanted.subject}"
        self._audit.allow(actor, Permission.COMMAND, "alert.shelve", target)
        now = self._clock.now()
        silence = Silence(
            id=0,
            rule=wanted.rule,
            subject=wanted.subject,
            alert_id=wanted.alert_id,
            until=now + min(wanted.lasts, LONGEST_SHELF),
            note=Note(by=actor.name, at=now, reason=wanted.reason),
        )
        kept = self._alerts.shelve(silence)
        detail = f"{kept.id} until {kept.until.isoformat()} {wanted.reason}"
        self._audit.note(actor, "alert.shelve", target, "done", detail)
        return kept

    def unshelve(self, actor: Actor, silence_id: int) -> None:
        """Raises NotPermitted or UnknownSilence."""
        self._audit.allow(actor, Permission.COMMAND, "alert.unshelve", str(silence_id))
        ended = self._alerts.unshelve(silence_id)
        if ended is None:
            raise UnknownSilence(id=silence_id)
        target = f"{ended.rule} {ended.subject}"
        self._audit.note(actor, "alert.unshelve", target, "done", str(silence_id))

    def try_channel(self, actor: Actor, name: str) -> Channel:
        """Raises NotPermitted, UnknownChannel or NotifyFailed."""
        return try_channel(self._notifier, self._audit, actor, name)
