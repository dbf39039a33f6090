"""What a channel is given to send, in the channel's language; pure but for the catalogue."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from collectors.contract.messages import sentence
from control_plane.domain.alerts import AlertEventKind, AlertSeverity

_PACKAGE: Final = "control_plane.notify"
_SHAPES: Final = {"critical": "■", "warning": "▲", "advisory": "●", "resolved": "✓"}
_SUBJECTS_IN_TITLE: Final = 3
_MEMBERS_IN_TEXT: Final = 20

AlertBody = Mapping[str, Any]
"""An alert as the API shows it, in the language of the channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One notice: what happened to an alert, and the alert in words."""

    kind: AlertEventKind
    event: str
    alert: AlertBody


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a channel; it may carry several notices.

    Attributes:
        key: The same for the same notices, so that a receiver can drop a repetition.
        severity: The worst of what is not over; ``None`` if all is over, or of a test.
    """

    key: str
    title: str
    text: str
    severity: AlertSeverity | None
    at: datetime
    sender: str
    told: tuple[Told, ...] = ()


def message_of(told: Sequence[Told], language: str, sender: str, at: datetime) -> Message:
    """Return one message for all notices, oldest first."""
    present = [t.alert["severity"] for t in told if t.kind is not AlertEventKind.RESOLVED]
    severity = max(map(AlertSeverity, present), key=lambda s: s.rank, default=None)
    blocks = [_block(each, language) for each in told]
    blocks.append(_say("line.from", language, sender=sender))
    return Message(
        key=hashlib.sha256("\0".join(t.event for t in told).encode()).hexdigest()[:32],
        title=_title(told, severity, language),
        text="\n\n".join(blocks),
        severity=severity,
        at=at,
        sender=sender,
        told=tuple(told),
    )


def trial_message(channel: str, language: str, sender: str, at: datetime) -> Message:
    """Return the message of the test button."""
    text = [_say("test.body", language), _say("line.from", language, sender=sender)]
    return Message(
        key=hashlib.sha256(f"test\0{channel}\0{at.isoformat()}".encode()).hexdigest()[:32],
        title=_say("test.title", language, channel=channel),
        text="\n\n".join(text),
        severity=None,
        at=at,
        sender=sender,
    )


def _title(told: Sequence[Told], severity: AlertSeverity | None, language: str) -> str:
    word = _say(f"word.{severity or 'resolved'}", language)
    subjects = list(dict.fromkeys(str(each.alert["subject"]["name"]) for each in told))
    if len(told) == 1:
        title = told[0].alert["title"]
        return _say("title.one", language, word=word, subject=subjects[0], title=title)
    more = ", …" if len(subjects) > _SUBJECTS_IN_TITLE else ""
    names = ", ".join(subjects[:_SUBJECTS_IN_TITLE]) + more
    return _say("title.many", language, word=word, count=len(told), subjects=names)


def _block(told: Told, language: str) -> str:
    alert = told.alert
    over = told.kind is AlertEventKind.RESOLVED
    state = "resolved" if over else str(alert["severity"])
    word = _say(f"word.{state}", language)
    lines = [f"{_SHAPES[state]} {word} {alert['subject']['name']}: {alert['title']}"]
    lines.append(str(alert["message"]))
    if over:
        until, ending = _clock(alert["resolved_at"]), alert["ending"]
        since = _clock(alert["since"])
        lines.append(_say("line.over", language, since=since, until=until, ending=ending))
    else:
        kind = _say(f"kind.{told.kind}", language)
        lines.append(_say("line.since", language, since=_clock(alert["since"]), kind=kind))
        lines += [f"→ {advice}" for advice in alert["advice"]]
    if members := alert["members"]:
        more = " …" if len(members) > _MEMBERS_IN_TEXT else ""
        names = ", ".join(members[:_MEMBERS_IN_TEXT]) + more
        lines.append(_say("line.members", language, members=names))
    return "\n".join(lines)


def _clock(iso: object) -> str:
    """Return a time of the API for people: UTC, whole seconds."""
    return datetime.fromisoformat(str(iso)).strftime("%Y-%m-%d %H:%M:%SZ")


def _say(code: str, language: str, **params: object) -> str:
    return sentence(_PACKAGE, code, params, language)
