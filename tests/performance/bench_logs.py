"""Print what reading logs costs, each figure beside the barest way to do the same.

Run with ``python tests/performance/bench_logs.py [--megabytes N] [--seconds N]``. Peers: one
regular expression that splits the same lines, ``grep`` over the same files, ``tail -F`` of the same
log, and the same requests without the flood.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

from log_plant import LiveLog, LogPlant, Writer, wait_until
from measured_rows import Row, max_at_most, median_at_most, p99_at_most, print_table

from control_plane.domain.logs import LogFilter, LogLevel
from control_plane.logs.book import open_book
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.processor import LogProcessor
from control_plane.logs.redaction import Redactor
from control_plane.logs.search import LogSearch

_LINES = 50_000
_RUNS = 5
_A_READ = 2000
_START = datetime(2026, 1, 31, 8, tzinfo=UTC)
_SECRETS = ("a password of the plant", "geheim123", "0123456789abcdef0123456789abcdef")
_FILE_BYTES = 10 << 20
_SPLIT = re.compile(
    rb'^\{"ts": "([^"]*)", "level": "([^"]*)", "process": "([^"]*)", "event": (.*)$'
)


def line(number: int) -> bytes:
    """Return a line as collectors write them; of 1000 one holds a password, of 20 one warns."""
    at = (_START + timedelta(milliseconds=number)).isoformat(timespec="milliseconds")
    facts: dict[str, object] = {
        "ts": at.replace("+00:00", "Z"),
        "level": "INFO" if number % 20 else "WARNING",
        "process": "line1",
        "event": "block read" if number % 50 else "设备断开",
        "logger": "collectors.runtime.loop",
        "source": "loop.py:118",
        "device": f"press{number % 7}",
        "points": number % 40,
        "duration_ms": number % 90 / 10,
    }
    if number % 1000 == 0:
        facts |= {"url": "http://daq:geheim123@10.0.0.5/x", "password": "hunter22"}
    return json.dumps(facts, ensure_ascii=False).encode()


def us_a_line(work: Callable[[], object], lines: int) -> list[float]:
    """Return microseconds of CPU time a line, one figure a run."""
    spent = []
    for _ in range(_RUNS):
        began = time.process_time()
        work()
        spent.append(1e6 * (time.process_time() - began) / lines)
    return spent


def bench_lines() -> list[Row]:
    lines = [line(number) for number in range(_LINES)]
    redactor = Redactor(_SECRETS)
    processor = LogProcessor(lambda: redactor)

    def wanted(asked: LogFilter) -> Callable[[], None]:
        lines_wanted = LineFilter(asked)

        def run() -> None:
            for begin in range(0, _LINES, _A_READ):
                batch = processor.batch("line1", tuple(lines[begin : begin + _A_READ]))
                list(batch.wanted(lines_wanted))

        return run

    limit, unit = median_at_most(1e6 / 150_000), "us CPU"
    everything = us_a_line(wanted(LogFilter()), _LINES)
    warnings = us_a_line(wanted(LogFilter(level=LogLevel.WARNING)), _LINES)
    text = us_a_line(wanted(LogFilter(text="press3")), _LINES)
    split = us_a_line(lambda: [_SPLIT.match(each) for each in lines], _LINES)
    loads = us_a_line(lambda: [json.loads(each) for each in lines], _LINES)
    return [
        Row("everything", everything, unit, limit),
        Row("level WARNING and above", warnings, unit, limit),
        Row("a text that one of seven lines holds", text, unit, limit),
        Row("  peer: one regular expression a line", split, unit),
        Row("  peer: json.loads a line", loads, unit),
    ]


def write_log(path: Path, total_bytes: int) -> int:
    """Write rotated files, the newest at ``path``; one line in the oldest has a rare word."""
    block = b"".join(line(number) + b"\n" for number in range(_FILE_BYTES // 250))
    count = max(1, total_bytes // len(block))
    for number in range(count):
        name = f"{path.name}.{number}" if number else path.name
        path.with_name(name).write_bytes(block)
    with path.with_name(f"{path.name}.{count - 1}").open("r+b") as file:
        file.seek(block.index(b"\n", len(block) // 2) + 1)
        rare = line(1).replace(b"block read", b"quokka!!!!")
        file.write(rare)
    return count * len(block)


def bench_search(directory: Path, megabytes: int) -> list[Row]:
    path = directory / "line1.log"
    written = write_log(path, megabytes << 20)
    took_s, grep_s = [], []
    for _ in range(3):
        began = time.perf_counter()
        with open_book(path) as book:
            asked = LineFilter(LogFilter(text="quokka"))
            found = LogSearch(book, "line1", asked, Redactor(_SECRETS)).before(None, 100, 60)
        took_s.append(time.perf_counter() - began)
        if len(found.found) != 1 or found.searched_bytes < written:
            raise RuntimeError("the rare word was not found, or not everything was searched")
        began = time.perf_counter()
        files = sorted(str(each) for each in directory.iterdir())
        subprocess.run(["grep", "-h", "-i", "quokka", *files], check=True, capture_output=True)
        grep_s.append(time.perf_counter() - began)
    return [
        Row("first page, the word in the oldest file", took_s, "s", max_at_most(2)),
        Row("  peer: grep -i", grep_s, "s"),
    ]


def tailed_delays(path: Path, count: int) -> list[float]:
    """Return how many ms after its writing each line came out of ``tail -F``."""
    command = ["tail", "-F", "-n", "0", "-s", "0.03", str(path)]
    delays = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        while len(delays) < count:
            written_at = json.loads(tail.stdout.readline())["at"]
            delays.append(1000 * (time.time() - written_at))
        tail.terminate()
    return delays


def request_ms(plant: LogPlant, path: str, until: Callable[[], bool]) -> list[float]:
    """Return how many ms each of some requests took, ten a second."""
    took = []
    while not until():
        began = time.perf_counter()
        plant.get(path)
        took.append(1000 * (time.perf_counter() - began))
        time.sleep(0.1)
    return took


def watch_in_thread(plant: LogPlant, name: str, is_over: threading.Event) -> LiveLog:
    """Take what comes until it is over; the connection is open when this returns."""
    opened: list[LiveLog] = []

    def run() -> None:
        with plant.watching({"name": name}) as viewer:
            while not viewer.cursors:
                viewer.take()
            opened.append(viewer)
            while not is_over.is_set():
                viewer.take(0.2)

    threading.Thread(target=run).start()
    wait_until(lambda: opened)
    return opened[0]


def bench_streams(directory: Path, seconds: int) -> list[tuple[str, list[Row]]]:
    """Measure a calm log, and the same beside another one that is flooded."""
    calm = Writer(count=10**6, per_s=20)
    flood = Writer(count=50_000 * seconds, per_s=50_000)
    quiet, loud = (
        LogPlant(directory / "q", {"calm": calm}),
        LogPlant(directory / "l", {"calm": calm, "flood": flood}),
    )
    path, rows = "/api/v1/processes", {}
    for plant in (quiet, loud):
        plant.prepare()
        for name in plant.writers:
            (plant.home / "log" / f"{name}.log").write_text("")
        plant.start_server()
        is_over = threading.Event()
        viewers = {name: watch_in_thread(plant, name, is_over) for name in plant.writers}
        plant.start_supervisord()
        wait_until(lambda v=viewers: all(len(viewer.numbers) > 5 for viewer in v.values()))
        end = time.monotonic() + (seconds if plant is loud else 6)
        requests = request_ms(plant, path, lambda end=end: time.monotonic() > end)
        delays = [1000 * delay for delay in viewers["calm"].delays_s]
        tailed = tailed_delays(plant.home / "log" / "calm.log", 40) if plant is quiet else []
        is_over.set()
        rows[plant.home] = requests, delays, tailed
    requests, delays, tailed = rows[quiet.home]
    torrent = viewers["flood"]
    told = len(torrent.numbers) + torrent.skipped
    for plant in (quiet, loud):
        plant.stop()
    print(f"of {told:,} lines of the flood {len(torrent.numbers):,} were sent, the rest told")
    return [
        (
            "one calm log, a line every 50 ms",
            [
                Row("written to WebSocket client", delays, "ms", p99_at_most(100)),
                Row("  peer: written to tail -F", tailed, "ms"),
                Row("GET /api/v1/processes", requests, "ms"),
            ],
        ),
        (
            f"beside a collector that writes 50,000 lines/s for {seconds} s",
            [
                Row(
                    "calm log: written to WebSocket client",
                    rows[loud.home][1],
                    "ms",
                    p99_at_most(100),
                ),
                Row("GET /api/v1/processes", rows[loud.home][0], "ms", p99_at_most(100)),
            ],
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    megabytes: int = arguments.megabytes
    sections = [("parse, redact and filter, a line", bench_lines())]
    with tempfile.TemporaryDirectory() as directory:
        title = f"search in {megabytes} MB of rotated logs"
        sections.append((title, bench_search(Path(directory), megabytes)))
    with tempfile.TemporaryDirectory() as directory:
        sections += bench_streams(Path(directory), arguments.seconds)
    print_table(sections)


if __name__ == "__main__":
    main()
