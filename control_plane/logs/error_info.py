"""What an error line is about: its kind, what to do, and which other lines say the same."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from control_plane.domain.logs import ErrorGroup, ErrorInfo, ErrorSeverity, LogEntry, LogLevel

MAX_GROUPS: Final = 1000
_MOST_CHARS: Final = 300
_EXCEPTION_LINE = re.compile(r"^([A-Za-z_][\w.]{0,200}?)(?:: (.*))?$")
# What differs from one occurrence to the next, the longest forms first.
_VARIABLE = re.compile(
    r"0[xX][0-9a-fA-F]+"
    r"|\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
    r"|\b(?=[a-fA-F]*[0-9])[0-9a-fA-F]{6,}\b"
    r"|\d+(?:[.:,T-]\d+)*"
)
# From the words of an error to the code of what to do; the first that fits counts.
_ACTIONS: Final = tuple(
    (re.compile(words, re.IGNORECASE), action)
    for words, action in (
        (
            r"config|toml|validation|permission denied|no such file|certificate|modulenotfound"
            r"|importerror|password|not ?authori[sz]ed|access ?denied|badidentity|badusera",
            "fix_config",
        ),
        (
            r"timed? ?out|timeout|unreachable|refused|no route|disconnect|host is down",
            "check_device",
        ),
        (r"connection|broken pipe|reset by peer|session|secure ?channel|socket", "check_device"),
        (r"illegal ?(?:data|function)|badnodeid|bad quality|address|decode", "check_points"),
        (r"overrun|too slow|behind schedule|cycle", "lengthen_interval"),
    )
)


def error_info_of(entry: LogEntry) -> ErrorInfo | None:
    """Return what ``entry`` says if it is an error, ``None`` for lower levels."""
    if entry.level.rank < LogLevel.ERROR.rank:
        return None
    kind, said = _exception_of(entry)
    message = entry.message[:_MOST_CHARS] or said
    action = _action(f"{entry.message[:_MOST_CHARS]} {kind} {said}")
    return ErrorInfo(
        error_type=kind or "LogError",
        error_message=f"{message}: {said}" if said and said not in message else message,
        timestamp=entry.timestamp,
        process_name=entry.process_name,
        severity=_severity(entry.level),
        context=_context(entry),
        suggested_action=action,
        fingerprint=_fingerprint(entry, kind),
    )


def grouped(errors: Iterable[ErrorInfo]) -> list[ErrorGroup]:
    """Count equal errors of one or several processes, given in the order of their lines.

    The one that was last seen comes first; past ``MAX_GROUPS`` kinds the oldest are left out.
    """
    groups: dict[tuple[str, str], ErrorGroup] = {}
    for error in errors:
        key, at = (error.process_name, error.fingerprint), error.timestamp
        known = groups.pop(key, None)
        groups[key] = ErrorGroup(
            newest=error,
            count=known.count + 1 if known else 1,
            first_at=_least(known.first_at, at) if known else at,
            last_at=at or (known.last_at if known else None),
        )
        if len(groups) > MAX_GROUPS:
            del groups[next(iter(groups))]
    return list(reversed(groups.values()))


def error_shape(text: str) -> str:
    """Return ``text`` without what differs from one occurrence to the next."""
    return _VARIABLE.sub("#", text)


def _least(first: datetime | None, second: datetime | None) -> datetime | None:
    known = [at for at in (first, second) if at is not None]
    return min(known, default=None)


def _severity(level: LogLevel) -> ErrorSeverity:
    return ErrorSeverity.CRITICAL if level is LogLevel.CRITICAL else ErrorSeverity.WARNING


def _exception_of(entry: LogEntry) -> tuple[str, str]:
    """Return the class and the message of the last exception of a traceback."""
    for line in reversed((entry.exception_info or "").split("\n")[-200:]):
        if line and not line[0].isspace() and (match := _EXCEPTION_LINE.match(line[:2000])):
            return match[1].rpartition(".")[2], (match[2] or "")[:_MOST_CHARS]
    return "", ""


def _action(text: str) -> str:
    return next((action for words, action in _ACTIONS if words.search(text)), "read_log")


def _context(entry: LogEntry) -> Mapping[str, object]:
    where = {"source_file": entry.source_file, "line_number": entry.line_number}
    return {**entry.fields, **{key: value for key, value in where.items() if value is not None}}


def _fingerprint(entry: LogEntry, kind: str) -> str:
    # The line number is left out: a new version of a program must not make new errors of old ones.
    parts = (entry.source_file or "", kind, error_shape(entry.message[:_MOST_CHARS]))
    text = "\x00".join(parts).encode("utf-8", errors="replace")
    return hashlib.sha256(text).hexdigest()[:16]
