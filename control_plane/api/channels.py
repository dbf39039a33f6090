"""Channels by which alerts are told, what they sent lately, and their test button."""

from datetime import datetime
from typing import Annotated

from flask import Blueprint
from pydantic import BaseModel, Field

from control_plane.api.endpoint import endpoint
from control_plane.api.errors import language_of_request
from control_plane.api.parsing import Query
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.alerts import AlertSeverity
from control_plane.errors import NotifyFailed, UnknownChannel
from control_plane.notify.notifier import ChannelState


class ChannelView(BaseModel):
    """``target`` is where it sends to, without secrets; ``last_error`` is of the newest attempt."""

    name: str
    kind: str
    enabled: bool
    min_severity: AlertSeverity
    delay_s: float
    group_s: float
    language: str
    target: str
    queued: int
    last_error: str | None


class ChannelList(BaseModel):
    channels: list[ChannelView]
    problems: list[str]


class NoticeQuery(Query):
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class NoticeView(BaseModel):
    id: int
    alert_id: int
    kind: str
    state: str
    attempts: int
    due: datetime
    ended: datetime | None
    error: str


class NoticeList(BaseModel):
    notices: list[NoticeView]


class ChannelTest(BaseModel):
    channel: str
    target: str
    duration_ms: float


def channels_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/channels``; no answer holds a secret."""
    blueprint = Blueprint("channels", __name__, url_prefix="/api/v1/channels")
    notifier = plane.alerts.notifier

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def list_channels() -> ChannelList:
        """List the channels and what is wrong in their file."""
        language = language_of_request()
        return ChannelList(
            channels=[_view(state) for state in notifier.states()],
            problems=[problem.text(language) for problem in notifier.problems],
        )

    @blueprint.get("/<name>/notices")
    @endpoint(Permission.VIEW, errors=(UnknownChannel,))
    def notices(name: str, query: NoticeQuery) -> NoticeList:
        """List the newest notices and what became of them, newest first."""
        if name not in {state.channel.name for state in notifier.states()}:
            raise UnknownChannel(name=name)
        found = plane.alerts.queue.latest(name, query.limit)
        return NoticeList(
            notices=[
                NoticeView(
                    id=notice.id,
                    alert_id=notice.alert_id,
                    kind=notice.kind,
                    state=notice.state,
                    attempts=notice.attempts,
                    due=notice.due,
                    ended=notice.ended,
                    error=notice.error,
                )
                for notice in found
            ]
        )

    @blueprint.post("/<name>/test")
    @endpoint(Permission.COMMAND, errors=(UnknownChannel, NotifyFailed))
    def test(name: str, actor: Actor) -> ChannelTest:
        """Send a test message at once; 502 has the other side's own words if that fails."""
        clock = plane.console.clock
        began_mono = clock.monotonic()
        channel = plane.alerts.commands.try_channel(actor, name)
        duration_ms = round((clock.monotonic() - began_mono) * 1000, 1)
        return ChannelTest(channel=name, target=channel.target, duration_ms=duration_ms)

    return blueprint


def _view(state: ChannelState) -> ChannelView:
    entry = state.channel.entry
    return ChannelView(
        name=entry.name,
        kind=entry.kind,
        enabled=entry.enabled,
        min_severity=AlertSeverity(entry.min_severity),
        delay_s=entry.delay_s,
        group_s=entry.group_s,
        language=entry.language,
        target=state.channel.target,
        queued=state.queued,
        last_error=state.last_error,
    )
