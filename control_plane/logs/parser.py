"""One entry of a log file becomes a :class:`LogEntry`; any bytes give one, nothing raises."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from control_plane.domain.logs import LogEntry, LogLevel
from control_plane.logs.plain_formats import parse_plain

MAX_LINE_BYTES: Final = 1 << 20
MAX_SHOWN_CHARS: Final = 8192
"""What is longer is cut, with a mark that says so."""

_LEVELS: Final = {
    **{level.value: level for level in LogLevel},
    **dict.fromkeys(("TRACE", "FINE", "BLATHER", "VERBOSE", "10"), LogLevel.DEBUG),
    **dict.fromkeys(("NOTICE", "20", "INFORMATION"), LogLevel.INFO),
    **dict.fromkeys(("WARN", "30"), LogLevel.WARNING),
    **dict.fromkeys(("ERR", "ERRO", "40", "SEVERE"), LogLevel.ERROR),
    **dict.fromkeys(("CRIT", "FATAL", "PANIC", "ALERT", "EMERG", "50", "60"), LogLevel.CRITICAL),
}
# The names that loggers of other programs give to the same things; ours come first.
_TIME_KEYS: Final = ("ts", "timestamp", "time", "@timestamp", "asctime")
_LEVEL_KEYS: Final = ("level", "levelname", "severity", "lvl")
_TEXT_KEYS: Final = ("event", "message", "msg")
_ERROR_KEYS: Final = ("exception", "exc_info", "traceback", "stack")
_KEYS: Final = (_TIME_KEYS, _LEVEL_KEYS, _TEXT_KEYS, _ERROR_KEYS)
_OWN_FIELDS: Final = frozenset({"ts", "level", "process", "event", "source", "exception"})
_MAX_DEPTH: Final = 16
_SCALARS: Final = frozenset({str, int, bool, type(None)})
_DECODER: Final = json.JSONDecoder()
_MAX_LINE_NUMBER_DIGITS: Final = 9
_SECONDS_OF_MS: Final = 1e11
"""A number above it counts milliseconds: as seconds it would lie after the year 5000."""
# C0 and C1 control characters but tab; they would move a terminal's cursor or colour a page.
# Lone surrogates, which JSON can escape, have no UTF-8 form.
_CONTROL = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def parse_line(line: bytes, process: str) -> LogEntry:
    """Read a JSON line as :mod:`collectors.contract.log_format` writes it, or any other text.

    ``line`` may hold further lines that belong to it, a traceback say. The entry can always be
    written as JSON in UTF-8.
    """
    text = line[:MAX_LINE_BYTES].decode("utf-8", errors="replace").rstrip("\r\n")
    if text[:1] == "{":
        first, _, more = text.partition("\n")
        try:
            return _from_fields(first, process, more)
        except (ValueError, RecursionError):
            pass  # Not JSON, or nested too deeply to be one of ours: plain text.
    plain = parse_plain(text)
    return LogEntry(
        timestamp=plain.timestamp,
        level=level_named(plain.level),
        process_name=process,
        message=_shown(plain.message),
        source_file=_shown(plain.source_file) or None,
        line_number=_line_number(plain.line_number),
        exception_info=_lines(plain.exception) if plain.exception else None,
        fields={"logger": _shown(plain.logger)} if plain.logger else {},
    )


def visible(text: str) -> str:
    """Return ``text`` with every control character written as ``\\xNN`` or ``\\uNNNN``."""
    if text.isprintable():  # None of the characters below is.
        return text
    return _CONTROL.sub(lambda m: _escape(ord(m[0])), text)


def level_named(word: str) -> LogLevel:
    """Return the level that a word or number means in any usual logger; else ``INFO``."""
    return _LEVELS.get(word) or _LEVELS.get(word.upper(), LogLevel.INFO)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _from_fields(text: str, process: str, more: str) -> LogEntry:
    parsed, end = _DECODER.raw_decode(text)
    if text[end:].strip():
        raise ValueError
    # Of a line without control characters, escapes and length every part is without them.
    is_plain = len(text) <= MAX_SHOWN_CHARS and "\\" not in text and text.isprintable()
    taken = _OWN_FIELDS
    found: list[object] = []
    for keys in _KEYS:
        key, value = _first(parsed, keys)
        if key not in taken:
            taken |= {key}
        found.append(value)
    at, level, message, exception = found
    file, _, number = str(parsed.get("source", "")).rpartition(":")
    said = "" if message is None else str(message)
    return LogEntry(
        timestamp=_timestamp(at),
        level=level_named("INFO" if level is None else str(level)),
        process_name=process,
        message=said if is_plain else _shown(said),
        source_file=(file if is_plain else _shown(file)) or None,
        line_number=_line_number(number),
        exception_info=_trace(exception, more),
        fields={
            key if is_plain else visible(key): value
            if is_plain and type(value) in _SCALARS
            else _safe(value)
            for key, value in parsed.items()
            if key not in taken
        },
    )


def _first(parsed: Mapping[str, object], keys: tuple[str, ...]) -> tuple[str, object]:
    for key in keys:
        value = parsed.get(key)
        if value is not None:
            return key, value
    return keys[0], None


def _trace(exception: object, more: str) -> str | None:
    if exception is None:
        return _lines(more) if more else None
    return _lines("\n".join(part for part in (str(exception), more) if part))


def _shown(text: str) -> str:
    if len(text) <= MAX_SHOWN_CHARS:
        return visible(text)
    return visible(text[:MAX_SHOWN_CHARS]) + f" … [+{len(text) - MAX_SHOWN_CHARS}]"


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in _cut_lines(text).split("\n"))


def _cut_lines(text: str) -> str:
    """Keep the beginning and the end of a long traceback: the end names the error."""
    if len(text) <= MAX_SHOWN_CHARS:
        return text
    half = MAX_SHOWN_CHARS // 2
    return f"{text[:half]}\n… [+{len(text) - 2 * half}]\n{text[-half:]}"


def _line_number(text: str) -> int | None:
    valid = text.isascii() and text.isdecimal() and len(text) <= _MAX_LINE_NUMBER_DIGITS
    return int(text) if valid else None


def _safe(value: object, depth: int = 0) -> object:
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # Python reads NaN and Infinity; JSON has neither.
    if isinstance(value, dict | list) and depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {visible(key): _safe(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_safe(inner, depth + 1) for inner in value]
    return value


def _timestamp(value: object) -> datetime | None:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if value > _SECONDS_OF_MS else value
            return datetime.fromtimestamp(seconds, UTC)
        at = datetime.fromisoformat(value if type(value) is str else str(value))
        if at.tzinfo is UTC:
            return at
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):  # Among them: UTC before year 1 or after 9999.
        return None
