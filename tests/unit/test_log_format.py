import json
import logging
import queue

from collectors.contract.log_format import JsonLinesFormatter, _DroppingQueueHandler


def record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text, "levelname": "INFO", "device": "press1"})


def test_a_line_is_one_json_object_with_its_facts() -> None:
    line = JsonLinesFormatter("line1").format(record("设备\n断开"))
    assert "\n" not in line
    fields = json.loads(line)
    assert (fields["event"], fields["process"], fields["device"]) == (
        "设备\n断开",
        "line1",
        "press1",
    )


def test_lines_that_nobody_takes_are_dropped_counted_and_told() -> None:
    lines: queue.Queue[logging.LogRecord] = queue.Queue(3)
    handler = _DroppingQueueHandler(lines)
    for number in range(5):
        handler.emit(record(f"line {number}"))
    assert [lines.get_nowait().getMessage() for _ in range(3)] == ["line 0", "line 1", "line 2"]
    handler.emit(record("line 5"))
    assert lines.get_nowait().getMessage() == "line 5"
    told = json.loads(JsonLinesFormatter("line1").format(lines.get_nowait()))
    assert (told["event"], told["lines"], told["level"]) == ("log lines dropped", 2, "WARNING")
