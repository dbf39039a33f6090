"""The spool of a collector keeps what it acknowledged, stays within bounds and counts each loss."""

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest

from collectors.contract.points import Quality, Sample, Value
from collectors.history.clocks import Clocks
from collectors.history.segment import Position, cursor_path, list_segments, write_cursor
from collectors.history.spool import NOT_STORED, SpoolWriter
from collectors.history.spool_reader import Record, SpoolReader

_START_NS = 1_790_000_000 * 10**9


class Clock:
    """A wall clock and a monotonic clock that move together, when told."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.step_ns = 0

    def wall_ns(self) -> int:
        return _START_NS + int(self.elapsed_s * 1e9) + self.step_ns

    def monotonic(self) -> float:
        return self.elapsed_s


def reading(value: Value, *, point: str = "plc/temperature", at_ns: int = _START_NS) -> Sample:
    return Sample(
        point=point, value=value, quality=Quality.GOOD, source_ns=at_ns, received_ns=at_ns
    )


def open_spool(
    directory: Path,
    clock: Clock | None = None,
    *,
    max_bytes: int = 10_000_000,
    max_age_s: float = 3600.0,
    segment_bytes: int = 8 << 20,
    keeps_oldest: bool = False,
) -> SpoolWriter:
    clock = clock or Clock()
    return SpoolWriter(
        directory,
        max_bytes=max_bytes,
        max_age_s=max_age_s,
        segment_bytes=segment_bytes,
        keeps_oldest=keeps_oldest,
        clocks=Clocks(wall_ns=clock.wall_ns, monotonic=clock.monotonic),
    )


def read_all(directory: Path) -> list[Record]:
    reader = SpoolReader(directory, "test")
    records = reader.read(1_000_000)
    reader.close()
    return records


def values(records: list[Record]) -> list[Value | None]:
    return [sample.value for record in records for sample in record.batch.samples()]


def disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*.seg"))


def test_each_put_is_one_record_with_the_next_sequence(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    assert [spool.put([reading(1), reading(2)]), spool.put([reading(3)])] == [1, 2]
    spool.close()
    records = read_all(tmp_path)
    assert [record.sequence for record in records] == [1, 2]
    assert values(records) == [1, 2, 3]
    assert records[0].wall_ns == _START_NS


def test_a_later_process_goes_on_in_the_same_segment(tmp_path: Path) -> None:
    for value in range(3):
        spool = open_spool(tmp_path)
        assert spool.put([reading(value)]) == value + 1
        spool.close()
    assert list_segments(tmp_path) == [1]
    assert values(read_all(tmp_path)) == [0, 1, 2]


def test_a_segment_is_named_after_its_first_record(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=400)
    for value in range(20):
        spool.put([reading(value)])
    spool.close()
    firsts = list_segments(tmp_path)
    assert len(firsts) > 2
    names = sorted(path.name for path in tmp_path.glob("*.seg"))
    assert names == [f"{first:020d}.seg" for first in firsts]
    assert values(read_all(tmp_path)) == list(range(20))


def test_a_restart_counts_what_an_earlier_process_left_as_backlog(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, max_bytes=8000)
    for value in range(40):
        spool.put([reading(value)])
    spool.close()
    spool = open_spool(tmp_path, max_bytes=8000)
    assert spool.status().backlog_bytes == disk_bytes(tmp_path)
    assert spool.status().last_sequence == 40
    for value in range(40, 200):
        spool.put([reading(value)])
    assert spool.status().samples_dropped == 200 - len(read_all(tmp_path))
    spool.close()


def test_a_sample_that_cannot_be_stored_is_left_out_and_the_others_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(tmp_path)
    for _ in range(3):
        spool.put([reading(1), reading(2**64, point="plc/broken"), reading("\ud800"), reading(4)])
    assert spool.put([reading(2**64, point="plc/broken")]) == NOT_STORED
    spool.close()
    assert values(read_all(tmp_path)) == [1, 4] * 3
    assert spool.status().samples_dropped == 7
    assert len(caplog.records) == 2  # once for each point


def test_a_broken_disk_costs_samples_but_no_exception_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    spool = open_spool(tmp_path)
    spool.put([reading(1)])
    real_write = os.write

    def write_half(fd: int, data: bytes) -> int:
        real_write(fd, data[: len(data) // 2])
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_half)
        assert spool.put([reading(2), reading(3)]) == NOT_STORED
        assert spool.put([reading(4)]) == NOT_STORED
    assert spool.put([reading(5)]) == 2
    spool.close()
    records = read_all(tmp_path)
    assert values(records) == [1, 5]
    assert [(loss.reason, loss.samples) for loss in records[1].losses] == [("disk", 3)]
    assert spool.status().samples_dropped == 3
    assert [entry.levelname for entry in caplog.records] == ["ERROR", "INFO"]
    assert vars(caplog.records[1])["samples"] == 3


def test_a_directory_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    clock = Clock()
    blocker = tmp_path / "spool"
    blocker.write_text("in the way")
    spool = open_spool(blocker / "line1", clock)
    assert spool.put([reading(1)]) == NOT_STORED
    blocker.unlink()
    clock.elapsed_s += 2
    assert spool.put([reading(2)]) == 1
    assert spool.status().samples_dropped == 1
    spool.close()


def test_a_spool_deleted_by_somebody_else_is_begun_anew_with_higher_sequences(
    tmp_path: Path,
) -> None:
    clock = Clock()
    spool = open_spool(tmp_path / "line1", clock)
    spool.put([reading(1)])
    shutil.rmtree(tmp_path / "line1")
    spool.status()
    clock.elapsed_s += 2
    assert spool.put([reading(2)]) == 2
    assert spool.status().samples_dropped == 1
    spool.close()


def test_a_cursor_ahead_of_the_data_makes_the_writer_skip_the_sequences_it_has_passed(
    tmp_path: Path,
) -> None:
    spool = open_spool(tmp_path)
    spool.put([reading(1)])
    spool.close()
    size_bytes = disk_bytes(tmp_path)
    lost_in_power_cut = Position(segment=1, offset=3 * size_bytes, sequence=3)
    write_cursor(cursor_path(tmp_path, "test"), lost_in_power_cut, durable=False)
    spool = open_spool(tmp_path)
    assert [spool.put([reading(value)]) for value in range(10, 15)] == [4, 5, 6, 7, 8]
    spool.close()
    reader = SpoolReader(tmp_path, "test")
    assert values(reader.read(100)) == [10, 11, 12, 13, 14]
    assert (reader.gaps, reader.corrupt_records) == (0, 0)
    reader.close()


def test_sync_waits_for_the_disk_at_most_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    spool = open_spool(tmp_path, clock)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for _ in range(50):
        clock.elapsed_s += 0.1
        spool.put([reading(1)])
        spool.sync_if_due()
    assert len(synced) == 2 * 4  # the segment and its directory
    spool.close()
