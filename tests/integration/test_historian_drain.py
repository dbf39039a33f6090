"""A drain moves one spool into the store and tries again, ever more slowly, what fails."""

import errno
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from collectors.contract.points import Quality, Sample
from collectors.contract.store_urls import StoreUrlError
from collectors.history.dead_letters import DeadLetters
from collectors.history.drain import Drain
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.segment import cursor_path, list_segments, read_cursor
from collectors.history.spool import SpoolWriter
from collectors.history.store_worker import StoreWorker
from collectors.history.stores import EmbeddedSink, Retention, retention_of

STORE = "embedded"
_NOON_NS = 1_795_435_200 * 10**9


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Line:
    """One collector's spool and the store behind it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.spool_directory = home / "spool" / "line1"
        self.clock = Clock()
        self.spool = SpoolWriter(
            self.spool_directory, max_bytes=1_000_000, max_age_s=3600.0, segment_bytes=400
        )
        self.store = EmbeddedSink(home / "history")
        self.drain = self.new_drain()
        self.count = 0

    def new_drain(self) -> Drain:
        letters = DeadLetters(self.home / "dead")
        return Drain("line1", self.spool_directory, self.store, letters, monotonic=self.clock)

    def put(self, records: int) -> None:
        for _ in range(records):
            at_ns = _NOON_NS + self.count
            sample = Sample(
                point="plc/x",
                value=self.count,
                quality=Quality.GOOD,
                source_ns=at_ns,
                received_ns=at_ns,
            )
            assert self.spool.put([sample])
            self.count += 1

    def stored(self) -> list[object]:
        reader = EmbeddedReader(self.home / "history")
        found = reader.range("line1/plc/x", _NOON_NS, _NOON_NS + 10**9, buckets=None)
        return [sample.value for sample in found.samples]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path)
    yield line
    line.drain.close()
    line.spool.close()
    line.store.close()


def test_a_drained_spool_is_all_stored_and_its_finished_segments_are_removed(line: Line) -> None:
    line.put(20)
    assert len(list_segments(line.spool_directory)) > 3
    assert line.drain.step()
    assert not line.drain.step()
    assert line.stored() == list(range(20))
    line.drain.commit()
    assert len(list_segments(line.spool_directory)) == 1
    status = line.drain.status()
    assert (status.ledger.stored, status.queued_bytes, status.oldest_ns) == (20, 0, None)


def test_nothing_is_forgotten_before_it_is_committed(line: Line) -> None:
    line.put(20)
    line.drain.step()
    cursor = read_cursor(cursor_path(line.spool_directory, STORE))
    assert cursor is not None
    assert cursor.sequence == 0
    line.drain.close()
    line.drain = line.new_drain()
    line.drain.step()
    assert line.drain.status().ledger.stored == 20
    assert line.stored() == list(range(20))


def test_a_store_that_fails_is_tried_again_and_logged_once(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    line.put(1)
    line.drain.step()
    line.put(3)
    with closing(sqlite3.connect(line.home / "history" / "live.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not line.drain.step()
        line.clock.now_s += 0.6
        assert not line.drain.step()
        status = line.drain.status()
        assert status.last_error == "OperationalError: database is locked"
        assert status.oldest_ns is not None
    line.clock.now_s += 1.0
    assert line.drain.step()
    assert line.stored() == [0, 1, 2, 3]
    assert line.drain.status().last_error is None
    assert [entry.levelname for entry in caplog.records] == ["ERROR", "INFO"]
    assert vars(caplog.records[1])["duration_s"] == 1.6


def test_a_cursor_that_cannot_be_written_does_not_stop_storing_and_is_logged_once(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = line.spool_directory / f"cursor.{STORE}.tmp"
    in_the_way.mkdir()
    for _ in range(3):
        line.put(1)
        assert line.drain.step()
        line.drain.commit()
    assert line.stored() == [0, 1, 2]
    assert "Is a directory" in (line.drain.status().last_error or "")
    assert [entry.levelname for entry in caplog.records] == ["ERROR"]
    in_the_way.rmdir()
    line.drain.commit()
    assert line.drain.status().last_error is None


def test_damage_and_gaps_are_counted_once_even_if_the_store_fails_meanwhile(line: Line) -> None:
    line.put(20)
    firsts = list_segments(line.spool_directory)
    damaged = line.spool_directory / f"{firsts[1]:020d}.seg"
    damaged.write_bytes(b"\xff" * 100)
    (line.spool_directory / f"{firsts[3]:020d}.seg").unlink()
    (line.home / "history").write_text("a file where the directory should be")
    for _ in range(3):
        line.drain.step()
        line.clock.now_s += 60
    assert line.drain.status().last_error is not None
    (line.home / "history").unlink()
    line.drain.step()
    status = line.drain.status()
    missing = firsts[2] - firsts[1] + firsts[4] - firsts[3]
    assert (status.ledger.dropped, status.ledger.stored) == (missing, 20 - missing)
    assert status.last_error is None


def test_the_cursor_waits_until_the_disk_has_what_was_stored(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cursor = cursor_path(line.spool_directory, STORE)
    before = read_cursor(cursor)
    line.put(3)
    worker = StoreWorker(line.home, line.store)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        worker.round()
        assert line.stored() == [0, 1, 2]
        worker.commit()
        assert read_cursor(cursor) == before
    worker.commit()
    assert read_cursor(cursor) != before
    worker.close()
    assert [entry.levelname for entry in caplog.records] == ["ERROR"]


def test_a_store_that_cannot_seal_now_is_told_and_storing_goes_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    worker = StoreWorker(line.home, line.store)
    line.put(3)
    with monkeypatch.context() as patch:
        patch.setattr(line.store._store, "sync", fail)
        worker.round()
        worker.commit()
        assert "disk is full" in (worker.status.error or "")
        line.put(3)
        worker.round()
    assert line.stored() == list(range(6))
    worker.commit()
    assert worker.status.error is None
    worker.close()


def test_a_number_of_days_that_is_none_is_refused_with_its_name() -> None:
    assert retention_of({}) == Retention()
    assert retention_of({"DAQ_HISTORY_DAYS": "7", "DAQ_HISTORY_ROLLUP_DAYS": ""}).days == 7
    for text in ("0", "-1", "x", "1.5", "99999"):
        with pytest.raises(StoreUrlError, match=f"DAQ_HISTORY_DAYS is '{text}'"):
            retention_of({"DAQ_HISTORY_DAYS": text})
