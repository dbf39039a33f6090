"""History is read in buckets or as samples, over several days, while it is being written."""

import itertools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import decode, encode
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.embedded.schema import LIVE
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.read import Bucket, HistoryError, HistoryReader
from collectors.history.segment import Position
from collectors.history.spool_reader import Record

_S = 10**9
_MIDNIGHT_NS = 1_795_478_400 * _S  # 2026-11-24 00:00 UTC
_SERIES = "line1/plc/x"


def sample(value: Value | None, at_ns: int, *, point: str = "plc/x") -> Sample:
    quality = Quality.BAD_TIMEOUT if value is None else Quality.GOOD
    return Sample(point=point, value=value, quality=quality, source_ns=at_ns, received_ns=at_ns)


_sequences = itertools.count(1)


def record(samples: Sequence[Sample]) -> Record:
    sequence = next(_sequences)
    end = Position(segment=1, offset=0, sequence=sequence)
    return Record(sequence=sequence, wall_ns=0, batch=decode(encode(samples)), end=end)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path)
    yield store
    store.close()


@pytest.fixture
def reader(tmp_path: Path) -> HistoryReader:
    return EmbeddedReader(tmp_path)


def put(store: EmbeddedStore, values: Sequence[Value | None], start_ns: int) -> None:
    """Store one value a second."""
    store.append(
        "line1", [record([sample(v, start_ns + index * _S) for index, v in enumerate(values)])]
    )


def test_before_anything_was_stored_every_answer_is_empty(tmp_path: Path) -> None:
    reader = EmbeddedReader(tmp_path / "not" / "there")
    assert reader.series("") == []
    assert reader.latest([_SERIES]) == {}
    answer = reader.range(_SERIES, 0, 10, buckets=5)
    assert (answer.buckets, answer.samples, answer.resolution_ns) == ((), (), 0)


def test_an_unknown_series_has_no_samples(store: EmbeddedStore, reader: HistoryReader) -> None:
    put(store, [1], _MIDNIGHT_NS)
    assert reader.range("line1/plc/y", 0, 2**62, buckets=10).buckets == ()


def test_few_samples_are_returned_as_they_are(store: EmbeddedStore, reader: HistoryReader) -> None:
    put(store, [True, 2, "text", None, 5.5], _MIDNIGHT_NS)
    answer = reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + 60 * _S, buckets=5)
    assert answer.resolution_ns == 0
    assert [repr(found.value) for found in answer.samples] == ["True", "2", "'text'", "None", "5.5"]
    assert [(b.minimum, b.mean, b.maximum, b.good, b.bad) for b in answer.buckets] == [
        (1, 1, 1, 1, 0),
        (2, 2, 2, 1, 0),
        (None, None, None, 1, 0),
        (None, None, None, 0, 1),
        (5.5, 5.5, 5.5, 1, 0),
    ]
    assert [bucket.start_ns for bucket in answer.buckets] == [
        _MIDNIGHT_NS + index * _S for index in range(5)
    ]


def test_many_samples_are_put_into_buckets_of_equal_width(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    put(store, list(range(100)), _MIDNIGHT_NS)
    answer = reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + 100 * _S, buckets=10)
    assert answer.resolution_ns == 10 * _S
    assert answer.samples == ()
    assert answer.buckets == tuple(
        Bucket(
            start_ns=_MIDNIGHT_NS + n * 10 * _S,
            minimum=n * 10,
            mean=n * 10 + 4.5,
            maximum=n * 10 + 9,
            good=10,
            bad=0,
        )
        for n in range(10)
    )


def test_a_bucket_over_midnight_is_put_together_from_both_days(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    put(store, list(range(20)), _MIDNIGHT_NS - 10 * _S)
    start_ns = _MIDNIGHT_NS - 10 * _S
    answer = reader.range(_SERIES, start_ns, start_ns + 21 * _S, buckets=3)
    assert [(b.minimum, b.mean, b.maximum, b.good) for b in answer.buckets] == [
        (0, 3, 6, 7),
        (7, 10, 13, 7),
        (14, 16.5, 19, 6),
    ]
    raw = reader.range(_SERIES, start_ns, start_ns + 21 * _S, buckets=None)
    assert [found.value for found in raw.samples] == list(range(20))


def test_bad_samples_are_counted_and_do_not_enter_the_mean(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    put(store, [1, None, 3, *[None] * 3, *[5] * 3], _MIDNIGHT_NS)
    answer = reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + 9 * _S, buckets=3)
    assert [(b.mean, b.good, b.bad) for b in answer.buckets] == [(2, 2, 1), (None, 0, 3), (5, 3, 0)]


def test_text_has_a_count_and_bools_are_zero_and_one(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    put(store, ["9", "b", "c", True, False, True, True], _MIDNIGHT_NS)
    answer = reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + 9 * _S, buckets=3)
    assert [(b.minimum, b.mean, b.maximum, b.good) for b in answer.buckets] == [
        (None, None, None, 3),
        (0, pytest.approx(2 / 3), 1, 3),
        (1, 1, 1, 1),
    ]


def test_sums_of_the_largest_integers_do_not_overflow(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    put(store, [2**63 - 1] * 3 + [2**64 - 1] * 3, _MIDNIGHT_NS)
    answer = reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + 6 * _S, buckets=2)
    assert [b.mean for b in answer.buckets] == [pytest.approx(2.0**63), pytest.approx(2.0**64)]


def test_the_end_of_a_range_is_not_part_of_it(store: EmbeddedStore, reader: HistoryReader) -> None:
    put(store, [0, 1, 2, 3], _MIDNIGHT_NS)
    answer = reader.range(_SERIES, _MIDNIGHT_NS + _S, _MIDNIGHT_NS + 3 * _S, buckets=None)
    assert [found.value for found in answer.samples] == [1, 2]


@pytest.mark.parametrize(("end_ns", "buckets"), [(100, 10), (99, 10), (200, 0)])
def test_a_range_without_width_or_buckets_is_refused(
    reader: HistoryReader, end_ns: int, buckets: int
) -> None:
    with pytest.raises(ValueError, match=r"range ends|buckets asked"):
        reader.range(_SERIES, 100, end_ns, buckets=buckets)


def test_series_are_found_by_prefix(store: EmbeddedStore, reader: HistoryReader) -> None:
    points = ["plc/a", "plc/b", "plc2/a", "\u6e29\u5ea6/a", "p%_/a"]
    samples = [sample(1, _MIDNIGHT_NS, point=point) for point in points]
    store.append("line1", [record(samples)])
    store.append("line10", [record(samples[:1])])
    assert reader.series("line1/plc/") == ["line1/plc/a", "line1/plc/b"]
    assert reader.series("line1/") == sorted(f"line1/{point}" for point in points)
    assert reader.series("line1/p%") == ["line1/p%_/a"]
    assert len(reader.series("")) == 6


def test_the_latest_of_thousands_of_series_can_be_asked_at_once(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    samples = [sample(n, _MIDNIGHT_NS, point=f"plc/{n}") for n in range(2500)]
    store.append("line1", [record(samples)])
    latest = reader.latest([f"line1/plc/{n}" for n in range(2500)])
    assert {key: found.value for key, found in latest.items()} == {
        f"line1/plc/{n}": n for n in range(2500)
    }


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / LIVE).write_bytes(b"not a database " * 500)
    (tmp_path / "2026-11-24.db").write_bytes(b"not a database " * 500)
    reader = EmbeddedReader(tmp_path)
    with pytest.raises(HistoryError, match=LIVE):
        reader.latest([_SERIES])
    (tmp_path / LIVE).unlink()
    with pytest.raises(HistoryError, match=r"2026-11-24\.db"):
        reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + 1, buckets=None)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.data())
def test_buckets_agree_with_a_plain_count_over_the_samples(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    offsets = data.draw(st.lists(st.integers(-200, 200), min_size=1, max_size=60, unique=True))
    values = data.draw(
        st.lists(
            st.one_of(st.none(), st.integers(-1000, 1000), st.text(max_size=2)),
            min_size=len(offsets),
            max_size=len(offsets),
        )
    )
    start, length = data.draw(st.integers(-250, 250)), data.draw(st.integers(1, 400))
    count = data.draw(st.integers(1, 30))
    directory = tmp_path_factory.mktemp("history")
    store, reader = EmbeddedStore(directory), EmbeddedReader(directory)
    stored = {_MIDNIGHT_NS + o: v for o, v in zip(offsets, values, strict=True)}
    store.append("line1", [record([sample(value, at) for at, value in stored.items()])])
    start_ns, end_ns = _MIDNIGHT_NS + start, _MIDNIGHT_NS + start + length
    answer = reader.range(_SERIES, start_ns, end_ns, buckets=count)
    store.close()
    inside = {at: v for at, v in stored.items() if start_ns <= at < end_ns}
    assert len(answer.buckets) <= count
    assert sum(b.good for b in answer.buckets) == sum(v is not None for v in inside.values())
    assert sum(b.bad for b in answer.buckets) == sum(v is None for v in inside.values())
    for bucket in answer.buckets:
        width = answer.resolution_ns or 1
        numbers = [
            v
            for at, v in inside.items()
            if bucket.start_ns <= at < bucket.start_ns + width and isinstance(v, int)
        ]
        assert bucket.minimum == min(numbers, default=None)
        assert bucket.maximum == max(numbers, default=None)
        assert bucket.mean == (pytest.approx(statistics.mean(numbers)) if numbers else None)


def test_threads_read_while_the_store_is_written_and_see_only_whole_batches(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    stop = threading.Event()
    problems: list[str] = []
    answers = [0, 0, 0]

    def read(number: int) -> None:
        seen = 0
        while not stop.is_set():
            answer = reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + 10**15, buckets=None)
            count = len(answer.samples)
            if count % 50 or count < seen:
                problems.append(f"{count} samples after {seen}")
            seen = count
            reader.latest([_SERIES])
            reader.series("line1/")
            answers[number] += 1

    threads = [threading.Thread(target=read, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    batch = 0
    while batch < 40 or (min(answers) < 5 and time.monotonic() < deadline):
        put(store, list(range(50)), _MIDNIGHT_NS + batch % 400 * 50 * _S)
        batch += 1
    stop.set()
    for thread in threads:
        thread.join(10)
    assert problems == []
    assert min(answers) >= 5


def test_files_that_are_just_being_made_are_never_found_unreadable(tmp_path: Path) -> None:
    stop = threading.Event()
    homes = [tmp_path / str(number) for number in range(30)]
    at = [0]
    problems: list[str] = []

    def read() -> None:
        while not stop.is_set():
            reader = EmbeddedReader(homes[at[0]])
            try:
                reader.latest([_SERIES])
                reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + _S, buckets=None)
            except HistoryError as exc:
                problems.append(str(exc))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number, home in enumerate(homes):
        at[0] = number
        store = EmbeddedStore(home)
        put(store, [1, 2, 3], _MIDNIGHT_NS)
        store.close()
    stop.set()
    for thread in threads:
        thread.join(10)
    assert problems == []


def test_a_day_deleted_between_two_questions_is_simply_gone(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    put(store, list(range(20)), _MIDNIGHT_NS - 10 * _S)
    bounds = (_MIDNIGHT_NS - 20 * _S, _MIDNIGHT_NS + 20 * _S)
    assert len(reader.range(_SERIES, *bounds, buckets=None).samples) == 20
    store.seal_all()
    store.prune(0, now_ns=_MIDNIGHT_NS)
    assert len(reader.range(_SERIES, *bounds, buckets=None).samples) == 10


def test_reading_history_brings_no_part_of_the_data_path_with_it() -> None:
    script = "import sys, collectors.history.embedded.reader; print(*sorted(sys.modules))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    writers = {"spool", "spool_reader", "shipper", "embedded.store", "embedded.live"}
    assert not loaded.intersection(f"collectors.history.{name}" for name in writers)
    assert "pydantic" not in loaded


def test_a_day_of_one_reading_a_second_is_drawn_in_little_time(
    store: EmbeddedStore, reader: HistoryReader
) -> None:
    for start in range(0, 86_400, 7200):
        put(store, [float(n % 97) for n in range(7200)], _MIDNIGHT_NS + start * _S)
    store.seal_all()
    spent_s = []
    for _ in range(5):
        started = time.thread_time()
        answer = reader.range(_SERIES, _MIDNIGHT_NS, _MIDNIGHT_NS + 86_400 * _S, buckets=1000)
        spent_s.append(time.thread_time() - started)
    assert sum(bucket.good for bucket in answer.buckets) == 86_400
    assert min(spent_s) < 0.05, "24 h of a 1 Hz point should cost less than 50 ms"
