"""Lines that are no JSON: supervisord's own log, the usual forms of other programs, tracebacks.

Everything here is linear in the length of the line: the forms look at its head only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_HEAD_CHARS: Final = 400
_TRACEBACK: Final = "Traceback (most recent call last):"
_CHAINED: Final = (
    "During handling of the above exception",
    "The above exception was the direct cause",
)
# 2026-01-31 08:00:00,125 of Python and supervisord; T, '.', Z and an offset as in ISO 8601.
_TIME = r"(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)"
_LEVEL = (
    r"(?P<level>TRACE|BLAT|DEBG|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERRO?R?|CRIT(?:ICAL)?|FATAL|PANIC)"
)
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        # 2026-01-31 08:00:00,125 INFO spawned: 'line1' with pid 7; also with a dotted name.
        rf"{_TIME}\s+\[?{_LEVEL}\]?(?:\s+\[?(?P<logger>\w{{1,40}}(?:\.\w{{1,40}}){{1,9}})\]?:|:)?\s",
        # 2026-01-31 08:00:00,125 - name - ERROR - text, and the name with colons.
        rf"{_TIME}\s+[-|:]?\s*(?P<logger>[\w.]{{1,80}})\s+[-|:]?\s*{_LEVEL}\s*[-|:]?\s",
        rf"\[{_TIME}\]\s+(?:\[\d+\]\s+)?\[{_LEVEL}\]\s",  # gunicorn
        rf"{_TIME}\s+",
        rf"{_LEVEL}:(?P<logger>[\w.]{{1,80}}):",  # logging.basicConfig
        rf"\[?{_LEVEL}\]?\s*[:|-]\s+",
    )
)
_SHORT_LEVELS: Final = {"BLAT": "DEBUG", "DEBG": "DEBUG", "TRAC": "DEBUG"}
_LEVEL_WORD = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERRO?R?|CRIT(?:ICAL)?|FATAL|PANIC)\b")
_FRAME = re.compile(r'  File "([^"\n]{1,400})", line (\d{1,9})')
_ERROR_LINE = re.compile(rb"[A-Za-z_][\w.]{0,200}(?::|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainLine:
    """The parts of a line of text; those that it does not have are empty."""

    message: str
    level: str = ""
    timestamp: datetime | None = None
    logger: str = ""
    source_file: str = ""
    line_number: str = ""
    exception: str = ""


def parse_plain(text: str) -> PlainLine:
    """Take a text apart; its first line is the message, the rest belongs to an exception."""
    first, _, more = text.partition("\n")
    if first.startswith(_TRACEBACK):
        return _uncaught(text)
    file, number = _last_frame(more)
    for form in _FORMS:
        match = form.match(first[:_HEAD_CHARS])
        if match is None:
            continue
        found = match.groupdict()
        level = found.get("level") or _level_word(first)
        return PlainLine(
            message=first[match.end() :],
            level=_SHORT_LEVELS.get(level, level),
            timestamp=_time(found.get("time")),
            logger=found.get("logger") or "",
            source_file=file,
            line_number=number,
            exception=more,
        )
    return PlainLine(
        message=first,
        level=_level_word(first),
        source_file=file,
        line_number=number,
        exception=more,
    )


def joined(lines: Iterable[bytes]) -> list[bytes]:
    """Join the lines of each traceback with the line that it belongs to."""
    entries: list[bytes] = []
    trace: _Trace | None = None
    for line in lines:
        if trace is not None and trace.takes(line):
            entries[-1] += b"\n" + line
        elif line.startswith(_TRACEBACK.encode()):
            trace = _Trace()
            # A logger writes the traceback below its line; an uncaught one stands alone.
            if entries and _is_error_line(entries[-1]):
                entries[-1] += b"\n" + line
            else:
                entries.append(line)
        else:
            trace = None
            entries.append(line)
    return entries


def is_open(entry: bytes) -> bool:
    """Tell whether ``entry`` ends inside a traceback, so that its rest is still to come."""
    _, begun, rest = entry.rpartition(_TRACEBACK.encode())
    return bool(begun) and all(not line or line[:1] in b" \t" for line in rest.split(b"\n"))


class _Trace:
    """Where in a traceback the lines are; see the documentation of Python's ``traceback``."""

    __slots__ = ("has_ended", "lines")
    _MAX_LINES = 500

    def __init__(self) -> None:
        self.has_ended = False
        self.lines = 0

    def takes(self, line: bytes) -> bool:
        self.lines += 1
        if self.lines > self._MAX_LINES or line[:1] == b"{":
            return False
        if line.startswith(_TRACEBACK.encode()) or line.startswith(
            tuple(text.encode() for text in _CHAINED)
        ):
            self.has_ended = False
            return True
        if line[:1] in (b" ", b"\t"):
            return True  # Frames, or the message's further lines.
        if self.has_ended:
            return line == b""  # A blank line parts chained exceptions.
        if line and _ERROR_LINE.match(line):
            self.has_ended = True
            return True
        return line == b""


def _is_error_line(entry: bytes) -> bool:
    head = entry[:_HEAD_CHARS].decode("utf-8", errors="replace")
    return "\n" not in head and _level_word(head) in ("ERROR", "CRITICAL", "ERR", "CRIT", "FATAL")


def _uncaught(text: str) -> PlainLine:
    lines = text.split("\n")
    named = [line for line in lines[1:] if line and not line[0].isspace()]
    file, number = _last_frame(text)
    return PlainLine(
        message=named[-1] if named else lines[0],
        level="ERROR",
        source_file=file,
        line_number=number,
        exception=text,
    )


def _last_frame(text: str) -> tuple[str, str]:
    frames = _FRAME.findall(text) if text else []
    return (frames[-1][0].rpartition("/")[2], frames[-1][1]) if frames else ("", "")


def _level_word(text: str) -> str:
    word = _LEVEL_WORD.search(text)
    return word[1] if word else "INFO"


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # Without a zone it is that of the machine, which writes UTC where it is set up for us.
        at = datetime.fromisoformat(text.replace(",", "."))
        return at.astimezone(UTC) if at.tzinfo else at.astimezone().astimezone(UTC)
    except (ValueError, OverflowError):
        return None
