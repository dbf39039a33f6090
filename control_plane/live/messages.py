"""Every frame that the server sends, as types; the AsyncAPI document and the checks of tests are
made from them."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from control_plane.live.requests import RequestId
from control_plane.live.topics import Topic, TopicKind

ErrorCode = Literal[
    "bad_request", "unknown_topic", "forbidden", "rate_limited", "too_many_subs", "unknown_process"
]
Kind = tuple[str, str | None, str | None]
"""Type, event or kind, and topic of a message."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Limits(_Message):
    """What a client may do: messages a second and at once, subscriptions, bytes of a message."""

    msg_per_s: int
    burst: int
    subs: int
    frame: int


class Times(_Message):
    """What time it is, and when the plant was last seen; ``None`` before the first look."""

    time: str
    observed_at: str | None = None


class ServerHello(Times):
    """The first frame. Another ``epoch`` than before: numbers begin anew."""

    type: Literal["connection_status"]
    event: Literal["hello"]
    proto: Literal[1]
    epoch: str
    user: str
    role: str
    topics: list[str]
    heartbeat_s: float
    server: str = ""
    limits: Limits | None = None


class Heartbeat(Times):
    """The server is there, and this is when it last saw the plant."""

    type: Literal["connection_status"]
    event: Literal["heartbeat"]


class Ack(_Message):
    """A request was done. Of a subscription: its name in frames, and up to where it has been told;
    ``recovered``: what was missed follows, else a snapshot."""

    id: RequestId | None
    type: Literal["ack"]
    ok: Literal[True]
    topic: str | None = None
    sub: str | None = None
    epoch: str | None = None
    seq: int | None = None
    recovered: bool | None = None


class Error(_Message):
    """A request was refused; not before ``retry_ms`` it may be granted."""

    id: RequestId | None
    type: Literal["error"]
    ok: Literal[False]
    code: ErrorCode | str
    message: str
    retry_ms: Annotated[int, Field(ge=0)] | None = None


class Pong(Times):
    """The answer to a ping, with its ``t``."""

    id: RequestId | None
    type: Literal["pong"]
    t: float | int | None = None


class Removed(_Message):
    """``name`` exists no more."""

    name: str
    removed: Literal[True]


_OWN: Final[Mapping[Kind, type[BaseModel]]] = {
    ("connection_status", "hello", None): ServerHello,
    ("connection_status", "heartbeat", None): Heartbeat,
    ("ack", None, None): Ack,
    ("error", None, None): Error,
    ("pong", None, None): Pong,
}


def message_types(topics: Mapping[str, Topic]) -> dict[Kind, type[BaseModel]]:
    """Return the type of every message that a hub with these topics sends."""
    found = dict(_OWN)
    for name, topic in topics.items():
        data: Any = topic.data
        words = "".join(word.capitalize() for word in topic.type.split("_"))
        base: dict[str, Any] = {
            "type": (Literal[topic.type], ...),
            "topic": (Literal[name], ...),
            "sub": (str, ...),
            "seq": (int, ...),
            "ts": (Annotated[int, Field(description="Milliseconds since 1970.")], ...),
        }
        snapshot = base | {"kind": (Literal["snapshot"], ...), "data": (list[data], ...)}
        is_stream = topic.kind is TopicKind.STREAM
        delta = base | {
            "kind": (Literal["delta"], ...),
            "prev": (Annotated[int, Field(description="Number before it, of this sub.")], ...),
            "data": (data if is_stream else data | Removed, ...),
        }
        if is_stream:
            delta["skipped"] = (Annotated[int, Field(description="Lost just before.")], 0)
        for kind, fields in (("snapshot", snapshot), ("delta", delta)):
            model = create_model(f"{words}{kind.capitalize()}", __base__=_Message, **fields)
            found[topic.type, kind, name] = model
    return found


class FrameCheck:
    """Judges frames by what the AsyncAPI document says of them; for tests."""

    def __init__(self, topics: Mapping[str, Topic]) -> None:
        self._adapters = {
            kind: TypeAdapter[Any](model) for kind, model in message_types(topics).items()
        }

    def __call__(self, text: str) -> None:
        """Raises ValueError: no such message, or not as described."""
        frame = json.loads(text)
        kind = (frame["type"], frame.get("event") or frame.get("kind"), frame.get("topic"))
        adapter = self._adapters.get(kind) or self._adapters.get((frame["type"], None, None))
        if adapter is None:
            raise ValueError(f"no message is described as {kind}")
        adapter.validate_python(frame)
