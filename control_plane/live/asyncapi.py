"""The live channel as an AsyncAPI 3.0 document, made from the types of its messages."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic.json_schema import models_json_schema

from control_plane.live.limits import MAX_FRAME_BYTES
from control_plane.live.messages import message_types
from control_plane.live.requests import Request
from control_plane.live.topics import Topic

_DESCRIPTION = (
    "What the panel shows, as it changes. docs/live.md tells the same in words. A frame is one "
    "message, or an array of messages if the client asked for `batch`. Frames of a client have at "
    f"most {MAX_FRAME_BYTES} bytes."
)
_CLOSE_CODES = {
    1001: "the server stops; the reason is JSON with retry_ms",
    1002: "not the WebSocket protocol",
    1007: "text that is no UTF-8",
    1008: "two pings without an answer",
    1009: "a message that is too long",
    1011: "an error of the server",
    4400: "frames that make no sense",
    4401: "the session or token ended",
    4403: "the role changed",
    4408: "nothing said in time",
    4413: "takes nothing of what is sent",
    4429: "too many messages",
}


def asyncapi_document(topics: Mapping[str, Topic], version: str) -> dict[str, Any]:
    """Return the description of a hub with these topics."""
    sent = list(message_types(topics).values())
    received: list[Any] = list(get_args(Request))
    models = [*sent, *received]
    _, schemas = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
    )
    messages = {
        model.__name__: {
            "name": model.__name__,
            "summary": (model.__doc__ or "").strip().split("\n")[0],
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        }
        for model in models
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "daqplane live channel", "version": version, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            "live": {
                "address": "/ws",
                "messages": {n: {"$ref": f"#/components/messages/{n}"} for n in messages},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
                "x-subprotocol": "daq.v1",
                "x-close-codes": {str(code): why for code, why in _CLOSE_CODES.items()},
            }
        },
        "operations": {
            "tell": _operation("send", "What the server says.", sent),
            "ask": _operation("receive", "What a client says.", received),
        },
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


def _operation(action: str, summary: str, models: list[Any]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/live"},
        "messages": [{"$ref": f"#/channels/live/messages/{m.__name__}"} for m in models],
    }
