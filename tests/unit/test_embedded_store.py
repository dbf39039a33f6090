"""The embedded store keeps each sample once, with its type, in the file of its UTC day."""

import itertools
import logging
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import decode, encode
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.schema import LIVE, SCHEMA_VERSION
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.losses import Loss
from collectors.history.read import Gap
from collectors.history.segment import Position
from collectors.history.spool_reader import Record

_S = 10**9
_DAY_NS = 86_400 * _S
_NOON_NS = 1_795_435_200 * _S  # 2026-11-23 12:00 UTC
_VALUES: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
)


def reading(value: Value, at_ns: int, *, point: str = "plc/x", received_ns: int = 0) -> Sample:
    return Sample(
        point=point,
        value=value,
        quality=Quality.GOOD,
        source_ns=at_ns,
        received_ns=received_ns or at_ns + 1,
    )


_sequences = itertools.count(1)


def record(samples: Sequence[Sample]) -> Record:
    sequence = next(_sequences)
    end = Position(segment=1, offset=0, sequence=sequence)
    return Record(sequence=sequence, wall_ns=0, batch=decode(encode(samples)), end=end)


def all_samples(directory: Path, series: str = "line1/plc/x") -> tuple[Sample, ...]:
    reader = EmbeddedReader(directory)
    return reader.range(series, -(2**63), 2**63 - 1, buckets=None).samples


def samples_on_disk(directory: Path) -> int:
    return sum(samples_on_disk_of(path) for path in directory.glob("????-??-??.db"))


def samples_on_disk_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT total(samples) FROM chunk").fetchone()[0])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path)
    yield store
    store.close()


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.lists(_VALUES, min_size=1, max_size=20))
def test_every_value_comes_back_with_its_own_type(
    tmp_path_factory: pytest.TempPathFactory, values: list[Value]
) -> None:
    directory = tmp_path_factory.mktemp("history")
    samples = [reading(value, _NOON_NS + index) for index, value in enumerate(values)]
    store = EmbeddedStore(directory)
    assert store.append("line1", [record(samples)]) == len(samples)
    back = all_samples(directory)
    assert back == tuple(samples)
    assert [repr(sample.value) for sample in back] == [repr(value) for value in values]
    store.close()


def test_a_bad_sample_keeps_its_reason(store: EmbeddedStore, tmp_path: Path) -> None:
    bad = Sample(
        point="plc/x",
        value=None,
        quality=Quality.BAD_DEVICE,
        code=0x80AB0000,
        source_ns=_NOON_NS,
        received_ns=_NOON_NS,
    )
    store.append("line1", [record([bad])])
    assert all_samples(tmp_path) == (bad,)


def test_storing_the_same_records_again_changes_nothing(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    records = [
        record([reading(value, _NOON_NS + put * _S, point=f"plc/{value}") for value in range(20)])
        for put in range(10)
    ]
    store.append("line1", records)
    store.append("line1", records[3:])
    store.seal_all()
    store.append("line1", records[5:])
    store.seal_all()
    assert samples_on_disk(tmp_path) == 200


def test_the_last_of_several_samples_with_one_source_time_is_kept(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    store.append("line1", [record([reading(1, _NOON_NS)]), record([reading(2, _NOON_NS)])])
    assert [sample.value for sample in all_samples(tmp_path)] == [2]
    store.append("line1", [record([reading(3, _NOON_NS)])])
    assert [sample.value for sample in all_samples(tmp_path)] == [3]


def test_the_latest_value_is_the_newest_by_source_time(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    store.append("line1", [record([reading(2, _NOON_NS + 5), reading(1, _NOON_NS)])])
    store.append("line1", [record([reading(0, _NOON_NS - 5)])])
    store.append("line2", [record([reading("text", _NOON_NS)])])
    latest = EmbeddedReader(tmp_path).latest(["line1/plc/x", "line2/plc/x", "line3/plc/x"])
    assert {key: found.value for key, found in latest.items()} == {
        "line1/plc/x": 2,
        "line2/plc/x": "text",
    }
    assert latest["line1/plc/x"].source_ns == _NOON_NS + 5


def test_a_batch_over_midnight_is_split_between_two_files(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    midnight_ns = _NOON_NS + _DAY_NS // 2
    samples = [reading(offset, midnight_ns + offset) for offset in (-2, -1, 0, 1)]
    store.append("line1", [record(samples)])
    assert [sample.value for sample in all_samples(tmp_path)] == [-2, -1, 0, 1]
    store.seal_all()
    assert sorted(path.name for path in tmp_path.glob("20*-*.db")) == [
        "2026-11-23.db",
        "2026-11-24.db",
    ]
    assert [sample.value for sample in all_samples(tmp_path)] == [-2, -1, 0, 1]


@pytest.mark.parametrize("error_s", [2 * 3600, 40 * 366 * 86_400, -40 * 86_400])
def test_a_wrong_device_clock_gives_an_uncertain_sample_at_the_time_of_receipt(
    store: EmbeddedStore, tmp_path: Path, error_s: int
) -> None:
    wrong = reading(1, _NOON_NS + error_s * _S, received_ns=_NOON_NS)
    right = reading(2, _NOON_NS + 1, received_ns=_NOON_NS + 1)
    store.append("line1", [record([wrong, right])])
    assert [(s.source_ns, s.quality, s.value) for s in all_samples(tmp_path)] == [
        (_NOON_NS, Quality.UNCERTAIN, 1),
        (_NOON_NS + 1, Quality.GOOD, 2),
    ]
    assert EmbeddedReader(tmp_path).latest(["line1/plc/x"])["line1/plc/x"].value == 2


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_system_clock_that_was_ahead_does_not_hold_the_latest_value(
    store: EmbeddedStore, tmp_path: Path, is_sealed: bool
) -> None:
    for value, error_s in enumerate([0, 90 * 86_400, 90 * 86_400, 0, -1800]):
        at_ns = _NOON_NS + value * _S + error_s * _S
        store.append("line1", [record([reading(value, at_ns)])])
        if is_sealed:
            store.seal_all()
        latest = EmbeddedReader(tmp_path).latest(["line1/plc/x"])["line1/plc/x"]
        # The last one is late, from before the others.
        assert latest.value == min(value, 3)
    assert len(all_samples(tmp_path)) == 5


def test_what_a_collector_could_not_keep_is_a_gap_of_all_its_series(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    loss = Loss(reason="size", samples=7, first_ns=_NOON_NS - 90 * _S, last_ns=_NOON_NS - 10 * _S)
    told = replace(record([reading(1, _NOON_NS)]), losses=(loss,))
    store.append("line1", [told])
    store.append("line1", [told])
    store.append("line2", [record([reading(2, _NOON_NS)])])
    store.seal_all()
    reader = EmbeddedReader(tmp_path)
    gap = Gap(start_ns=loss.first_ns, end_ns=loss.last_ns, samples=7, reason="size")
    for series, start_ns, expected in (
        ("line1/plc/x", _NOON_NS - 60 * _S, (gap,)),
        ("line1/plc/x", _NOON_NS - 5 * _S, ()),
        ("line2/plc/x", _NOON_NS - 60 * _S, ()),
    ):
        assert reader.range(series, start_ns, _NOON_NS, buckets=10).gaps == expected


@pytest.mark.parametrize("name", ["2026-11-23.db", LIVE])
def test_a_damaged_file_is_set_aside_and_storing_goes_on(
    store: EmbeddedStore, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_bytes(b"this is not a database " * 1000)
    caplog.set_level(logging.ERROR)
    store.append("line1", [record([reading(1, _NOON_NS)])])
    store.seal_all()
    assert [sample.value for sample in all_samples(tmp_path)] == [1]
    assert len([*tmp_path.glob(f"{name}.damaged-*")]) == 1
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR]


def test_a_file_of_a_newer_program_is_neither_written_nor_set_aside(tmp_path: Path) -> None:
    path = tmp_path / LIVE
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    store = EmbeddedStore(tmp_path)
    with pytest.raises(sqlite3.NotSupportedError, match="move the file away"):
        store.append("line1", [record([reading(1, _NOON_NS)])])
    store.close()
    assert path.read_bytes()[100:] == before[100:]
    assert not [*tmp_path.glob("*.damaged-*")]


def test_a_database_locked_by_somebody_else_is_an_error_that_a_retry_mends(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    store.append("line1", [record([reading(1, _NOON_NS)])])
    with closing(sqlite3.connect(tmp_path / LIVE)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.append("line1", [record([reading(2, _NOON_NS + 1)])])
    store.append("line1", [record([reading(2, _NOON_NS + 1)])])
    store.seal_all()
    store.append("line1", [record([reading(3, _NOON_NS + 2)])])
    with closing(sqlite3.connect(tmp_path / "2026-11-23.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.seal_all()
    store.seal_all()
    assert [sample.value for sample in all_samples(tmp_path)] == [1, 2, 3]


def test_a_day_that_cannot_be_written_keeps_nothing_else_from_being_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [0.0]
    store = EmbeddedStore(tmp_path, monotonic=lambda: now_s[0])
    with closing(sqlite3.connect(tmp_path / "2026-11-23.db")) as newer:
        newer.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    for value in range(4):
        point = f"plc/{value % 2}"
        at_ns = _NOON_NS + value % 2 * _DAY_NS + value
        store.append("line1", [record([reading(value, at_ns, point=point)])])
    for _ in range(3):
        now_s[0] += 400.0
        store.sync()
    errors = [entry.message for entry in caplog.records if entry.levelno == logging.ERROR]
    assert errors == ["history cannot be sealed; it waits in live.db"]
    assert samples_on_disk_of(tmp_path / "2026-11-24.db") == 2
    (tmp_path / "2026-11-23.db").unlink()
    now_s[0] += 400.0
    store.sync()
    assert [s.value for s in all_samples(tmp_path, "line1/plc/0")] == [0, 2]
    assert samples_on_disk(tmp_path) == 4
    store.close()


def test_sync_after_close_and_after_a_file_was_deleted_does_not_fail(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    store.append("line1", [record([reading(1, _NOON_NS)])])
    store.sync()
    store.append("line1", [record([reading(2, _NOON_NS + 1)])])
    store.close()
    store.sync()
    store.append("line1", [record([reading(3, _NOON_NS + 2)])])
    store.seal_all()
    for path in tmp_path.iterdir():
        path.unlink()
    store.sync()
    store.append("line1", [record([reading(4, _NOON_NS + 3)])])
    assert [sample.value for sample in all_samples(tmp_path)] == [4]


def test_floats_are_kept_to_the_last_bit(store: EmbeddedStore, tmp_path: Path) -> None:
    values = [0.1 + 0.2, math.ulp(0.0), -0.0, 1e308, 5.0]
    store.append("l", [record([reading(v, _NOON_NS + i) for i, v in enumerate(values)])])
    back = [sample.value for sample in all_samples(tmp_path, "l/plc/x")]
    assert list(map(repr, back)) == list(map(repr, values))
