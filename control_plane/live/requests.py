"""What a client may ask for, in the words of ``daq.v1``."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from control_plane.errors import BadRequest
from control_plane.live.groups import DEFAULT_RATE_MS, MAX_RATE_MS, MIN_RATE_MS

MAX_TAIL: Final = 10_000
_MAX_ID = 2**53 - 1
"""The same number in every language (RFC 8259, 6)."""

RequestId = Annotated[str, Field(max_length=64)] | Annotated[int, Field(ge=-_MAX_ID, le=_MAX_ID)]
TopicName = Annotated[str, Field(max_length=64)]
Seq = Annotated[int, Field(ge=0, le=_MAX_ID)]
Epoch = Annotated[str, Field(max_length=64)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: RequestId | None = None


class Features(BaseModel):
    """How the client wants its frames; ``zip`` asks for ``batch``, too."""

    model_config = ConfigDict(extra="forbid", strict=True)

    batch: bool = False
    zip: bool = False


class Resume(BaseModel):
    """Where the client was when its connection was cut."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epoch: Epoch
    seq: Annotated[dict[TopicName, Seq], Field(max_length=32)]


class Hello(_Request):
    op: Literal["hello"]
    features: Features = Features()
    resume: Resume | None = None


class _Wanted(_Request):
    filter: Annotated[dict[str, object], Field(max_length=16)] = Field(default_factory=dict)
    rate_ms: Annotated[int, Field(ge=MIN_RATE_MS, le=MAX_RATE_MS)] = DEFAULT_RATE_MS
    tail: Annotated[int, Field(ge=0, le=MAX_TAIL)] = 0
    """Of a stream: how much of what is past is wanted."""


class Subscribe(_Wanted):
    op: Literal["subscribe"]
    topic: TopicName
    since: Seq | None = None
    epoch: Epoch | None = None


class Update(_Wanted):
    op: Literal["update"]
    sub: TopicName


class Unsubscribe(_Request):
    op: Literal["unsubscribe"]
    topic: TopicName | None = None
    sub: TopicName | None = None


class Get(_Request):
    op: Literal["get"]
    sub: TopicName


class Ping(_Request):
    op: Literal["ping"]
    t: float | int | None = None


Request = Hello | Subscribe | Update | Unsubscribe | Get | Ping
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="op")])
_PATTERNS: TypeAdapter[list[str]] = TypeAdapter(
    Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=50)]
)
_ID: TypeAdapter[RequestId | None] = TypeAdapter(RequestId | None)


class BadFrame(Exception):
    """A client's frame makes no sense; ``request_id`` is its id if it has a usable one."""

    def __init__(self, request_id: str | int | None, reason: str) -> None:
        self.request_id = request_id
        self.reason = reason
        super().__init__(reason)


def read_request(text: str) -> Request:
    """Raises BadFrame, which says where the mistake is."""
    try:
        return _REQUEST.validate_json(text)
    except ValidationError as exc:
        raise BadFrame(_id_in(text), _reason(exc)) from None


def _id_in(text: str) -> str | int | None:
    """Return the id of a frame that is wrong elsewhere."""
    try:
        found = from_json(text)
        return _ID.validate_python(
            found.get("id") if isinstance(found, dict) else None, strict=True
        )
    except ValueError:
        return None


def _reason(exc: ValidationError) -> str:
    first = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "frame"
    return f"{where}: {first['msg']}"


def patterns_of(wanted: dict[str, object], words: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the normal form of a filter by shell patterns.

    Raises:
        BadRequest: a word that the topic has not, or no list of patterns.
    """
    if unknown := sorted(set(wanted) - set(words)):
        known = ", ".join(words) or "none"
        raise BadRequest(reason=f"filter.{unknown[0]}: this topic has the filters: {known}")
    try:
        return {
            word: tuple(sorted(set(_PATTERNS.validate_python(each))))
            for word, each in sorted(wanted.items())
        }
    except ValidationError as exc:
        raise BadRequest(reason=f"filter: {_reason(exc)}") from None
