"""Alerts, their life cycle and their words, as in ANSI/ISA-18.2.

An alert is one fault from the moment it is certain until it is over; the next fault of the same
kind is another alert with an id of its own, never used before.
"""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final

MAX_REASON_CHARACTERS: Final = 400


class AlertSeverity(enum.StrEnum):
    """From the least to the most urgent; the panel's words."""

    ADVISORY = "advisory"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(AlertSeverity).index(self)


class AlertState(enum.StrEnum):
    PENDING = "pending"
    """The condition holds, but not for as long as its rule asks; nobody is told yet."""
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    RESOLVED = "resolved"


class SubjectKind(enum.StrEnum):
    PROCESS = "process"
    NODE = "node"
    GATEWAY = "gateway"
    """A host that several collectors read through."""
    STORE = "store"
    INSTALLATION = "installation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an alert is about."""

    kind: SubjectKind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a person said of an alert, and when."""

    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One fault.

    Attributes:
        id: Never used again; 0 while pending. Later alerts have higher ones.
        fingerprint: The same for every alert of this rule about this subject.
        since: When the condition began to hold.
        fired_at: When it had held long enough; ``None`` while pending.
        last_change: Newest change of anything but ``value`` and ``params``.
        count: How often the condition began to hold within this alert; more than once if flapping.
        value, threshold: The figure that is judged and its limit, where there is one.
        code, params: The sentence and its values, see ``control_plane.alerting.texts``.
        evidence: Further facts, for whoever looks into it.
        members: Processes that this alert also speaks for, so that none of them has its own.
        flapping: It comes and goes; then it stays open until it is quiet.
        acknowledged: Who has seen it; ends repeated notices.
        shelved_until: Nobody is told before; ``None`` if it is not shelved.
        ended: Why a resolved alert ended: ``returned`` to normal, or the subject was ``stopped``
            by an operator, in ``maintenance``, ``removed``, or its rule ``disabled``.
    """

    id: int = 0
    rule: str
    fingerprint: str
    severity: AlertSeverity
    subject: Subject
    state: AlertState
    since: datetime
    fired_at: datetime | None = None
    last_change: datetime
    resolved_at: datetime | None = None
    count: int = 1
    value: float | None = None
    threshold: float | None = None
    code: str
    params: Mapping[str, object] = field(default_factory=dict)
    evidence: Mapping[str, object] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    flapping: bool = False
    acknowledged: Note | None = None
    shelved_until: datetime | None = None
    ended: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether people have been told of it and it is not over."""
        return self.state not in (AlertState.PENDING, AlertState.RESOLVED)

    @property
    def alarm_state(self) -> str:
        """ISA-18.2's word: ``active_unacknowledged``, ``active_acknowledged``,
        ``returned_unacknowledged``, ``normal`` or ``shelved``."""
        if self.state is AlertState.SHELVED:
            return "shelved"
        if self.state is AlertState.RESOLVED:
            return "normal" if self.acknowledged else "returned_unacknowledged"
        return "active_acknowledged" if self.acknowledged else "active_unacknowledged"


class AlertEventKind(enum.StrEnum):
    FIRED = "fired"
    UPDATED = "updated"
    """Severity, sentence or members changed."""
    REPEATED = "repeated"
    """Still there, and nobody has acknowledged it."""
    FLAPPING = "flapping"
    STEADY = "steady"
    """No longer flapping, but still there."""
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent:
    """One step in the life of an alert, with the alert as it was after it.

    Attributes:
        worse: Of an update: the severity rose.
    """

    kind: AlertEventKind
    at: datetime
    alert: Alert
    worse: bool = False
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A shelf: alerts that match are shown but not told until ``until`` (wall clock).

    Attributes:
        rule, subject: Shell patterns, ``*`` for all.
        alert_id: Only this alert; ``None`` for all that match.
    """

    id: int
    rule: str
    subject: str
    alert_id: int | None
    until: datetime
    note: Note

    def covers(self, alert: Alert, now: datetime) -> bool:
        if now >= self.until or self.alert_id not in (None, alert.id):
            return False
        return fnmatchcase(alert.rule, self.rule) and fnmatchcase(alert.subject.name, self.subject)


def fingerprint_of(rule: str, subject: Subject) -> str:
    """Return what names a rule and its subject, across restarts and releases."""
    return hashlib.sha256(f"{rule}\0{subject.kind}\0{subject.name}".encode()).hexdigest()[:16]
