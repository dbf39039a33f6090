"""The live channel's topic ``log_streams``: lines of logs as they are written.

A subscription's ``filter``::

    {"name": ["line1", "line2"], "level": "WARNING", "text": "pump", "regex": "no answer|reset",
     "stream": "stderr", "after": {"line1": "CURSOR"}}

Only ``name`` is needed. Each message tells of one process: ``entries`` as the API shows them,
``skipped`` (lines that were left out since the message before, as more came than one listener
gets), ``reset`` (the place was lost: there are lines before these that nobody counted), and
``cursor``, from where ``after`` goes on. The first message of a process has the newest ``tail``
entries, and ``older``: the API's search goes on backwards ``before`` it.
"""

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.auditor import Auditor
from control_plane.auth.permissions import Actor, Role
from control_plane.domain.logs import LogEntry, LogFilter, LogLevel
from control_plane.domain.node import LOCAL_NODE, program_and_node
from control_plane.errors import BadRequest, StorageError, UnknownProcess
from control_plane.live.connection import Visitor
from control_plane.live.streams import Sink
from control_plane.live.topics import Topic, TopicKind
from control_plane.logs.follower import Cursor
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.processor import LogProcessor
from control_plane.logs.redaction import Redactor
from control_plane.logs.tailing import LogTailer
from control_plane.logs.watch import Watch
from control_plane.outages import Outages
from control_plane.program_logs import ProgramLogs

log = logging.getLogger(__name__)

MAX_NAMES: Final = 32
_MAX_WAITING: Final = 1000
_SAME_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedLine(LogEntry):
    """A line and where it stands."""

    cursor: str


class LogStreamData(BaseModel):
    """What was written to one log, or left out of it."""

    process: str
    entries: list[StreamedLine]
    skipped: int
    reset: bool
    cursor: str
    older: str | None = None


TOPIC: Final = Topic(
    name="log_streams", type="log_stream", kind=TopicKind.STREAM, data=LogStreamData
)

_Name = Annotated[str, Field(min_length=1, max_length=64)]


class _Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: _Name | Annotated[list[_Name], Field(min_length=1, max_length=MAX_NAMES)]
    level: LogLevel = LogLevel.DEBUG
    text: str = ""
    regex: str = ""
    stream: Literal["", "stdout", "stderr"] = ""
    after: dict[_Name, Annotated[str, Field(max_length=64)]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A subscription without what makes no difference; equal ones share their messages."""

    names: tuple[str, ...]
    asked: LogFilter
    tail: int
    after: tuple[tuple[str, Cursor], ...]


class LogStreams:
    """A :class:`control_plane.live.streams.Stream`; ``is_known`` tells which logs there are."""

    topic = TOPIC

    def __init__(self, logs: ProgramLogs, is_known: Callable[[str], bool]) -> None:
        self._is_known = is_known
        self._tailer = LogTailer(
            logs,
            LogProcessor(logs.secrets.redactor),
            node_of=lambda name: program_and_node(name)[1],
            local_node=LOCAL_NODE,
        )

    def normal_form(self, wanted: Mapping[str, object], tail: int) -> Wanted:
        """Raises BadRequest."""
        try:
            found = _Filter.model_validate(wanted)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "filter"
            raise BadRequest(reason=f"filter: {where}: {first['msg']}") from None
        names = [found.name] if isinstance(found.name, str) else found.name
        asked = LogFilter(
            level=found.level, text=found.text, regex=found.regex, stream=found.stream
        )
        LineFilter(asked)  # A pattern that cannot be used is refused before it is opened.
        return Wanted(
            names=tuple(sorted(set(names))),
            asked=asked,
            tail=tail,
            after=tuple(sorted((n, Cursor.parse(text)) for n, text in found.after.items())),
        )

    def open(self, wanted: Hashable, sink: Sink) -> Watch:
        """Raises UnknownProcess."""
        assert isinstance(wanted, Wanted)
        for name in wanted.names:
            if not self._is_known(name):
                raise UnknownProcess(name=name)
        one_at_a_time = threading.Lock()

        def send(data: dict[str, object], lines: int) -> None:
            # The logs of each node are read in a thread of their own.
            with one_at_a_time:
                sink.send(data, lines)

        return self._tailer.watch(
            wanted.names, wanted.asked, send, tail=wanted.tail, after=dict(wanted.after)
        )

    def stop(self) -> None:
        """End all threads."""
        self._tailer.stop()


class LogListeners:
    """Writes down who watches which logs, in a thread of its own, as a database may take its time.

    Whoever asks for the same again within ``_SAME_S``, after a reconnect say, is noted once.
    """

    def __init__(self, audit: Auditor, redactor: Callable[[], Redactor]) -> None:
        self._audit = audit
        self._redactor = redactor
        self._outages = Outages(log)
        self._noted_mono: dict[Hashable, float] = {}
        self._waiting: queue.Queue[tuple[Visitor, Wanted] | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="log-listeners")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Note what is left, and end."""
        self._waiting.put(None)
        self._thread.join()

    def note(self, visitor: Visitor, stream: Hashable) -> None:
        """Have it written down, if it is a stream of logs; does not wait."""
        wanted = stream[1] if isinstance(stream, tuple) else None
        if not isinstance(wanted, Wanted):
            return
        try:
            self._waiting.put_nowait((visitor, wanted))
        except queue.Full:
            log.warning("listeners to logs are noted too slowly")

    def _run(self) -> None:
        while (each := self._waiting.get()) is not None:
            visitor, wanted = each
            key, mono = (visitor.user, wanted.names, wanted.asked), time.monotonic()
            self._noted_mono = {k: at for k, at in self._noted_mono.items() if mono - at < _SAME_S}
            if key in self._noted_mono:
                continue
            try:
                self._write(visitor, wanted)
            except StorageError as exc:
                self._outages.failed(exc.code, "audit", "listener to logs cannot be noted")
            except Exception as exc:  # noqa: BLE001 - it is logged by what remembers outages
                # Whatever it was, the next listener must be noted.
                what = type(exc).__name__
                self._outages.failed(what, "audit", "listener to logs cannot be noted", exc)
            else:
                self._outages.works("audit")
                self._noted_mono[key] = mono

    def _write(self, visitor: Visitor, wanted: Wanted) -> None:
        asked = wanted.asked
        facts = {"logs": ", ".join(wanted.names), "level": asked.level.value, "text": asked.text}
        facts |= {"regex": asked.regex, "stream": asked.stream}
        detail = json.dumps({k: v for k, v in facts.items() if v}, ensure_ascii=False)
        hidden = self._redactor().line(detail.encode("utf-8", errors="replace"))
        actor = Actor(name=visitor.user, role=Role(visitor.role), origin=visitor.address)
        target = wanted.names[0] if len(wanted.names) == 1 else "several"
        self._audit.note(actor, "log.watch", target, "done", hidden.decode("utf-8", "replace"))
