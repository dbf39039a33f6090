"""Every reader of stored history answers alike, whatever the store.

The answers of the Flux reader's server are in InfluxDB's documented form, **not verified on a live
InfluxDB 2.x**, see ``flux_stand_in``. With ``DAQ_TEST_INFLUX2_URL`` set to a URL as in
``DAQ_STORES``, for instance ``influx2+http://127.0.0.1:8086/?org=o&bucket=b&token_env=TOKEN``, the
same cases run on a live one; use an empty bucket.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from engines import VictoriaMetrics, find_engine
from flux_stand_in import FluxStandIn
from store_samples import BASE_NS, record, sample

from collectors.contract.points import Quality, Sample
from collectors.contract.store_urls import parse_stores
from collectors.history.read import Bucket, HistoryError, HistoryReader
from collectors.history.readers import open_reader
from collectors.history.stores import open_store

_S = 10**9
FRESH_NS = time.time_ns() // _S * _S
_ODD = ["a b", "a,b=c", 'x"y', "back\\slash", "温度", "{x}$", "${v}", ".*"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A store with the samples of :func:`plant` in it, and what it cannot keep."""

    reader: HistoryReader
    stop: Callable[[], None]
    resolution_ns: int = 1
    keeps_text: bool = True
    keeps_received: bool = True
    keeps_backslashes: bool = True


def plant() -> dict[str, list[Sample]]:
    """Return what two collectors have read: by collector, in order of time."""
    press = "press 1"
    line1 = [sample(n / 2, f"{press}/walk", at_ns=BASE_NS + n * _S) for n in range(100)]
    line1 += [sample(n % 3 == 0, f"{press}/on", at_ns=BASE_NS + n * _S) for n in range(9)]
    line1 += [sample(n - 5, f"{press}/count", at_ns=BASE_NS + n * _S) for n in range(10)]
    line1 += [
        sample(value, f"{press}/gaps", at_ns=BASE_NS + n * _S, quality=quality, code=code)
        for n, (value, quality, code) in enumerate(
            [
                (1.5, Quality.GOOD, 0),
                (None, Quality.BAD_COMM, 7),
                (None, Quality.BAD_TIMEOUT, 0),
                (2.5, Quality.UNCERTAIN, 3),
                (3.5, Quality.GOOD, 4),
                (None, Quality.BAD_DEVICE, 11),
            ]
        )
    ]
    line1 += [sample("run", f"{press}/mode", at_ns=BASE_NS)]
    line1 += [sample("stop", f"{press}/mode", at_ns=BASE_NS + _S)]
    line1 += [sample(n + 0.5, f"odd/{name}") for n, name in enumerate(_ODD)]
    now_ns = FRESH_NS
    line1 += [sample(n, f"{press}/fresh", at_ns=now_ns + n * _S) for n in range(-20, 1)]
    line10 = [sample(7.25, "pump/flow", at_ns=BASE_NS)]
    return {"line1": line1, "line10": line10}


def fill(url: str, home: Path) -> None:
    """Store all samples, and then once more, as after a crash."""
    store = open_store(parse_stores(url)[0], home)
    for _ in range(2):
        for collector, samples in plant().items():
            store.append(collector, [record(samples)])
    store.sync()
    store.close()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Case:
    home = tmp_path_factory.mktemp("home")
    fill("embedded:", home)
    reader = open_reader(parse_stores("embedded:")[0], home)

    def stop() -> None:
        for file in (home / "history").glob("*.db"):
            file.write_bytes(b"not a database" * 1000)

    return Case(reader=reader, stop=stop)


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    if find_engine("victoria-metrics") is None:
        pytest.skip("no victoria-metrics here; .ci/system.sh fetches it from Debian")
    home = tmp_path_factory.mktemp("vm")
    engine = VictoriaMetrics(home)
    engine.start()
    url = f"vm+{engine.url}"
    fill(url, home)
    engine.flush()
    yield Case(
        reader=open_reader(parse_stores(url)[0], home),
        stop=engine.kill,
        resolution_ns=10**6,
        keeps_text=False,
        keeps_received=False,
    )
    engine.kill()


@pytest.fixture(scope="module")
def flux_documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    home = tmp_path_factory.mktemp("flux")
    server = FluxStandIn()
    url = f"influx2+{server.url}/?org=works&bucket=plant"
    fill(url, home)
    yield Case(reader=open_reader(parse_stores(url)[0], home), stop=server.close)
    server.close()


@pytest.fixture(scope="module")
def flux_live(tmp_path_factory: pytest.TempPathFactory) -> Case:
    url = os.environ.get("DAQ_TEST_INFLUX2_URL")
    if not url:
        pytest.skip("DAQ_TEST_INFLUX2_URL names no live InfluxDB 2")
    home = tmp_path_factory.mktemp("live")
    fill(url, home)
    return Case(
        reader=open_reader(parse_stores(url)[0], home),
        stop=lambda: pytest.skip("a live server is not stopped"),
    )


@pytest.fixture(scope="module", params=["embedded", "victoria", "flux_documented", "flux_live"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


def samples_of(case: Case, series: str) -> list[Sample]:
    """Return the samples of a series as this store can keep them."""
    collector, _, point = series.partition("/")
    return [
        sample(
            found.value,
            point,
            at_ns=found.source_ns // case.resolution_ns * case.resolution_ns,
            quality=found.quality,
            code=found.code,
        )
        for found in plant()[collector]
        if found.point == point and (case.keeps_text or not isinstance(found.value, str))
    ]


def as_kept(case: Case, samples: Sequence[Sample]) -> list[tuple[object, ...]]:
    """Return what can be compared, with the type of each value."""
    return [
        (
            found.point,
            found.value,
            type(found.value),
            found.quality,
            found.code,
            found.source_ns,
            found.received_ns - found.source_ns if case.keeps_received else None,
        )
        for found in samples
    ]


def expected_buckets(samples: Sequence[Sample], start_ns: int, width_ns: int) -> list[Bucket]:
    """Return what the buckets must be, told apart by the plain definition."""
    by_number: dict[int, list[Sample]] = {}
    for found in samples:
        by_number.setdefault((found.source_ns - start_ns) // width_ns, []).append(found)
    buckets = []
    for number, inside in sorted(by_number.items()):
        values = [f.value for f in inside if f.value is not None and not isinstance(f.value, str)]
        numbers = [float(value) for value in values]
        bad = sum(found.quality.is_bad for found in inside)
        buckets.append(
            Bucket(
                start_ns=start_ns + number * width_ns,
                minimum=min(numbers, default=None),
                mean=sum(numbers) / len(numbers) if numbers else None,
                maximum=max(numbers, default=None),
                good=len(inside) - bad,
                bad=bad,
            )
        )
    return buckets


def test_series_are_found_by_the_beginning_of_their_name(case: Case) -> None:
    reader = case.reader
    names = {f"{collector}/{s.point}" for collector, all_ in plant().items() for s in all_}
    if not case.keeps_text:
        names.remove("line1/press 1/mode")
    assert reader.series("") == sorted(names)
    assert reader.series("line1/") == sorted(n for n in names if n.startswith("line1/"))
    assert reader.series("line1") == sorted(names)
    assert reader.series("line10") == ["line10/pump/flow"]
    assert reader.series("line1/press 1/o") == ["line1/press 1/on"]
    assert reader.series("line1/press") == sorted(n for n in names if "/press 1/" in n)
    assert reader.series("line1/press 1/walk") == ["line1/press 1/walk"]
    assert reader.series("nothing") == []
    assert reader.series("line1/.") == []


@pytest.mark.parametrize("point", ["walk", "on", "count", "gaps", "mode"])
def test_samples_come_back_once_in_order_and_with_their_types(case: Case, point: str) -> None:
    series = f"line1/press 1/{point}"
    found = case.reader.range(series, BASE_NS, BASE_NS + 200 * _S, buckets=None)
    assert found.resolution_ns == 0
    assert as_kept(case, found.samples) == as_kept(case, samples_of(case, series))
    assert len(found.buckets) == len(found.samples)


@pytest.mark.parametrize("name", _ODD)
def test_names_may_hold_what_queries_are_made_of(case: Case, name: str) -> None:
    series = f"line1/odd/{name}"
    found = case.reader.range(series, BASE_NS, BASE_NS + _S, buckets=None)
    assert [s.value for s in found.samples] == [_ODD.index(name) + 0.5]
    assert case.reader.latest([series])[series].value == _ODD.index(name) + 0.5
    assert case.reader.series(series) == [series]


def test_a_range_contains_its_start_and_not_its_end(case: Case) -> None:
    found = case.reader.range("line1/press 1/walk", BASE_NS + 3 * _S, BASE_NS + 7 * _S, buckets=9)
    assert [s.value for s in found.samples] == [1.5, 2.0, 2.5, 3.0]
    assert [(b.minimum, b.mean, b.maximum, b.good, b.bad) for b in found.buckets[:1]] == [
        (1.5, 1.5, 1.5, 1, 0)
    ]


def test_ranges_that_follow_each_other_have_every_sample_once(case: Case) -> None:
    bounds = [BASE_NS + n * 9_999_999_999 for n in range(12)]
    values = [
        sample.value
        for start_ns, end_ns in pairwise(bounds)
        for sample in case.reader.range(
            "line1/press 1/walk", start_ns, end_ns, buckets=None
        ).samples
    ]
    assert values == [n / 2 for n in range(100)]


@pytest.mark.parametrize(("point", "buckets"), [("walk", 7), ("walk", 99), ("on", 2), ("gaps", 4)])
def test_buckets_have_what_happened_in_them(case: Case, point: str, buckets: int) -> None:
    series = f"line1/press 1/{point}"
    end_ns = BASE_NS + (100 if point == "walk" else 9) * _S
    found = case.reader.range(series, BASE_NS, end_ns, buckets=buckets)
    assert found.resolution_ns > 0
    assert not found.samples
    assert len(found.buckets) <= buckets
    kept = samples_of(case, series)
    assert list(found.buckets) == expected_buckets(kept, BASE_NS, found.resolution_ns)


def test_the_last_seconds_are_there_at_once(case: Case) -> None:
    series = "line1/press 1/fresh"
    start_ns = FRESH_NS - 40 * _S
    found = case.reader.range(series, start_ns, FRESH_NS + 10 * _S, buckets=10)
    kept = samples_of(case, series)
    assert list(found.buckets) == expected_buckets(kept, start_ns, found.resolution_ns)
    assert case.reader.latest([series])[series].value == 0


def test_a_bucket_with_nothing_but_bad_samples_is_a_gap_to_be_seen(case: Case) -> None:
    end_ns = BASE_NS + 6 * _S
    found = case.reader.range("line1/press 1/gaps", BASE_NS, end_ns, buckets=5)
    gap = found.buckets[1]
    assert (gap.minimum, gap.mean, gap.maximum, gap.good, gap.bad) == (None, None, None, 0, 1)


def test_text_is_counted_where_it_is_kept(case: Case) -> None:
    if not case.keeps_text:
        pytest.skip("this store keeps numbers only")
    found = case.reader.range("line1/press 1/mode", BASE_NS, BASE_NS + 10 * _S, buckets=1)
    (bucket,) = found.buckets
    assert (bucket.minimum, bucket.good, bucket.bad) == (None, 2, 0)


def test_the_newest_value_is_the_newest_even_if_it_is_bad(case: Case) -> None:
    names = [f"line1/press 1/{point}" for point in ("walk", "on", "gaps", "nothing")]
    found = case.reader.latest([*names, "line10/pump/flow", "line10/press 1/walk"])
    assert set(found) == {*names[:3], "line10/pump/flow"}
    walk, gaps = found[names[0]], found[names[2]]
    assert (walk.value, walk.quality, walk.source_ns) == (49.5, Quality.GOOD, BASE_NS + 99 * _S)
    assert found[names[1]].value is False
    assert (gaps.value, gaps.quality, gaps.code) == (None, Quality.BAD_DEVICE, 11)
    if case.keeps_received:
        assert walk.received_ns == walk.source_ns + 1500


def test_where_nothing_is_there_is_no_bucket(case: Case) -> None:
    for series in ("line1/press 1/walk", "line1/press 1/nothing", "no", ""):
        found = case.reader.range(series, BASE_NS - 50 * _S, BASE_NS, buckets=10)
        assert (found.buckets, found.samples) == ((), ())
    assert case.reader.latest([]) == {}


def test_a_range_that_is_none_is_refused(case: Case) -> None:
    with pytest.raises(ValueError, match="not after its start"):
        case.reader.range("line1/press 1/walk", BASE_NS, BASE_NS, buckets=10)
    with pytest.raises(ValueError, match="at least 1"):
        case.reader.range("line1/press 1/walk", BASE_NS, BASE_NS + 1, buckets=0)


def test_a_store_that_cannot_be_read_says_so(case: Case) -> None:
    """The last test of each store: it is broken afterwards."""
    case.stop()
    with pytest.raises(HistoryError):
        case.reader.range("line1/press 1/walk", BASE_NS, BASE_NS + _S, buckets=None)
