"""A store reads each record of a spool once, in order, whatever has happened to the files."""

import errno
import os
from pathlib import Path

import pytest

from collectors.contract.points import Quality, Sample
from collectors.history.segment import cursor_path, list_segments, segment_path, whole_records
from collectors.history.spool import SpoolWriter
from collectors.history.spool_reader import Record, SpoolReader


def reading(value: int | str) -> Sample:
    return Sample(
        point="plc/x", value=value, quality=Quality.GOOD, source_ns=1_000, received_ns=2_000
    )


def open_spool(directory: Path, *, segment_bytes: int = 400) -> SpoolWriter:
    """Each segment holds three or four records of one sample."""
    return SpoolWriter(
        directory, max_bytes=1_000_000, max_age_s=3600.0, segment_bytes=segment_bytes
    )


def put(spool: SpoolWriter, *values: int | str) -> None:
    for value in values:
        assert spool.put([reading(value)])


def values(records: list[Record]) -> list[object]:
    return [sample.value for record in records for sample in record.batch.samples()]


def test_reading_goes_on_after_the_last_commit_in_a_later_process(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(20))
    reader = SpoolReader(tmp_path, "store")
    reader.commit(reader.read(7)[-1].end)
    assert len(reader.read(5)) == 5
    reader.close()
    reader = SpoolReader(tmp_path, "store")
    assert values(reader.read(100)) == list(range(7, 20))
    assert reader.read(100) == []
    put(spool, 20)
    assert values(reader.read(100)) == [20]
    reader.close()
    spool.close()


def test_a_reader_that_comes_before_the_writer_waits(tmp_path: Path) -> None:
    reader = SpoolReader(tmp_path / "line1", "store")
    assert reader.read(10) == []
    assert (reader.backlog_bytes(), reader.oldest_unread_wall_ns()) == (0, None)
    spool = open_spool(tmp_path / "line1")
    put(spool, 1)
    assert values(reader.read(10)) == [1]
    reader.close()
    spool.close()


def test_a_read_ends_with_the_record_that_reaches_the_wanted_number_of_samples(
    tmp_path: Path,
) -> None:
    spool = open_spool(tmp_path)
    for _ in range(4):
        spool.put([reading(value) for value in range(10)])
    reader = SpoolReader(tmp_path, "store")
    assert [len(reader.read(100, max_samples=15)) for _ in range(3)] == [2, 2, 0]
    reader.close()
    spool.close()


def test_a_record_larger_than_a_read_chunk_is_read_whole(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path, max_bytes=50_000_000, max_age_s=3600.0)
    noise = os.urandom(1 << 20).hex()
    put(spool, 1, noise, 2)
    reader = SpoolReader(tmp_path, "store")
    assert values(reader.read(100)) == [1, noise, 2]
    reader.close()
    spool.close()


def test_segments_are_removed_once_the_slowest_store_has_passed_them(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(20))
    firsts = list_segments(tmp_path)
    fast, slow = SpoolReader(tmp_path, "fast"), SpoolReader(tmp_path, "slow")
    slow.commit(slow.read(1)[-1].end)
    fast.commit(fast.read(100)[-1].end)
    assert list_segments(tmp_path) == firsts
    slow.commit(slow.read(9)[-1].end)
    assert list_segments(tmp_path) == [first for first in firsts if first >= 8]
    slow.commit(slow.read(100)[-1].end)
    assert list_segments(tmp_path) == firsts[-1:]
    assert fast.backlog_bytes() == slow.backlog_bytes() == 0
    fast.close()
    slow.close()
    spool.close()


def test_a_segment_dropped_before_it_was_read_is_a_gap_of_known_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(1, 21))
    reader = SpoolReader(tmp_path, "store")
    reader.commit(reader.read(2)[-1].end)
    reader.close()
    firsts = list_segments(tmp_path)
    for first in firsts[:2]:
        segment_path(tmp_path, first).unlink()
    reader = SpoolReader(tmp_path, "store")
    assert values(reader.read(100)) == list(range(firsts[2], 21))
    assert (reader.gaps, reader.missing_records) == (1, firsts[2] - 3)
    assert [vars(entry)["missing_records"] for entry in caplog.records] == [firsts[2] - 3]
    reader.close()
    spool.close()


def test_a_spool_begun_again_from_one_is_read_from_its_start(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(20))
    reader = SpoolReader(tmp_path, "store")
    reader.read(100)
    spool.close()
    for path in tmp_path.glob("*.seg"):
        path.unlink()
    spool = open_spool(tmp_path)
    put(spool, 100, 101)
    assert values(reader.read(100)) == [100, 101]
    reader.close()
    spool.close()


def test_a_half_written_record_is_waited_for(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=8 << 20)
    put(spool, 1, 2)
    spool.close()
    (path,) = tmp_path.glob("*.seg")
    whole = path.read_bytes()
    first_end = next(whole_records(whole)).end
    reader = SpoolReader(tmp_path, "store")
    seen: list[object] = []
    for end in range(first_end, len(whole) + 1):
        path.write_bytes(whole[:end])
        seen += values(reader.read(10))
        assert len(seen) == (2 if end == len(whole) else 1)
    assert (seen, reader.corrupt_records) == ([1, 2], 0)
    reader.close()


def test_a_damaged_record_is_skipped_counted_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(tmp_path, segment_bytes=8 << 20)
    put(spool, *range(10))
    spool.close()
    (path,) = tmp_path.glob("*.seg")
    data = bytearray(path.read_bytes())
    starts = [frame.start for frame in whole_records(bytes(data))]
    data[starts[3] + 40] ^= 1
    data[starts[6] + 4] ^= 0x80  # the length
    path.write_bytes(data)
    reader = SpoolReader(tmp_path, "store")
    assert values(reader.read(100)) == [0, 1, 2, 4, 5, 7, 8, 9]
    assert (reader.corrupt_records, reader.gaps) == (2, 0)
    assert len(caplog.records) == 1
    reader.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"\xff" * 500])
def test_a_segment_without_a_single_record_left_does_not_stop_the_next_ones(
    tmp_path: Path, content: bytes
) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(1, 21))
    spool.close()
    first, second, third = list_segments(tmp_path)[:3]
    segment_path(tmp_path, second).write_bytes(content)
    reader = SpoolReader(tmp_path, "store")
    expected = [*range(first, second), *range(third, 21)]
    assert values(reader.read(100)) == expected
    assert reader.corrupt_records + reader.gaps == 1
    reader.close()


def test_an_unreadable_disk_block_costs_one_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(1, 21))
    spool.close()
    first, second, third = list_segments(tmp_path)[:3]
    broken = segment_path(tmp_path, second).stat().st_ino
    real_pread = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == broken:
            raise OSError(errno.EIO, "Input/output error")
        return real_pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    reader = SpoolReader(tmp_path, "store")
    assert values(reader.read(100)) == [*range(first, second), *range(third, 21)]
    assert reader.corrupt_records == 1
    reader.close()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"segment": 1, "offset": null}'])
def test_a_damaged_cursor_means_reading_all_again(tmp_path: Path, content: bytes) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(20))
    cursor_path(tmp_path, "store").write_bytes(content)
    reader = SpoolReader(tmp_path, "store")
    assert values(reader.read(100)) == list(range(20))
    reader.close()
    spool.close()


def test_opening_and_the_first_read_do_not_touch_the_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(400))
    spool.close()
    assert len(list_segments(tmp_path)) > 90
    read_bytes = 0
    real_pread = os.pread

    def counting_pread(fd: int, size: int, offset: int) -> bytes:
        nonlocal read_bytes
        data = real_pread(fd, size, offset)
        read_bytes += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting_pread)
    reader = SpoolReader(tmp_path, "store")
    assert values(reader.read(1)) == [0]
    assert 0 < read_bytes < 1000
    reader.close()


def test_the_backlog_and_its_age_shrink_as_it_is_read(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    put(spool, *range(20))
    reader = SpoolReader(tmp_path, "store")
    total = sum(path.stat().st_size for path in tmp_path.glob("*.seg"))
    assert reader.backlog_bytes() == total
    records = reader.read(10)
    assert 0 < reader.backlog_bytes() < total
    assert (reader.oldest_unread_wall_ns() or 0) > records[-1].wall_ns
    reader.read(100)
    assert (reader.backlog_bytes(), reader.oldest_unread_wall_ns()) == (0, None)
    reader.close()
    spool.close()
