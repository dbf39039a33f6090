"""The VictoriaMetrics sink against the real server: what it keeps, what it loses, what it hides."""

import time
from collections.abc import Iterator

import pytest
from engines import VictoriaMetrics, find_engine
from store_samples import BASE_NS, record, sample

from collectors.history.influx import InfluxTarget
from collectors.history.store import StoreUnavailable
from collectors.history.victoria import VictoriaStore

pytestmark = pytest.mark.skipif(
    find_engine("victoria-metrics") is None,
    reason="no victoria-metrics here; .ci/system.sh fetches it from Debian",
)
_MS = 10**6


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    engine = VictoriaMetrics(tmp_path_factory.mktemp("vm"))
    engine.start()
    yield engine
    engine.kill()


@pytest.fixture
def store(engine: VictoriaMetrics) -> Iterator[VictoriaStore]:
    store = VictoriaStore("vm", InfluxTarget(url=engine.url))
    yield store
    store.close()


def test_numbers_names_and_milliseconds_come_back_as_they_went(
    engine: VictoriaMetrics, store: VictoriaStore
) -> None:
    odd = ["a b", "a,b=c", 'x"y', "a\\b", "end\\", "温度", "a\\,b", "a\\\\b", "{x}"]
    samples = [sample(n + 0.5, f"press 1/{name}") for n, name in enumerate(odd)]
    samples += [sample(2**53 - 1, "press 1/int"), sample(True, "press 1/bool")]
    samples += [sample(None, "press 1/bad", code=9)]
    assert store.append("line1", [record(samples)]).stored == len(samples)
    found = {
        (series["metric"]["__name__"], series["metric"]["point"]): series
        for series in engine.export('{collector="line1",device="press 1"}')
    }
    for n, name in enumerate(odd):
        series = found["daq_float", name]
        assert (series["values"], series["timestamps"]) == ([n + 0.5], [BASE_NS // _MS])
    assert found["daq_int", "int"]["values"] == [2**53 - 1]
    assert found["daq_bool", "bool"]["values"] == [1]
    assert found["daq_quality", "bad"]["values"] == [3]
    assert found["daq_code", "bad"]["values"] == [9]
    assert len(found) == len(samples) + 1


def test_text_is_refused_instead_of_becoming_zero(
    engine: VictoriaMetrics, store: VictoriaStore
) -> None:
    appended = store.append("line1", [record([sample("run", "press/mode"), sample(1.5)])])
    assert appended.stored == 1
    assert [refusal.sample.value for refusal in appended.refusals] == ["run"]
    assert [series["metric"]["point"] for series in engine.export()] == ["temp"]


def test_what_is_sent_three_times_is_shown_once(
    engine: VictoriaMetrics, store: VictoriaStore
) -> None:
    samples = [sample(float(n), at_ns=BASE_NS + n * _MS) for n in range(1000)]
    for _ in range(3):
        store.append("line1", [record(samples)])
    (series,) = engine.export()
    assert series["values"] == [float(n) for n in range(1000)]


def test_its_boot_id_changes_when_it_starts_again_even_within_one_second(
    engine: VictoriaMetrics, store: VictoriaStore
) -> None:
    store.append("line1", [record([sample(1.5)])])
    first = store.boot_id()
    assert first == store.boot_id()
    assert first is not None
    engine.kill()
    with pytest.raises(StoreUnavailable):
        store.boot_id()
    engine.start()
    assert store.boot_id() != first


def test_a_cluster_tells_no_boot_id() -> None:
    target = InfluxTarget(url="http://127.0.0.1:1/insert/0/influx")
    assert VictoriaStore("vm", target).boot_id() is None


def test_rows_that_it_confirms_and_leaves_out_are_told(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    engine = VictoriaMetrics(tmp_path_factory.mktemp("short"))
    arguments = [a for a in engine.command() if "retention" not in a]
    engine.command = lambda: [*arguments, "-retentionPeriod=1d"]  # type: ignore[method-assign] # this one forgets soon
    engine.start()
    now_mono = time.monotonic()
    store = VictoriaStore("vm", InfluxTarget(url=engine.url), monotonic=lambda: now_mono)
    store.boot_id()
    old = sample(1.5, at_ns=BASE_NS - 5 * 86_400 * 10**9)
    assert store.append("line1", [record([old])]).stored == 1
    deadline = time.monotonic() + 10.0
    # It counts its own rows once a second.
    while "left out rows" not in caplog.text and time.monotonic() < deadline:
        now_mono += 60
        store.boot_id()
        time.sleep(0.05)
    store.close()
    engine.kill()
    assert '"small_timestamp"' in caplog.records[-1].__dict__["counter"]
