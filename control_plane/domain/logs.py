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
class LogChunk:
    """Bytes of a log, the offset behind them, and the size of the file they are in.

    ``lost``: the place that was asked for is in no file any more; these are the first bytes of the
    newest one.
    """

    inode: int
    offset: int
    size: int
    data: bytes
    lost: bool = False
