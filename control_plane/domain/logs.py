"""Values of log reading; names are the design document's."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


class LogLevel(enum.StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"

    rank: int
    """0 for the lowest; a plain attribute, as it is asked for each line."""

    def __init__(self, _: str) -> None:
        self.rank = len(self.__class__.__members__)


class ErrorSeverity(enum.StrEnum):
    """How much an error line matters; the words of alerts."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of a log; ``timestamp`` is ``None`` when the line carries none that can be read."""

    timestamp: datetime | None
    level: LogLevel
    process_name: str
    message: str
    source_file: str | None = None
    line_number: int | None = None
    exception_info: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """What an error line says, so that equal errors can be told from different ones.

    ``fingerprint`` is the same for errors that differ only in numbers, addresses and the like;
    ``suggested_action`` is a code of the catalogue, ``recommendation.CODE``.
    """

    error_type: str
    error_message: str
    timestamp: datetime | None
    process_name: str
    severity: ErrorSeverity
    context: Mapping[str, object]
    suggested_action: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Equal errors: how many, when the first and the last, and the last one itself."""

    newest: ErrorInfo
    count: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which lines are wanted; what is empty or ``None`` asks nothing.

    Attributes:
        level: The lowest level.
        text: Part of the line or of what is shown of it; upper and lower case are one.
        regex: In RE2's syntax, so that its time grows with the line only.
        start, end: The time of the line, from ``start`` on and before ``end``. A line without a
            time has that of the line before it.
        stream: ``stdout`` or ``stderr``, where a line names its stream in the field ``stream``;
            lines that do not are of ``stdout``, the file that supervisord writes both to.
        process_names: Only these processes.
    """

    level: LogLevel = LogLevel.DEBUG
    text: str = ""
    regex: str = ""
    start: datetime | None = None
    end: datetime | None = None
    stream: str = ""
    process_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Bytes of a log, the offset behind them, and the size of the file they are in.

    ``lost``: the place that was asked for is in no file any more; these are the first bytes of the
    newest one. ``files``: inode and size of all files of the log, the oldest first, if they were
    asked for; empty if the node does not tell.
    """

    inode: int
    offset: int
    size: int
    data: bytes
    lost: bool = False
    files: tuple[tuple[int, int], ...] = ()
