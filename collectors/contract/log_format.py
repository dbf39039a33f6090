"""Log lines of a collector: one JSON object a line, UTF-8, UTC with milliseconds.

Fields: ``ts`` (ISO 8601, ``Z``), ``level`` (DEBUG INFO WARNING ERROR CRITICAL), ``process``,
``event`` (a constant sentence), then facts by name; with an exception ``exception`` (traceback).
"""

import json
import logging
import queue
import sys
import traceback
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any

MAX_LINE_CHARS = 8192
"""Longer values are cut, so that one line never exceeds what every reader accepts."""

_QUEUE_LINES = 10_000
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLinesFormatter(logging.Formatter):
    """Formats a record as one JSON line; ``extra`` values become fields."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "process": self._process,
            "event": record.getMessage(),
            "logger": record.name,
            "source": f"{record.filename}:{record.lineno}",
        }
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        text = json.dumps(line, ensure_ascii=False, default=str)
        if len(text) > MAX_LINE_CHARS:
            cut = MAX_LINE_CHARS // 2
            line = {k: v[:cut] if isinstance(v, str) else v for k, v in line.items() if k != "args"}
            text = json.dumps(line | {"cut": True}, ensure_ascii=False, default=str)
        return text


class _DroppingQueueHandler(QueueHandler):
    """Never blocks: a supervisord that does not read our pipe must not stop acquisition."""

    def __init__(self, lines: "queue.Queue[Any]") -> None:
        super().__init__(lines)
        self._lines = lines
        self.dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
            if self.dropped and not self._lines.full():
                facts = {"name": __name__, "levelname": "WARNING", "lines": self.dropped}
                self.queue.put_nowait(logging.makeLogRecord({"msg": "log lines dropped", **facts}))
                self.dropped = 0
        except queue.Full:
            # Told as soon as there is room again.
            self.dropped += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # The default flattens exc_info into the message, which the JSON formatter needs apart.
        return record


def start_json_logging(process: str, level: str) -> QueueListener:
    """Send this process's log to standard output as JSON Lines, through a thread of its own.

    Call ``stop()`` on the result before exit, so that queued lines are written.
    """
    lines: queue.Queue[Any] = queue.Queue(_QUEUE_LINES)
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(JsonLinesFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [_DroppingQueueHandler(lines)]
    root.setLevel(level.upper())
    listener = QueueListener(lines, output)
    listener.start()
    return listener
