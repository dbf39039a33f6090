"""Old days and months go as whole files, and nothing else goes with them."""

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import decode, encode
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.schema import LIVE
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.segment import Position
from collectors.history.spool_reader import Record

_S = 10**9
_DAY_NS = 86_400 * _S
_NOON_NS = 1_795_435_200 * _S  # 2026-11-23 12:00 UTC
_sequences = itertools.count(1)


def reading(value: Value, at_ns: int, *, point: str = "plc/x", received_ns: int = 0) -> Sample:
    return Sample(
        point=point,
        value=value,
        quality=Quality.GOOD,
        source_ns=at_ns,
        received_ns=received_ns or at_ns + 1,
    )


def record(samples: Sequence[Sample]) -> Record:
    sequence = next(_sequences)
    end = Position(segment=1, offset=0, sequence=sequence)
    return Record(sequence=sequence, wall_ns=0, batch=decode(encode(samples)), end=end)


def all_samples(directory: Path, series: str = "line1/plc/x") -> tuple[Sample, ...]:
    reader = EmbeddedReader(directory)
    return reader.range(series, -(2**63), 2**63 - 1, buckets=None).samples


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path)
    yield store
    store.close()


def test_rollups_are_deleted_by_whole_months_and_later_than_samples(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    for days in (0, 40, 80, 120):
        at_ns = _NOON_NS + days * _DAY_NS
        store.append("line1", [record([reading(days, at_ns)])])
    store.seal_all()
    now_ns = _NOON_NS + 120 * _DAY_NS  # 2027-03-23
    assert len(store.prune(30, keep_rollup_days=60, now_ns=now_ns)) == 3
    assert sorted(path.name for path in tmp_path.glob("*-*.db")) == [
        "2027-03-23.db",
        "rollup-2027-01.db",
        "rollup-2027-02.db",
        "rollup-2027-03.db",
    ]
    answer = EmbeddedReader(tmp_path).range("line1/plc/x", _NOON_NS, now_ns + 1, buckets=100)
    assert [bucket.mean for bucket in answer.buckets] == [40, 80, 120]


def test_pruning_deletes_whole_days_and_nothing_else(store: EmbeddedStore, tmp_path: Path) -> None:
    for day in range(10):
        samples = [reading(day, _NOON_NS + day * _DAY_NS, point=f"plc/{name}") for name in "xy"]
        store.append("line1", [record(samples if day < 3 else samples[:1])])
    store.seal_all()
    (tmp_path / "notes.txt").write_text("mine")
    now_ns = _NOON_NS + 9 * _DAY_NS
    assert store.prune(4, now_ns=now_ns) == [date(2026, 11, 23 + day) for day in range(5)]
    assert [sample.value for sample in all_samples(tmp_path)] == [5, 6, 7, 8, 9]
    assert EmbeddedReader(tmp_path).series("") == ["line1/plc/x"]
    assert (tmp_path / "notes.txt").exists()
    assert not [*tmp_path.glob("2026-11-2[3-7]*")]
    assert store.prune(4, now_ns=now_ns) == []


def test_a_clock_far_ahead_does_not_prune_everything(store: EmbeddedStore, tmp_path: Path) -> None:
    for day in range(3):
        store.append("line1", [record([reading(day, _NOON_NS + day * _DAY_NS)])])
    store.seal_all()
    assert store.prune(1, now_ns=_NOON_NS + 10_000 * _DAY_NS) == [date(2026, 11, 23)]
    assert [sample.value for sample in all_samples(tmp_path)] == [1, 2]


def test_pruning_before_anything_was_stored_does_nothing(tmp_path: Path) -> None:
    assert EmbeddedStore(tmp_path / "history").prune(30) == []


def test_many_days_of_backlog_do_not_keep_many_files_open(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    for day in range(10):
        store.append("line1", [record([reading(day, _NOON_NS + day * _DAY_NS)])])
        store.seal_all()
    assert len([*tmp_path.glob("*-wal")]) <= 6
    assert [sample.value for sample in all_samples(tmp_path)] == list(range(10))


def test_poll_groups_that_are_no_more_are_forgotten_and_noted_again(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    for round_ in range(3):
        for name in "xyz":
            at_ns = _NOON_NS + round_ * _S
            store.append("line1", [record([reading(round_, at_ns, point=f"plc/{name}")])])
        store.seal_all()
        store.prune(30, now_ns=_NOON_NS)
        with closing(sqlite3.connect(tmp_path / LIVE)) as live:
            assert live.execute("SELECT count(*) FROM point_table").fetchone() == (1,)
    for name in "xyz":
        found = all_samples(tmp_path, f"line1/plc/{name}")
        assert [sample.value for sample in found] == [0, 1, 2]
    assert len(EmbeddedReader(tmp_path).latest([f"line1/plc/{name}" for name in "xyz"])) == 3
