"""Several stores at once: each gets all, whatever becomes of the others."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from engines import InfluxOne, VictoriaMetrics, find_engine, shim_before

from collectors.contract.historian_status import LedgerStatus, read_historian_status
from collectors.contract.points import Quality, Sample
from collectors.contract.store_urls import parse_stores
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.promql import PromqlReader
from collectors.history.segment import cursor_path
from collectors.history.spool import SpoolWriter
from collectors.history.victoria_http import VictoriaHttp

needs_victoria = pytest.mark.skipif(
    find_engine("victoria-metrics") is None,
    reason="no victoria-metrics here; .ci/system.sh fetches it from Debian",
)
_POINTS = 500


class Home:
    """A home with one spool and at most one historian."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spool = self.new_spool("line1")
        self.historian: subprocess.Popen[bytes] | None = None
        self.put_samples = 0

    def new_spool(self, name: str) -> SpoolWriter:
        return SpoolWriter(self.path / "spool" / name, max_bytes=500_000_000, max_age_s=1e6)

    def start(self, stores: str, **environment: str) -> None:
        command = [sys.executable, "-m", "collectors", "historian", "--home", str(self.path)]
        with (self.path / "output").open("ab") as output:
            self.historian = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env=os.environ | {"DAQ_STORES": stores} | environment,
            )

    def stop(self) -> float:
        """End the historian as supervisord does; return how long it took."""
        historian, self.historian = self.historian, None
        started = time.monotonic()
        if historian is not None:
            historian.terminate()
            assert historian.wait(10) == 0, self.output()
        return time.monotonic() - started

    def output(self) -> str:
        return (self.path / "output").read_text()

    def put(self, records: int, *, start_ns: int, step_ns: int) -> None:
        """Put records of 500 samples, one each ``step_ns``."""
        for number in range(records):
            at_ns = start_ns + number * step_ns
            samples = [
                Sample(
                    point=f"plc/p{n}",
                    value=float(number),
                    quality=Quality.GOOD,
                    source_ns=at_ns,
                    received_ns=at_ns,
                )
                for n in range(_POINTS)
            ]
            assert self.spool.put(samples)
            self.put_samples += _POINTS

    def ledger(self, kind: str) -> LedgerStatus:
        status = read_historian_status(self.path / "run")
        stores = status.collectors.get("line1", {}) if status else {}
        return next((led for name, led in stores.items() if name.startswith(kind)), LedgerStatus())

    def error_of(self, kind: str) -> str | None:
        status = read_historian_status(self.path / "run")
        stores = status.stores if status else ()
        return next((store.error for store in stores if store.name.startswith(kind)), None)

    def rss_mb(self) -> float:
        assert self.historian is not None
        return float(psutil.Process(self.historian.pid).memory_info().rss) / 2**20


def wait_until(condition: Callable[[], object], what: str, deadline_s: float = 30.0) -> float:
    """Return how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < deadline_s, f"not in {deadline_s} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    if home.historian is not None:
        home.historian.kill()
        home.historian.wait()
    home.spool.close()


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    engine = VictoriaMetrics(tmp_path / "vm")
    engine.start()
    yield engine
    engine.kill()


@contextmanager
def black_hole() -> Iterator[str]:
    """Give out the address of a server that takes connections and never answers."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()
        listener.settimeout(0.05)

        def swallow() -> None:
            while not stop.is_set():
                try:
                    connections.append(listener.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=swallow)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()
            for connection in connections:
                connection.close()


def newest_is(home: Home, value: float) -> bool:
    found = EmbeddedReader(home.path / "history").latest(["line1/plc/p0"]).get("line1/plc/p0")
    return found is not None and found.value == value


def latencies(home: Home, count: int) -> list[float]:
    """Return how long each of some records took until it could be queried."""
    took = []
    for number in range(count):
        now_ns = time.time_ns()
        value = 1e6 + number
        sample = Sample(
            point="plc/p0",
            value=value,
            quality=Quality.GOOD,
            source_ns=now_ns,
            received_ns=now_ns,
        )
        assert home.spool.put([sample])
        took.append(wait_until(lambda value=value: newest_is(home, value), "the newest value"))
    return sorted(took)


def test_a_store_that_never_answers_does_not_slow_a_healthy_one(home: Home) -> None:
    with black_hole() as address:
        home.start(f"embedded: influx2+http://{address}/?org=o&bucket=b vm+http://{address}")
        took = latencies(home, 15)
        # One request to the silent servers takes 10 s; a busy machine takes its time, too.
        assert took[len(took) // 2] < 1.0
        assert took[-1] < 5.0
        wait_until(
            lambda: (
                home.error_of("influx2") is not None
                and "ReadTimeout" in (home.error_of("influx2") or "")
            ),
            "the trouble is told",
        )
        assert latencies(home, 5)[2] < 1.0
        assert home.ledger("influx2").samples_stored == 0
        assert home.stop() < 9.0
    assert home.ledger("embedded").records_queued == 0
    waiting = home.ledger("influx2")
    assert (waiting.records_in, waiting.records_queued) == (20, 20)


@needs_victoria
def test_a_backlog_of_an_outage_is_stored_behind_what_is_live(
    home: Home, victoria: VictoriaMetrics
) -> None:
    # As much history as in 5 minutes of reality, with a fifth of the 10,000 samples a second.
    victoria.kill()
    home.start(f"embedded: vm+{victoria.url}")
    wait_until(lambda: home.ledger("embedded"), "historian is up")
    start_ns = time.time_ns() // 10**9 * 10**9 - 300 * 10**9
    home.put(1200, start_ns=start_ns, step_ns=10**9 // 4)
    wait_until(lambda: home.ledger("embedded").records_queued == 0, "the healthy store has all", 60)
    wait_until(lambda: home.error_of("vm"), "the trouble is told")
    before_mb = home.rss_mb()
    assert home.ledger("vm").samples_stored == 0
    victoria.start()
    took_s = wait_until(lambda: home.ledger("vm").records_queued == 0, "the other one too", 60)
    assert took_s < 60
    assert home.rss_mb() - before_mb < 60
    victoria.flush()
    reader = PromqlReader(VictoriaHttp(victoria.url))
    for n in (0, 123, 499):
        found = reader.range(f"line1/plc/p{n}", start_ns, start_ns + 10**12, buckets=None)
        assert [s.value for s in found.samples] == [float(number) for number in range(1200)]
    for kind in ("embedded", "vm"):
        ledger = home.ledger(kind)
        assert (ledger.samples_stored, ledger.missing) == (home.put_samples, 0)
    assert home.stop() < 6.0


@pytest.mark.skipif(
    find_engine("influxd") is None, reason="no influxd here; .ci/system.sh fetches it from Debian"
)
def test_what_a_store_refuses_is_kept_in_its_words_and_the_rest_is_stored(
    home: Home, tmp_path: Path
) -> None:
    engine = InfluxOne(tmp_path / "influx")
    engine.start()
    engine.query("CREATE DATABASE plant")
    shim = shim_before(engine)
    try:
        home.start(f"influx2+{shim.url}/?org=o&bucket=plant")
        home.put(3, start_ns=time.time_ns(), step_ns=10**6)
        # InfluxDB 1 knows no unsigned integers.
        home.spool.put([_sample(2**63), _sample(1)])
        home.put(3, start_ns=time.time_ns(), step_ns=10**6)
        wait_until(lambda: home.ledger("influx2").samples_dead == 1, "one is refused")
        wait_until(lambda: home.ledger("influx2").records_queued == 0, "the others are stored")
        ledger = home.ledger("influx2")
        assert (ledger.records_stored, ledger.records_dead, ledger.missing) == (7, 0, 0)
        assert ledger.samples_stored == home.put_samples + 1
        (file,) = (home.path / "dead").rglob("*.jsonl")
        (line,) = map(json.loads, file.read_text().splitlines())
        assert (line["series"], line["value"]) == ("line1/plc/p0", 2**63)
        assert "unable to parse" in line["reason"]
        home.stop()
    finally:
        shim.close()
        engine.kill()


@needs_victoria
def test_a_store_that_is_added_gets_what_the_spool_still_has(
    home: Home, victoria: VictoriaMetrics
) -> None:
    now_ns = time.time_ns() - 60 * 10**9
    home.put(20, start_ns=now_ns, step_ns=10**9)
    home.start("embedded:")
    wait_until(lambda: home.ledger("embedded").records_stored == 20, "all in the first store")
    home.stop()
    home.start(f"embedded: vm+{victoria.url}")
    wait_until(lambda: home.ledger("vm").records_stored == 20, "all in the second store")
    home.stop()
    # Taken out again, it must not keep the spool from forgetting.
    cursor = cursor_path(home.path / "spool" / "line1", parse_stores(f"vm+{victoria.url}")[0].name)
    assert cursor.exists()
    home.start("embedded:")
    wait_until(lambda: not cursor.exists(), "the cursor of the former store is gone")
    home.stop()
    assert "former store forgotten" in home.output()


@pytest.mark.parametrize(
    ("stores", "words"),
    [
        ("influx3+http://host", "is no store; use one of: embedded:"),
        ("influx2+http://h/?org=o&bucket=b&token_env=NO_SUCH_TOKEN", "NO_SUCH_TOKEN has no token"),
        ("vm+http://me:secret@host", "token_file="),
    ],
)
def test_stores_that_cannot_be_used_are_named_and_nothing_is_touched(
    home: Home, stores: str, words: str
) -> None:
    home.put(1, start_ns=time.time_ns(), step_ns=1)
    home.start(stores)
    assert home.historian is not None
    assert home.historian.wait(20) == 1
    home.historian = None
    line = json.loads(home.output())
    assert line["event"] == "historian cannot start"
    assert words in line["reason"]
    assert "secret" not in home.output()
    assert not list((home.path / "spool" / "line1").glob("cursor.*"))


def test_a_token_is_neither_in_the_log_nor_in_the_status(home: Home) -> None:
    url = "influx2+http://127.0.0.1:9/?org=o&bucket=b&token_env=MY_TOKEN"
    home.put(1, start_ns=time.time_ns(), step_ns=1)
    home.start(url, MY_TOKEN="very-secret")
    wait_until(lambda: home.error_of("influx2"), "the trouble is told")
    home.stop()
    assert "very-secret" not in home.output()
    assert "very-secret" not in (home.path / "run" / "historian.json").read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_on_a_full_disk_acquisition_goes_on_and_all_recovers_by_itself(small_disk: Path) -> None:
    home = Home(small_disk)
    home.start("embedded:")
    try:
        home.put(5, start_ns=time.time_ns(), step_ns=10**6)
        wait_until(lambda: home.ledger("embedded").records_stored == 5, "some are stored")
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    if not file.write(bytes(4096)):
                        break
                except OSError:
                    break
        # Nothing raises, all is counted, whatever the disk says.
        for number in range(300):
            at_ns = time.time_ns() + number
            home.spool.put(
                [
                    Sample(
                        point=f"plc/p{n}",
                        value=number,
                        quality=Quality.GOOD,
                        source_ns=at_ns,
                        received_ns=at_ns,
                    )
                    for n in range(50)
                ]
            )
        assert home.spool.status().samples_dropped > 0
        assert home.historian is not None
        assert home.historian.poll() is None
        filler.unlink()
        wait_until(lambda: home.spool.put([_sample(777)]), "the spool takes samples again")
        wait_until(lambda: newest_is(home, 777), "they are stored", 60.0)
        wait_until(lambda: home.ledger("embedded").samples_dropped > 0, "the loss is counted")
        assert home.ledger("embedded").missing == 0
        home.stop()
    finally:
        if home.historian is not None:
            home.historian.kill()
            home.historian.wait()
        home.spool.close()


def _sample(value: int) -> Sample:
    now_ns = time.time_ns()
    return Sample(
        point="plc/p0", value=value, quality=Quality.GOOD, source_ns=now_ns, received_ns=now_ns
    )
