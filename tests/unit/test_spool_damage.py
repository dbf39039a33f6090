"""Whatever a crash leaves at the end of a segment, no wrong sample is ever read from it."""

import random
import shutil
from pathlib import Path

import pytest

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import table_reference
from collectors.history.segment import Frame, pack_record, parse_record, whole_records
from collectors.history.spool import SpoolWriter
from collectors.history.spool_reader import SpoolReader

_TRIALS = 300
_PUTS = 12


def _value_choices(put: int, rng: random.Random) -> list[Value]:
    return [rng.random(), rng.randrange(2**63), True, f"text {put}"]


def _samples(put: int) -> list[Sample]:
    rng = random.Random(put)
    return [
        Sample(
            point=f"plc/p{index}",
            value=rng.choice(_value_choices(put, rng)),
            quality=Quality.GOOD,
            source_ns=put * 10**9 + index,
            received_ns=put * 10**9 + index + 5,
        )
        for index in range(rng.randrange(1, 12))
    ]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("intact")
    spool = SpoolWriter(directory, max_bytes=10**7, max_age_s=3600.0)
    for put in range(1, _PUTS + 1):
        assert spool.put(_samples(put)) == put
    spool.close()
    return directory


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Return what a crash, a power cut or a bad disk may make of the file."""
    at = rng.randrange(len(data))
    kind = rng.randrange(5)
    if kind == 0:  # cut off
        return data[:at]
    if kind == 1:  # blocks that never reached the disk
        return data[:at] + bytes(len(data) - at)
    if kind == 2:  # file made longer, data lost
        return data + bytes(rng.randrange(1, 5000))
    if kind == 3:  # rubbish
        return data[:at] + rng.randbytes(rng.randrange(1, 400))
    flipped = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _readable(frames: list[Frame], undamaged: set[int]) -> list[int]:
    """Return the records that are whole and whose points are named in a whole record."""
    readable = []
    for frame in frames:
        place = table_reference(frame.body).place
        if {frame.start, frame.start if place is None else place} <= undamaged:
            readable.append(frame.sequence)
    return readable


@pytest.mark.parametrize("writer_comes_first", [True, False])
def test_a_damaged_segment_gives_all_whole_records_and_no_other(
    intact: Path, tmp_path: Path, writer_comes_first: bool
) -> None:
    (segment,) = intact.glob("*.seg")
    data = segment.read_bytes()
    frames = [*whole_records(data)]
    rng = random.Random(7)
    for trial in range(_TRIALS // 2):
        directory = tmp_path / str(trial)
        shutil.copytree(intact, directory)
        damaged = _damaged(data, rng)
        (directory / segment.name).write_bytes(damaged)
        whole = _readable(frames, {f.start for f in frames if f == parse_record(damaged, f.start)})
        reader = SpoolReader(directory, "store")
        records = [] if writer_comes_first else reader.read(100)
        spool = SpoolWriter(directory, max_bytes=10**7, max_age_s=3600.0)
        new = spool.put(_samples(1000))
        records += reader.read(100)
        reader.close()
        spool.close()

        assert [record.sequence for record in records] == [*whole, new], f"trial {trial}"
        for record in records[:-1]:
            assert record.batch.samples() == _samples(record.sequence), f"trial {trial}"
        assert records[-1].batch.samples() == _samples(1000)


def test_zeros_are_not_an_empty_record() -> None:
    assert parse_record(bytes(1000), 0) is None
    assert parse_record(pack_record(0, 0, b""), 0) is None


def test_the_next_whole_record_behind_damage_is_found() -> None:
    record = bytearray(pack_record(1, 1, b"before" + b"x" * 50) + pack_record(2, 2, b"after"))
    assert [frame.sequence for frame in whole_records(bytes(record))] == [1, 2]
    record[30] ^= 1
    assert [frame.sequence for frame in whole_records(bytes(record))] == [2]
