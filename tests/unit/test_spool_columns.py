"""Readings handed over as columns come back as they were, named once for many records."""

import random
from array import array
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.contract.columns import Columns, Runs
from collectors.contract.points import Quality, Value
from collectors.history.spool import NOT_STORED, SpoolWriter
from collectors.history.spool_reader import SpoolReader

_POINTS = tuple(f"plc/temperature_zone_{number}" for number in range(100))
_VALUES: st.SearchStrategy[Value] = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(-1e9, 1e9), st.text(max_size=3)
)


def readings(values: list[Value | None], *, at_ns: int = 1) -> Columns:
    return Columns(
        points=_POINTS[: len(values)],
        values=values,
        qualities=bytes([Quality.BAD_TIMEOUT if v is None else Quality.GOOD for v in values]),
        source_ns=Runs([(at_ns, len(values))]),
        received_ns=Runs([(at_ns + 5, len(values))]),
    )


def open_spool(directory: Path) -> SpoolWriter:
    return SpoolWriter(directory, max_bytes=10**7, max_age_s=3600.0)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.data())
def test_columns_come_back_with_every_value_and_type_unchanged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    spool = open_spool(directory)
    expected = []
    for at_ns in range(data.draw(st.integers(1, 5))):
        values = data.draw(st.lists(st.one_of(st.none(), _VALUES), min_size=1, max_size=20))
        columns = readings(values, at_ns=at_ns)
        kept = data.draw(st.none() | st.sets(st.integers(0, len(values) - 1), min_size=1))
        places = None if kept is None else sorted(kept)
        assert spool.put_columns(columns, places)
        samples = columns.samples()
        expected += samples if places is None else [samples[place] for place in places]
    spool.close()
    reader = SpoolReader(directory, "test")
    back = [sample for record in reader.read(100) for sample in record.batch.samples()]
    reader.close()
    assert back == expected
    assert [repr(sample.value) for sample in back] == [repr(s.value) for s in expected]


def test_names_are_written_once_for_many_records_of_whole_and_partial_readings(
    tmp_path: Path,
) -> None:
    spool = open_spool(tmp_path)
    values = array("d", range(100))
    columns = Columns(
        points=_POINTS,
        values=values,
        qualities=bytes(100),
        source_ns=Runs([(1, 100)]),
        received_ns=Runs([(2, 100)]),
    )
    for _ in range(60):
        spool.put_columns(columns)
        spool.put_columns(columns, [7, 70])
        spool.put(columns.samples()[5:9])
    spool.close()
    (path,) = tmp_path.glob("*.seg")
    data = path.read_bytes()
    assert data.count(b"\xf5DQ\x01") == 180
    assert len(data) < 60 * (100 * 8 + 3 * 120) + 4 * 1000


def test_points_that_come_in_ever_new_combinations_are_soon_named_together(
    tmp_path: Path,
) -> None:
    rng = random.Random(4)
    spool = open_spool(tmp_path)
    expected = []
    for value in range(600):
        chosen = tuple(rng.sample(_POINTS, rng.randrange(1, 5)))
        columns = replace(readings([value] * len(chosen)), points=chosen)
        spool.put_columns(columns)
        expected += columns.samples()
    spool.close()
    reader = SpoolReader(tmp_path, "test")
    records = reader.read(1000)
    reader.close()
    assert [sample for record in records for sample in record.batch.samples()] == expected
    assert len({record.batch.table for record in records[:100]}) > 20
    assert len({record.batch.table for record in records[-300:]}) == 1


def test_a_later_process_finds_names_that_were_written_before_its_cursor(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for value in range(10):
        spool.put_columns(readings([value, value]), [1])
    spool.close()
    reader = SpoolReader(tmp_path, "test")
    reader.commit(reader.read(5)[-1].end)
    reader.close()
    reader = SpoolReader(tmp_path, "test")
    found = [sample for record in reader.read(100) for sample in record.batch.samples()]
    reader.close()
    assert [(sample.point, sample.value) for sample in found] == [
        (_POINTS[1], value) for value in range(5, 10)
    ]


def test_a_reading_that_is_not_finite_or_not_of_its_quality_is_left_out_and_counted(
    tmp_path: Path,
) -> None:
    spool = open_spool(tmp_path)
    columns = readings([1.5, float("nan"), 1e308, 1e308, None, 3])
    wrong = bytes([0, 0, 0, 0, Quality.GOOD, Quality.BAD_RANGE])
    assert spool.put_columns(columns)
    assert spool.put_columns(
        Columns(
            points=columns.points,
            values=columns.values,
            qualities=wrong,
            source_ns=columns.source_ns,
            received_ns=columns.received_ns,
        ),
        [0, 4, 5],
    )
    assert spool.put_columns(readings([float("inf")])) == NOT_STORED
    assert spool.put_columns(readings([])) == NOT_STORED
    status = spool.status()
    spool.close()
    reader = SpoolReader(tmp_path, "test")
    found = [sample.value for record in reader.read(9) for sample in record.batch.samples()]
    reader.close()
    assert found == [1.5, 1e308, 1e308, None, 3, 1.5]
    assert (status.samples_in, status.samples_dropped) == (10, 4)
