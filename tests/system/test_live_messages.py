"""What a real installation says on the live channel is what its AsyncAPI document promises."""

import contextlib
import json
import time
from typing import Any

import pytest
from installation import Installation
from simple_websocket import Client

from control_plane.live.messages import FrameCheck
from control_plane.live.topics import TOPICS
from control_plane.log_streams import TOPIC as LOG_STREAMS

pytestmark = pytest.mark.supervisord
ALL = {**TOPICS, LOG_STREAMS.name: LOG_STREAMS}
WANTED = {
    ("process_status", "delta"),
    ("performance", "delta"),
    *((name, "snapshot") for name in ALL),
    ("log_streams", "delta"),
}


def listen(demo: Installation, deadline_s: float) -> list[dict[str, Any]]:
    """Return every message until each kind that is wanted was among them."""
    ws = Client(
        f"ws://127.0.0.1:{demo.port}/ws",
        subprotocols=["daq.v1"],
        headers={"Authorization": f"Bearer {demo.token}"},
    )
    found: list[dict[str, Any]] = []
    missing = set(WANTED)
    with contextlib.closing(ws):
        for number, name in enumerate(ALL):
            wanted = {"filter": {"name": "demo-modbus"}, "tail": 5} if "log" in name else {}
            ask = {"id": number, "op": "subscribe", "topic": name, **wanted}
            ws.send(json.dumps(ask))
        ws.send(json.dumps({"id": "ping", "op": "ping", "t": 1.5}))
        deadline = time.monotonic() + deadline_s
        while missing:
            assert time.monotonic() < deadline, missing
            text = ws.receive(timeout=deadline_s)
            FrameCheck(ALL)(text)
            found.append(json.loads(text))
            missing.discard((found[-1].get("topic"), found[-1].get("kind")))
    return found


def test_every_message_of_an_installation_is_as_described(demo: Installation) -> None:
    document = demo.request("/api/v1/asyncapi.json")
    assert document["asyncapi"] == "3.0.0"
    frames = listen(demo, 30.0)
    assert {frame["type"] for frame in frames} >= {"connection_status", "ack", "pong"}
    assert not [frame for frame in frames if frame["type"] == "error"]
    statuses = next(f for f in frames if f.get("topic") == "process_status" and "data" in f)
    assert {each["name"] for each in statuses["data"]} >= {"demo-modbus", "demo-opcua"}
