"""A spool stays within its bounds, also on a full disk, and tells what that has cost."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from spool_samples import START_NS, Clock, disk_bytes, open_spool, read_all, reading, values

from collectors.history.segment import cursor_path, write_cursor
from collectors.history.spool_reader import SpoolReader

_FULL_DISK = """
import subprocess, sys
from pathlib import Path
from collectors.contract.points import Quality, Sample
from collectors.history.spool import SpoolWriter
home = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", home], check=True)

def put(count):
    global value
    for _ in range(count):
        value += 1
        samples = [Sample(point="a/b", value=value, quality=Quality.GOOD, source_ns=value,
                          received_ns=value)]
        assert spool.put(samples)
        (home / "cursor.tmp").write_bytes(b"x" * 200)  # there is always room for a cursor

value = 0
spool = SpoolWriter(home / "spool", max_bytes=10**9, max_age_s=1000.0)
put(40_000)
assert spool.status().samples_dropped > 10_000
(home / "other").write_bytes(b"x" * 90_000)
put(5_000)
before = spool.status().samples_dropped
try:
    (home / "other").write_bytes(b"x" * 10**8)  # somebody else fills the disk
except OSError:
    pass
stored = 0
for _ in range(3000):
    value += 1
    stored += bool(spool.put([Sample(point="a/b", value=value, quality=Quality.GOOD,
                                     source_ns=value, received_ns=value)]))
assert stored == 3000
(home / "other").unlink()
put(100)
spool.close()
from collectors.history.spool_reader import SpoolReader
records = SpoolReader(home / "spool", "test").read(10**6)
kept = [sample.value for record in records for sample in record.batch.samples()]
assert kept == list(range(value - len(kept) + 1, value + 1)), "the newest are kept"
assert spool.status().samples_dropped == value - len(kept)
print(len(kept), "of", value)
"""


def test_on_a_full_disk_the_oldest_samples_make_room_for_the_newest(tmp_path: Path) -> None:
    command = ["unshare", "-rm", sys.executable, "-c", _FULL_DISK, str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.call(["unshare", "-rm", "true"]):
        pytest.skip("needs the right to mount a small file system of its own")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_spool_that_keeps_the_oldest_refuses_what_is_new_until_a_store_makes_room(
    tmp_path: Path,
) -> None:
    spool = open_spool(tmp_path, max_bytes=8000, keeps_oldest=True)
    accepted = [value for value in range(300) if spool.put([reading(value)])]
    assert accepted == list(range(len(accepted)))
    assert spool.is_full
    assert spool.status().samples_dropped == 300 - len(accepted) > 0
    reader = SpoolReader(tmp_path, "store")
    records = reader.read(1000)
    reader.commit(records[-1].end)
    assert spool.put([reading(300)])
    assert not spool.is_full
    (record,) = reader.read(1000)
    assert [(loss.reason, loss.samples) for loss in record.losses] == [
        ("full", 300 - len(accepted))
    ]
    assert values(records) == accepted
    reader.close()
    spool.close()


def test_readers_learn_of_every_loss_even_if_the_record_that_told_it_is_dropped_too(
    tmp_path: Path,
) -> None:
    clock = Clock()
    spool = open_spool(tmp_path, clock, max_bytes=8000)
    for value in range(600):
        clock.elapsed_s += 1
        spool.put([reading(value)] if value % 50 else [reading(value), reading(2**64)])
    spool.close()
    records = read_all(tmp_path)
    losses = [loss for record in records for loss in record.losses]
    by_reason = {
        reason: sum(loss.samples for loss in losses if loss.reason == reason)
        for reason in ("size", "value")
    }
    assert by_reason == {"size": 600 - len(records), "value": 12}
    assert min(loss.first_ns for loss in losses) == START_NS + 10**9
    assert max(loss.last_ns for loss in losses if loss.reason == "size") < records[0].wall_ns


def test_a_step_of_the_wall_clock_makes_nothing_old(tmp_path: Path) -> None:
    clock = Clock()
    spool = open_spool(tmp_path, clock, max_age_s=80.0)
    year_ns = 366 * 86_400 * 10**9
    for value in range(40):
        clock.elapsed_s += 1
        clock.step_ns = year_ns if value > 20 else 0
        assert spool.put([reading(value)]) == value + 1
    spool.close()
    clock.step_ns = 0
    spool = open_spool(tmp_path, clock, max_age_s=80.0)
    assert spool.put([reading(40)]) == 41
    spool.close()
    records = read_all(tmp_path)
    assert values(records) == list(range(41))
    assert [record.sequence for record in records] == list(range(1, 42))


def test_the_oldest_segments_are_dropped_at_the_byte_bound_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    spool = open_spool(tmp_path, clock, max_bytes=8000)
    for value in range(300):
        clock.elapsed_s += 1
        spool.put([reading(value), reading(-value)])
        assert disk_bytes(tmp_path) <= 8000
    status = spool.status()
    kept = values(read_all(tmp_path))
    assert kept[-2:] == [299, -299]
    assert status.samples_in == 600
    assert status.samples_dropped == 600 - len(kept) > 0
    assert status.backlog_bytes == disk_bytes(tmp_path)
    drops = [entry for entry in caplog.records if "dropped its oldest" in entry.message]
    assert sum(vars(entry)["samples"] for entry in drops) == status.samples_dropped
    assert vars(drops[0])["from"] == "2026-09-21T14:13:21.000Z"
    assert vars(drops[0])["to"] < vars(drops[1])["from"]
    spool.close()


def test_segments_older_than_the_age_bound_are_dropped_also_of_a_slow_collector(
    tmp_path: Path,
) -> None:
    clock = Clock()
    spool = open_spool(tmp_path, clock, max_age_s=80.0)
    for value in range(300):
        clock.elapsed_s += 1
        spool.put([reading(value)])
    kept = values(read_all(tmp_path))
    assert kept[-1] == 299
    assert 80 <= len(kept) <= 80 + 80 / 8 + 2
    assert spool.status().samples_dropped == 300 - len(kept)
    spool.close()


def test_samples_that_every_store_has_read_are_dropped_without_being_counted(
    tmp_path: Path,
) -> None:
    spool = open_spool(tmp_path, max_bytes=8000)
    reader = SpoolReader(tmp_path, "slow")
    for value in range(300):
        spool.put([reading(value)])
        for record in reader.read(1):
            write_cursor(cursor_path(tmp_path, "slow"), record.end, durable=False)
    reader.close()
    assert spool.status().samples_dropped == 0
    assert spool.status().backlog_bytes == 0
    spool.close()
