"""The AsyncAPI document of the live channel, and the checks that are made from the same types."""

import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from control_plane.alerting.service import live_message
from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertSeverity,
    AlertState,
    Subject,
    SubjectKind,
    fingerprint_of,
)
from control_plane.live.asyncapi import asyncapi_document
from control_plane.live.messages import FrameCheck
from control_plane.live.requests import Request
from control_plane.live.topics import TOPICS
from control_plane.log_streams import TOPIC as LOG_STREAMS

NOW = datetime(2026, 1, 31, tzinfo=UTC)
ALL = {**TOPICS, LOG_STREAMS.name: LOG_STREAMS}


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [each for part in value.values() for each in references(part)]
    if isinstance(value, list):
        return [each for part in value for each in references(part)]
    return []


def test_the_document_describes_every_topic_and_request_and_every_reference_leads_somewhere() -> (
    None
):
    document = json.loads(json.dumps(asyncapi_document(ALL, "1.0")))
    assert document["asyncapi"].startswith("3.")
    names = set(document["components"]["messages"])
    assert {model.__name__ for model in get_args(Request)} <= names
    for topic in ALL.values():
        words = "".join(word.capitalize() for word in topic.type.split("_"))
        assert {f"{words}Snapshot", f"{words}Delta"} <= names
    for reference in references(document):
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_what_is_published_of_alerts_is_as_described() -> None:
    subject = Subject(kind=SubjectKind.NODE, name="local")
    alert = Alert(
        id=1,
        rule="node",
        fingerprint=fingerprint_of("node", subject),
        severity=AlertSeverity.CRITICAL,
        subject=subject,
        state=AlertState.FIRING,
        since=NOW,
        fired_at=NOW,
        last_change=NOW,
        code="alert.live_dropped",
        params={"count": 1},
    )
    event = AlertEvent(kind=AlertEventKind.FIRED, at=NOW, alert=alert)
    data = TypeAdapter(dict[str, object]).dump_python(live_message(event), mode="json")
    frame = {
        "type": "error_alert", "topic": "error_alerts", "sub": "s1", "kind": "delta",
        "seq": 2, "prev": 1, "ts": 1, "data": data,
    }  # fmt: skip
    FrameCheck(ALL)(json.dumps(frame))


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "what"},
        {"type": "pong"},
        {"type": "pong", "id": 1, "time": "?", "more": 1},
        {"type": "error_alert", "topic": "error_alerts", "kind": "delta", "sub": "s1", "seq": 1},
        {
            "type": "performance_metrics",
            "topic": "performance",
            "kind": "snapshot",
            "sub": "s1",
            "seq": 1,
            "ts": 1,
            "data": [{"process_name": 1}],
        },
    ],
)
def test_a_frame_that_is_not_as_described_is_found(frame: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"described|validation"):
        FrameCheck(ALL)(json.dumps(frame))
