"""One line of a log file becomes a :class:`LogEntry`; any bytes give one, nothing raises."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from control_plane.domain.logs import LogEntry, LogLevel

MAX_LINE_BYTES = 64 * 1024
_LEVEL_WORD = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERRO?R?|CRIT(?:ICAL)?|FATAL)\b")
_LEVELS = {
    "WARN": LogLevel.WARNING,
    "ERR": LogLevel.ERROR,
    "ERRO": LogLevel.ERROR,
    "CRIT": LogLevel.CRITICAL,
    "FATAL": LogLevel.CRITICAL,
}
_OWN_FIELDS = frozenset({"ts", "level", "process", "event", "source", "exception"})
# C0 and C1 control characters but tab; they would move a terminal's cursor or colour a page.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def parse_line(line: bytes, process: str) -> LogEntry:
    """Read a JSON line as :mod:`collectors.contract.log_format` writes it, or any other text."""
    text = line[:MAX_LINE_BYTES].decode("utf-8", errors="replace").rstrip("\r\n")
    if text.startswith("{"):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, dict):
            return _from_fields(parsed, process)
    word = _LEVEL_WORD.search(text)
    return LogEntry(
        timestamp=None,
        level=_level(word[1] if word else "INFO"),
        process_name=process,
        message=visible(text),
    )


def visible(text: str) -> str:
    """Return ``text`` with every control character written as ``\\xNN``."""
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}", text)


def _from_fields(parsed: Mapping[str, object], process: str) -> LogEntry:
    file, _, number = str(parsed.get("source", "")).rpartition(":")
    exception = parsed.get("exception")
    return LogEntry(
        timestamp=_timestamp(parsed.get("ts")),
        level=_level(str(parsed.get("level", "INFO")).upper()),
        process_name=process,
        message=visible(str(parsed.get("event", ""))),
        source_file=visible(file) or None,
        line_number=int(number) if number.isdecimal() and number.isascii() else None,
        exception_info=None if exception is None else _lines(str(exception)),
        fields={visible(k): _safe(v) for k, v in parsed.items() if k not in _OWN_FIELDS},
    )


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))


def _safe(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


def _level(word: str) -> LogLevel:
    if word in _LEVELS:
        return _LEVELS[word]
    try:
        return LogLevel(word)
    except ValueError:
        return LogLevel.INFO


def _timestamp(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
