"""One line of a log file becomes a :class:`LogEntry`; any bytes give one, nothing raises."""

import json
import math
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
_MAX_DEPTH = 16
_MAX_LINE_NUMBER_DIGITS = 9
# C0 and C1 control characters but tab; they would move a terminal's cursor or colour a page.
# Lone surrogates, which JSON can escape, have no UTF-8 form.
_CONTROL = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def parse_line(line: bytes, process: str) -> LogEntry:
    """Read a JSON line as :mod:`collectors.contract.log_format` writes it, or any other text.

    The entry can always be written as JSON in UTF-8.
    """
    text = line[:MAX_LINE_BYTES].decode("utf-8", errors="replace").rstrip("\r\n")
    if text.startswith("{"):
        try:
            return _from_fields(json.loads(text), process)
        except (ValueError, RecursionError):
            pass  # Not JSON, or nested too deeply to be one of ours: plain text.
    word = _LEVEL_WORD.search(text)
    return LogEntry(
        timestamp=None,
        level=_level(word[1] if word else "INFO"),
        process_name=process,
        message=visible(text),
    )


def visible(text: str) -> str:
    """Return ``text`` with every control character written as ``\\xNN`` or ``\\uNNNN``."""
    return _CONTROL.sub(lambda m: _escape(ord(m[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _from_fields(parsed: Mapping[str, object], process: str) -> LogEntry:
    file, _, number = str(parsed.get("source", "")).rpartition(":")
    exception = parsed.get("exception")
    return LogEntry(
        timestamp=_timestamp(parsed.get("ts")),
        level=_level(str(parsed.get("level", "INFO")).upper()),
        process_name=process,
        message=visible(str(parsed.get("event", ""))),
        source_file=visible(file) or None,
        line_number=_line_number(number),
        exception_info=None if exception is None else _lines(str(exception)),
        fields={visible(k): _safe(v) for k, v in parsed.items() if k not in _OWN_FIELDS},
    )


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))


def _line_number(text: str) -> int | None:
    valid = text.isascii() and text.isdecimal() and len(text) <= _MAX_LINE_NUMBER_DIGITS
    return int(text) if valid else None


def _safe(value: object, depth: int = 0) -> object:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # Python reads NaN and Infinity; JSON has neither.
    if isinstance(value, dict | list) and depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {visible(key): _safe(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_safe(inner, depth + 1) for inner in value]
    return value


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
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # The latter: UTC would be before year 1 or after 9999.
        return None
