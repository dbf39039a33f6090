"""The spool of a collector keeps what it acknowledged, stays within bounds and counts each loss."""

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest
from spool_samples import START_NS, Clock, disk_bytes, open_spool, read_all, reading, values

from collectors.history.segment import Position, cursor_path, list_segments, write_cursor
from collectors.history.spool import NOT_STORED
from collectors.history.spool_reader import SpoolReader


def test_each_put_is_one_record_with_the_next_sequence(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    assert [spool.put([reading(1), reading(2)]), spool.put([reading(3)])] == [1, 2]
    spool.close()
    records = read_all(tmp_path)
    assert [record.sequence for record in records] == [1, 2]
    assert values(records) == [1, 2, 3]
    assert records[0].wall_ns == START_NS


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
