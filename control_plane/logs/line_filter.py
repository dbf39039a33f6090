"""Decides which lines of a log are wanted; RE2 keeps any pattern's time linear."""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import re2

from control_plane.domain.logs import LogEntry, LogFilter, LogLevel
from control_plane.errors import BadInput
from control_plane.logs.redaction import MASK

MAX_PATTERN_CHARS: Final = 500
_MAX_MEMORY_BYTES: Final = 16 << 20
# What a line of this level or a higher one holds, in any form that the parser knows.
_LEVEL_WORDS: Final = {
    LogLevel.WARNING: r"warn|err|crit|fatal|severe|panic|alert|emerg|traceback|\b[3-6]0\b",
    LogLevel.ERROR: r"err|crit|fatal|severe|panic|alert|emerg|traceback|\b[4-6]0\b",
    LogLevel.CRITICAL: r"crit|fatal|panic|alert|emerg|\b[56]0\b",
}
_ASSIGNED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)
# With these a pattern may mean something else in many lines than in one.
_ONE_LINE_ONLY = re.compile(r"\\[AzCnpPQ]|\(\?[^:P<]|\[\^")


class LineFilter:
    """A :class:`LogFilter`, compiled.

    Raises:
        BadInput: the pattern is none, or too long.
    """

    def __init__(self, asked: LogFilter) -> None:
        self.asked = asked
        self._text = _compile(_any_of(asked.text), asked.text) if asked.text else None
        self._regex = _compile(f"(?:{asked.regex})", asked.regex) if asked.regex else None
        self.prefilter = self._necessary()
        """What every wanted line holds; ``None``: nothing is known of them."""
        self._lowest_rank = asked.level.rank
        self._is_timed = asked.start is not None or asked.end is not None

    def accepts(self, line: bytes, entry: LogEntry, at: datetime | None) -> bool:
        """Tell whether a line, without its secrets, is wanted; ``at`` is its time if known."""
        asked = self.asked
        if entry.level.rank < self._lowest_rank or (self._is_timed and not self._is_in_time(at)):
            return False
        if asked.stream and entry.fields.get("stream", "stdout") != asked.stream:
            return False
        if asked.process_names and entry.process_name not in asked.process_names:
            return False
        if self._regex is not None and self._regex.search(line) is None:
            return False
        return self._text is None or self._has_text(line, entry)

    def _is_in_time(self, at: datetime | None) -> bool:
        start, end = self.asked.start, self.asked.end
        if at is None:
            return False
        return (start is None or at >= start) and (end is None or at < end)

    def _has_text(self, line: bytes, entry: LogEntry) -> bool:
        if self._text.search(line) is not None:  # type: ignore[union-attr] # asked by accepts
            return True
        if self.prefilter is self._text:
            return False
        return self.asked.text.casefold() in shown(entry).casefold()

    def _necessary(self) -> Any:
        asked = self.asked
        if asked.text and "\\" not in asked.text and MASK.decode() not in asked.text:
            return self._text
        if asked.regex and _ONE_LINE_ONLY.search(asked.regex) is None:
            return self._regex
        words = _LEVEL_WORDS.get(asked.level)
        return _compile(words, words) if words else None


def filter_entries(entries: Iterable[LogEntry], asked: LogFilter) -> list[LogEntry]:
    """Return the wanted entries; text and pattern are looked for in what is shown of them."""
    lines, at, found = LineFilter(asked), None, []
    for entry in entries:
        at = entry.timestamp or at
        if lines.accepts(shown(entry).encode("utf-8", errors="replace"), entry, at):
            found.append(entry)
    return found


def shown(entry: LogEntry) -> str:
    """Return an entry in words: its message, its facts as ``key=value``, its exception."""
    facts = [
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in entry.fields.items()
    ]
    return " ".join([entry.message, *facts, entry.exception_info or ""])


def _any_of(text: str) -> str:
    """Return a pattern for the forms in which a line can hold ``text``."""
    forms = {
        text,
        *(json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)),
    }
    if assigned := _ASSIGNED.fullmatch(text):
        key, value = assigned.groups()
        forms |= {f'{key}": "{value}', f'{key}": {value}', f'{key}":"{value}', f'{key}":{value}'}
    return "|".join(sorted(re2.escape(form) for form in forms))


def _compile(pattern: str, asked: str) -> Any:
    if len(asked) > MAX_PATTERN_CHARS:
        raise BadInput.of("regex", "text_too_long", max_length=MAX_PATTERN_CHARS)
    options = re2.Options()
    options.max_mem = _MAX_MEMORY_BYTES
    options.log_errors = False
    try:
        return re2.compile(f"(?im){pattern}".encode(), options)
    except (re2.error, UnicodeEncodeError) as exc:
        reason = exc.args[0].decode() if isinstance(exc.args[0], bytes) else str(exc.args[0])
        raise BadInput.of("regex", "other", reason=reason) from None
