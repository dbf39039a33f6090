"""Channels by which alerts are told, what they sent lately, and their test button."""

from flask import Blueprint, Response, jsonify

from control_plane.api.errors import language_of_request
from control_plane.api.identity import actor_with
from control_plane.api.parameters import whole_number
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.errors import UnknownChannel
from control_plane.notify.notifier import ChannelState

_MAX_LOG = 500


def channels_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/channels``; no answer holds a secret."""
    blueprint = Blueprint("channels", __name__, url_prefix="/api/v1/channels")
    notifier = plane.alerts.notifier

    @blueprint.get("")
    def list_channels() -> Response:
        actor_with(Permission.VIEW)
        language = language_of_request()
        return jsonify(
            channels=[_json(state) for state in notifier.states()],
            problems=[problem.text(language) for problem in notifier.problems],
        )

    @blueprint.get("/<name>/notices")
    def notices(name: str) -> Response:
        """The newest notices and what became of them, newest first."""
        actor_with(Permission.VIEW)
        if name not in {state.channel.name for state in notifier.states()}:
            raise UnknownChannel(name=name)
        found = plane.alerts.queue.latest(name, whole_number("limit", 50, _MAX_LOG))
        return jsonify(
            notices=[
                {
                    "id": notice.id,
                    "alert_id": notice.alert_id,
                    "kind": notice.kind,
                    "state": notice.state,
                    "attempts": notice.attempts,
                    "due": _iso(notice.due.isoformat()),
                    "ended": _iso(notice.ended.isoformat()) if notice.ended else None,
                    "error": notice.error,
                }
                for notice in found
            ]
        )

    @blueprint.post("/<name>/test")
    def test(name: str) -> Response:
        """Sends at once; 502 with the other side's own words if that fails."""
        actor, clock = actor_with(Permission.VIEW), plane.console.clock
        began_mono = clock.monotonic()
        channel = plane.alerts.commands.try_channel(actor, name)
        duration_ms = round((clock.monotonic() - began_mono) * 1000, 1)
        return jsonify(channel=name, target=channel.target, duration_ms=duration_ms)

    return blueprint


def _json(state: ChannelState) -> dict[str, object]:
    entry = state.channel.entry
    return {
        "name": entry.name,
        "kind": entry.kind,
        "enabled": entry.enabled,
        "min_severity": entry.min_severity,
        "delay_s": entry.delay_s,
        "group_s": entry.group_s,
        "language": entry.language,
        "target": state.channel.target,
        "queued": state.queued,
        "last_error": state.last_error,
    }


def _iso(text: str) -> str:
    return text.replace("+00:00", "Z")
