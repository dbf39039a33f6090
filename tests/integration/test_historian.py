"""The historian process: fast, alone on its home, and safe to kill at any moment."""

import ctypes
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collectors.contract.points import Quality, Sample
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.schema import open_read_only
from collectors.history.spool import SpoolWriter
from collectors.history.spool_reader import SpoolReader

_HISTORIAN = """
import sys
from pathlib import Path
from collectors.history.shipper import main
sys.exit(main(Path(sys.argv[1])))
"""
_WRITER = """
import sys, time
from pathlib import Path
from collectors.contract.points import Quality, Sample
from collectors.history.spool import SpoolWriter

directory, pause_s = Path(sys.argv[1]), float(sys.argv[2])
spool = SpoolWriter(directory, max_bytes=50_000_000, max_age_s=3600.0, segment_bytes=20_000)
number = int(sys.argv[3])
while True:
    now_ns = time.time_ns()
    samples = [
        Sample(point=f"plc/{n}", value=number, quality=Quality.GOOD,
               source_ns=now_ns, received_ns=now_ns)
        for n in range(20)
    ]
    assert spool.put(samples)
    print(number, flush=True)
    number += 1
    spool.sync_if_due()
    time.sleep(pause_s)
"""


class Processes:
    """Starts programs and kills by pid what is left of them."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def historian(self, home: Path) -> subprocess.Popen[str]:
        return self.start(_HISTORIAN, home)

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    processes.close()


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = 15.0) -> float:
    """Return how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < deadline_s, f"not in {deadline_s} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - started


def reading(value: int) -> Sample:
    now_ns = time.time_ns()
    return Sample(
        point="plc/x", value=value, quality=Quality.GOOD, source_ns=now_ns, received_ns=now_ns
    )


def open_spool(home: Path, name: str) -> SpoolWriter:
    return SpoolWriter(home / "spool" / name, max_bytes=50_000_000, max_age_s=3600.0)


def status(home: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((home / "run" / "historian.json").read_bytes())
    except FileNotFoundError:
        return {"collectors": {}}
    return found


def embedded(home: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = status(home)["collectors"].get(name, {}).get("embedded", {})
    return found


def rows(home: Path) -> int:
    """Return how many samples the store has, each as often as it is there."""
    count = 0
    for path in (home / "history").glob("*.db"):
        table = {"live.db": "batch"}.get(path.name, "chunk")
        if not path.name.startswith("rollup"):
            with open_read_only(path) as file:
                query = f"SELECT total(samples) FROM {table}"
                count += int(file.execute(query).fetchone()[0]) if file else 0
    return count


def stored_numbers(home: Path, series: str) -> list[object]:
    found = EmbeddedReader(home / "history").range(series, 0, 2**62, buckets=None)
    return [sample.value for sample in found.samples]


def has_number(home: Path, series: str, number: int) -> bool:
    return number in stored_numbers(home, series)


def has_more_rows(home: Path, before: int) -> bool:
    return rows(home) > before


def latest_is(reader: EmbeddedReader, series: str, value: int) -> bool:
    found = reader.latest([series]).get(series)
    return found is not None and found.value == value


def is_drained(home: Path, pid: int, name: str) -> bool:
    found = status(home)
    return bool(found["pid"] == pid and embedded(home, name).get("queued_bytes") == 0)


def last_number_printed(process: subprocess.Popen[str]) -> int:
    """Kill the process; return what it said last, that is, what it knows to be kept."""
    process.kill()
    lines = process.communicate()[0].splitlines()
    return int(lines[-1]) if lines else -1


def test_values_can_be_queried_within_half_a_second_also_of_new_collectors(
    tmp_path: Path, processes: Processes
) -> None:
    processes.historian(tmp_path)
    wait_until(lambda: "pid" in status(tmp_path), "historian is up")
    reader = EmbeddedReader(tmp_path / "history")
    took_s = []
    for name in ("line1", "line2"):
        spool = open_spool(tmp_path, name)
        for value in range(5):
            spool.put([reading(value)])
            series = f"{name}/plc/x"
            is_there = partial(latest_is, reader, series, value)
            took_s.append(wait_until(is_there, f"{series} = {value}"))
        spool.close()
    assert sorted(took_s)[len(took_s) // 2] < 0.5


def test_the_status_file_tells_each_second_how_far_every_collector_is_stored(
    tmp_path: Path, processes: Processes
) -> None:
    spool = open_spool(tmp_path, "line1")
    spool.put([reading(1), reading(2)])
    historian = processes.historian(tmp_path)
    wait_until(lambda: embedded(tmp_path, "line1").get("samples_stored") == 2, "2 stored")
    found = status(tmp_path)
    assert found["pid"] == historian.pid
    assert found["sent_at"].endswith("Z")
    assert found["stores"] == [
        {"name": "embedded", "url": "embedded:", "error": None, "retry_in_s": 0.0}
    ]
    assert found["collectors"] == {
        "line1": {
            "embedded": {
                "records_in": 1,
                "records_stored": 1,
                "records_queued": 0,
                "records_dropped": 0,
                "records_dead": 0,
                "samples_stored": 2,
                "samples_dead": 0,
                "samples_dropped": 0,
                "queued_bytes": 0,
                "lag_s": 0.0,
                "last_error": None,
            }
        }
    }
    wait_until(lambda: status(tmp_path)["sent_at"] != found["sent_at"], "the next status", 3.0)
    spool.close()


def test_a_writer_killed_at_any_moment_has_lost_nothing_that_put_acknowledged(
    tmp_path: Path, processes: Processes
) -> None:
    rng = random.Random(3)
    expected = 0
    for _ in range(5):
        writer = processes.start(_WRITER, tmp_path, 0, expected)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.1))  # the moment of the kill is what varies here
        expected = max(expected, last_number_printed(writer)) + 1
        reader = SpoolReader(tmp_path, f"check{expected}")
        read = [record.batch.raws[0] for record in reader.read(1_000_000)]
        # One record more than was printed may have been written.
        assert read[:expected] == list(range(expected))
        assert len(read) - expected in (0, 1)
        assert reader.corrupt_records == reader.gaps == 0
        reader.close()
        expected = len(read)
    assert expected > 100


def test_a_historian_killed_again_and_again_stores_everything_exactly_once(
    tmp_path: Path, processes: Processes
) -> None:
    rng = random.Random(5)
    names = ("line1", "line2")
    writers = [processes.start(_WRITER, tmp_path / "spool" / name, 0.005, 0) for name in names]
    for _ in range(4):
        historian = processes.historian(tmp_path)
        wait_until(partial(has_more_rows, tmp_path, rows(tmp_path)), "some samples stored")
        time.sleep(rng.uniform(0.0, 0.4))  # the moment of the kill is what varies here
        historian.kill()
        historian.wait()
    acknowledged = [last_number_printed(writer) for writer in writers]
    historian = processes.historian(tmp_path)
    for name, last in zip(names, acknowledged, strict=True):
        wait_until(partial(has_number, tmp_path, f"{name}/plc/0", last), f"all of {name}")
        wait_until(partial(is_drained, tmp_path, historian.pid, name), f"no backlog of {name}")
    historian.terminate()
    assert historian.wait(5) == 0
    total = 0
    for name in names:
        count = len(stored_numbers(tmp_path, f"{name}/plc/0"))
        for point in range(20):
            assert stored_numbers(tmp_path, f"{name}/plc/{point}") == list(range(count))
        total += 20 * count
    assert rows(tmp_path) == total > 2000


def test_sigterm_ends_it_within_a_second_also_with_a_backlog(
    tmp_path: Path, processes: Processes
) -> None:
    spool = open_spool(tmp_path, "line1")
    now_ns = time.time_ns()
    for number in range(400):
        at_ns = now_ns + number
        spool.put(
            [
                Sample(
                    point=f"plc/{n}",
                    value=float(number),
                    quality=Quality.GOOD,
                    source_ns=at_ns,
                    received_ns=at_ns,
                )
                for n in range(500)
            ]
        )
    historian = processes.historian(tmp_path)
    wait_until(lambda: rows(tmp_path) > 0, "some samples stored")
    started = time.monotonic()
    historian.send_signal(signal.SIGTERM)
    assert historian.wait(10) == 0
    assert time.monotonic() - started < 1.0
    lines = [json.loads(line) for line in historian.communicate()[0].splitlines()]
    assert lines[-1]["event"] == "historian stopped"
    assert {line["process"] for line in lines} == {"historian"}
    # What was stored was also committed, so nothing is stored a second time.
    again = processes.historian(tmp_path)
    before = rows(tmp_path)
    assert before % 500 == 0
    wait_until(lambda: rows(tmp_path) == 400 * 500, "all samples stored")
    wait_until(partial(is_drained, tmp_path, again.pid, "line1"), "the status of the new process")
    wait_until(
        lambda: embedded(tmp_path, "line1")["samples_stored"] == 400 * 500, "all of them counted"
    )
    spool.close()


def test_a_second_historian_on_one_home_says_so_and_leaves(
    tmp_path: Path, processes: Processes
) -> None:
    first = processes.historian(tmp_path)
    wait_until(lambda: "pid" in status(tmp_path), "historian is up")
    second = processes.historian(tmp_path)
    output = second.communicate(timeout=10)[0]
    assert second.returncode == 1
    line = json.loads(output)
    assert line["event"] == "historian cannot start"
    assert f"pid {first.pid} already works on {tmp_path}" in line["reason"]
    assert first.poll() is None


def test_a_home_that_cannot_be_used_is_named(tmp_path: Path, processes: Processes) -> None:
    (tmp_path / "home").write_text("a file")
    historian = processes.historian(tmp_path / "home")
    output = historian.communicate(timeout=10)[0]
    assert historian.returncode == 1
    assert str(tmp_path / "home") in json.loads(output)["reason"]


def test_a_spool_that_cannot_be_read_does_not_stop_the_others(
    tmp_path: Path, processes: Processes
) -> None:
    (tmp_path / "spool" / "broken" / f"{1:020d}.seg").mkdir(parents=True)
    (tmp_path / "spool" / "not-a-spool").write_text("a file")
    spool = open_spool(tmp_path, "line1")
    processes.historian(tmp_path)
    spool.put([reading(1)])
    wait_until(lambda: stored_numbers(tmp_path, "line1/plc/x") == [1], "the good spool is stored")
    wait_until(
        lambda: embedded(tmp_path, "broken").get("last_error") is not None,
        "the trouble is told",
    )
    found = status(tmp_path)["collectors"]
    assert sorted(found) == ["broken", "line1"]
    assert "Is a directory" in found["broken"]["embedded"]["last_error"]
    spool.close()


def test_an_idle_historian_uses_next_to_no_cpu(tmp_path: Path, processes: Processes) -> None:
    spools = [open_spool(tmp_path, f"line{n}") for n in range(10)]
    for spool in spools:
        spool.put([reading(1)])
    historian = processes.historian(tmp_path)
    wait_until(lambda: rows(tmp_path) == 10, "all stored")

    def cpu_s() -> float:
        fields = Path(f"/proc/{historian.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    begun_s, begun_mono = cpu_s(), time.monotonic()
    wait_until(lambda: time.monotonic() - begun_mono > 2.0, "two idle seconds")
    assert cpu_s() - begun_s < 0.1
    for spool in spools:
        spool.close()


def test_it_ends_when_its_supervisord_has_died(tmp_path: Path, processes: Processes) -> None:
    supervisor = """
import os, subprocess, sys, time
environment = os.environ | {"SUPERVISOR_ENABLED": "1"}
subprocess.Popen([sys.executable, "-m", "collectors", "historian", "--home", sys.argv[1]],
                 env=environment, stdout=subprocess.DEVNULL)
time.sleep(60)
"""
    supervisord = processes.start(supervisor, tmp_path)
    wait_until(lambda: "pid" in status(tmp_path), "historian is up")
    first = status(tmp_path)["pid"]
    supervisord.kill()
    supervisord.wait()
    wait_until(lambda: not Path(f"/proc/{first}").exists(), "the orphan has ended", 10.0)
    # So the next supervisord's one can start.
    processes.historian(tmp_path)
    wait_until(lambda: status(tmp_path)["pid"] != first, "the next one is up")


def test_a_signal_that_comes_to_a_thread_of_numpy_ends_it_as_well(
    tmp_path: Path, processes: Processes
) -> None:
    tgkill = {"x86_64": 234, "aarch64": 131}.get(platform.machine())
    historian = processes.historian(tmp_path)
    wait_until(lambda: "pid" in status(tmp_path), "historian is up")
    unblocked = [
        int(task.name)
        for task in Path(f"/proc/{historian.pid}/task").iterdir()
        if not blocks_sigterm(task)
    ]
    if tgkill is None or not unblocked:
        pytest.skip("no thread here that takes signals, or no way to send it one")
    ctypes.CDLL(None).syscall(tgkill, historian.pid, unblocked[0], signal.SIGTERM)
    assert historian.wait(10) == 0


def blocks_sigterm(task: Path) -> bool:
    lines = (task / "status").read_text().splitlines()
    mask = int(next(line.split()[1] for line in lines if line.startswith("SigBlk:")), 16)
    return bool(mask >> (signal.SIGTERM - 1) & 1)
