"""Killed at any moment or read at any moment, the store has every sample once."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from collectors.contract.points import Quality, Sample
from collectors.history.batch import decode, encode
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.segment import Position
from collectors.history.spool_reader import Record

_HOUR_NS = 3600 * 10**9
_START_NS = 1_795_478_400 * 10**9 - 2 * _HOUR_NS  # two hours before midnight
_STEP_NS = 20 * 10**9
_POINTS = 20

_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_embedded_crash import record
from collectors.history.embedded.store import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
for number in range(int(sys.argv[3]), 10**9):
    store.append("line1", [record(number)])
    print(number, flush=True)
    if number % 7 == 0:
        store.seal_all()
"""


def record(number: int) -> Record:
    at_ns = _START_NS + number * _STEP_NS
    samples = [
        Sample(
            point=f"plc/p{point}",
            value=number + point,
            quality=Quality.GOOD,
            source_ns=at_ns,
            received_ns=at_ns,
        )
        for point in range(_POINTS)
    ]
    end = Position(segment=1, offset=0, sequence=number)
    return Record(sequence=number, wall_ns=at_ns, batch=decode(encode(samples)), end=end)


def stored(directory: Path, point: int) -> list[object]:
    reader = EmbeddedReader(directory)
    answer = reader.range(f"line1/plc/p{point}", 0, 2**62, buckets=None)
    return [sample.value for sample in answer.samples]


def test_a_store_killed_while_it_seals_and_compacts_has_all_that_was_acknowledged_once(
    tmp_path: Path,
) -> None:
    rng = random.Random(11)
    acknowledged = -1
    for _ in range(12):
        # As after a restart of the historian: some records come again.
        first = max(0, acknowledged - 10)
        command = [sys.executable, "-c", _WRITER, tmp_path, Path(__file__).parent, str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            wanted = acknowledged + rng.randrange(5, 60)
            for line in writer.stdout:
                acknowledged = max(acknowledged, int(line))
                if acknowledged >= wanted:
                    break
            time.sleep(rng.random() * 0.02)  # into whatever it is doing then
            os.kill(writer.pid, signal.SIGKILL)
            for line in writer.stdout:
                acknowledged = max(acknowledged, int(line))
        for point in (0, 13):
            values = stored(tmp_path, point)
            assert values == list(range(point, point + len(values)))
            assert len(values) in (acknowledged + 1, acknowledged + 2)
    store = EmbeddedStore(tmp_path)
    store.seal_all()
    store.close()
    values = stored(tmp_path, 7)
    assert values == list(range(7, 7 + len(values)))
    answer = EmbeddedReader(tmp_path).range(
        "line1/plc/p7", _START_NS, _START_NS + 96 * _HOUR_NS, buckets=96
    )
    assert sum(bucket.good for bucket in answer.buckets) == len(values)


class Asker:
    """Asks again and again, in a thread, and notes what is missing."""

    def __init__(self, directory: Path) -> None:
        self.appended = 0
        self.answers = 0
        self.problems: list[str] = []
        self._reader = EmbeddedReader(directory)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._ask("line1/plc/p3", _START_NS + 96 * _HOUR_NS)
            self.answers += 1

    def _ask(self, series: str, end_ns: int) -> None:
        least = self.appended
        raw = self._reader.range(series, _START_NS, end_ns, buckets=None)
        values = [sample.value for sample in raw.samples]
        wide = self._reader.range(series, _START_NS, end_ns, buckets=10)
        counts = (len(values), sum(bucket.good for bucket in wide.buckets))
        newest = self._reader.latest([series]).get(series)
        if values != list(range(3, 3 + len(values))) or min(counts) < least:
            self.problems.append(f"{counts} of {least}")
        if least and (newest is None or newest.value not in range(least + 2, least + 500)):
            self.problems.append(f"newest {newest} of {least}")


def test_a_reader_misses_nothing_while_samples_are_sealed_and_compacted(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    asker = Asker(tmp_path)
    deadline = time.monotonic() + 20
    number = 0
    while number < 400 or (asker.answers < 50 and time.monotonic() < deadline):
        store.append("line1", [record(number)])
        number += 1
        asker.appended = number
        if number % 10 == 0:
            store.seal_all()
    asker.stop()
    store.close()
    assert asker.problems == []
    assert asker.answers > 10
