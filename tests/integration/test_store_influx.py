"""The InfluxDB sink against a real storage engine, and against servers that misbehave."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import pytest
from engines import InfluxOne, Server, find_engine, shim_before
from store_samples import BASE_NS, record, sample

from collectors.contract.points import Quality
from collectors.history.influx import InfluxStore, InfluxTarget
from collectors.history.store import StoreUnavailable

needs_influxd = pytest.mark.skipif(
    find_engine("influxd") is None, reason="no influxd here; .ci/system.sh fetches it from Debian"
)


def store_at(url: str, bucket: str = "plant") -> InfluxStore:
    return InfluxStore("influx", InfluxTarget(url=url, org="works", bucket=bucket, token="secret"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxOne]:
    engine = InfluxOne(tmp_path_factory.mktemp("influx"))
    engine.start()
    yield engine
    engine.kill()


@pytest.fixture
def shim(engine: InfluxOne) -> Iterator[Server]:
    engine.query("DROP DATABASE plant")
    engine.query("CREATE DATABASE plant")
    server = shim_before(engine)
    yield server
    server.close()


def fields_of(engine: InfluxOne, point: str) -> dict[str, object]:
    (series,) = engine.query(f"SELECT * FROM daq WHERE point = '{point}'")
    return dict(zip(series["columns"], series["values"][0], strict=True))


@needs_influxd
def test_types_names_and_nanoseconds_come_back_as_they_went(
    engine: InfluxOne, shim: Server
) -> None:
    values = {"f": 0.1 + 0.2, "i": -(2**63), "b": True, "s": 'a "quoted"\\ text\nof two lines'}
    samples = [sample(value, f"press 1/{name}") for name, value in values.items()]
    samples.append(sample(None, "press 1/bad, it=is", code=9, at_ns=BASE_NS + 1))
    store = store_at(shim.url)
    assert store.append("line1", [record(samples)]).stored == 5
    names = {"f": "float", "i": "int", "b": "bool", "s": "text"}
    for point, value in values.items():
        found = fields_of(engine, point)
        assert (found[names[point]], found["time"], found["delay_ns"]) == (value, BASE_NS, 1500)
        assert (found["collector"], found["device"]) == ("line1", "press 1")
    bad = fields_of(engine, "bad, it=is")
    assert (bad["quality"], bad["code"], bad["time"]) == (Quality.BAD_TIMEOUT, 9, BASE_NS + 1)
    store.close()


@needs_influxd
def test_storing_again_changes_nothing(engine: InfluxOne, shim: Server) -> None:
    store = store_at(shim.url)
    records = [record([sample(float(n), at_ns=BASE_NS + n) for n in range(1000)])]
    for _ in range(3):
        assert store.append("line1", records).stored == 1000
    (series,) = engine.query('SELECT count("float") FROM daq')
    assert series["values"][0][1] == 1000
    store.close()


@needs_influxd
def test_lines_the_store_refuses_are_found_and_the_others_are_stored(
    engine: InfluxOne, shim: Server
) -> None:
    # InfluxDB 1 knows no unsigned integers, so these two are poison to it.
    samples = [sample(float(n), at_ns=BASE_NS + n) for n in range(500)]
    samples[123] = sample(2**63, at_ns=BASE_NS + 123)
    samples[499] = sample(2**64 - 1, at_ns=BASE_NS + 499)
    store = store_at(shim.url)
    records = [record(samples[:200], 1), record(samples[200:], 2)]
    appended = store.append("line1", records)
    assert appended.stored == 498
    refused = [(r.sequence, r.sample) for r in appended.refusals]
    assert refused == [(1, samples[123]), (2, samples[499])]
    assert all("HTTP 400" in r.words and "unable to parse" in r.words for r in appended.refusals)
    (series,) = engine.query('SELECT count("float") FROM daq')
    assert series["values"][0][1] == 498
    store.close()


@needs_influxd
def test_a_field_that_has_another_type_there_is_refused_in_the_stores_words(
    engine: InfluxOne, shim: Server
) -> None:
    store = store_at(shim.url)
    store._writer.post([f'daq,collector=line1,device=press,point=temp float="x" {BASE_NS}'])
    appended = store.append("line1", [record([sample(1.5), sample(True, "press/on")])])
    assert appended.stored == 1
    assert "field type conflict" in appended.refusals[0].words
    store.close()


@needs_influxd
def test_a_bucket_that_is_not_there_is_waited_for(shim: Server) -> None:
    store = store_at(shim.url, bucket="elsewhere")
    with pytest.raises(StoreUnavailable, match="database not found"):
        store.append("line1", [record([sample(1.5)])])
    store.close()


class Refusing(BaseHTTPRequestHandler):
    """Answers with the status, headers and body of its class."""

    status = 503
    headers_out: ClassVar[dict[str, str]] = {}
    body = b'{"code":"unavailable","message":"compacting"}'

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        for name, value in self.headers_out.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def refusal_of(**attributes: object) -> StoreUnavailable:
    server = Server(type("Handler", (Refusing,), attributes))
    store = store_at(server.url)
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.append("line1", [record([sample(1.5)])])
    finally:
        store.close()
        server.close()
    return caught.value


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503, 307])
def test_a_status_that_does_not_speak_of_the_data_means_try_again(status: int) -> None:
    found = refusal_of(status=status)
    assert str(found) == f"HTTP {status}: compacting"
    assert not found.was_cut
    assert found.retry_after_s is None


def test_the_pause_that_the_server_asks_for_is_passed_on() -> None:
    assert refusal_of(status=429, headers_out={"Retry-After": "17"}).retry_after_s == 17.0
    dated = refusal_of(status=503, headers_out={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    assert dated.retry_after_s == 0.0
    assert refusal_of(headers_out={"Retry-After": "soon"}).retry_after_s is None


def test_an_answer_that_is_not_influxdbs_is_no_reason_to_stop() -> None:
    for body in (b"", b"<html>bad gateway</html>", b"\xff\xfe", b'{"message": 5}'):
        assert "502" in str(refusal_of(status=502, body=body)) or body == b"\xff\xfe"


def test_no_token_is_in_any_message_or_repr() -> None:
    found = refusal_of(status=401, body=b'{"code":"unauthorized","message":"unauthorized"}')
    assert "secret" not in str(found)
    assert "secret" not in repr(InfluxTarget(url="http://localhost", token="secret"))


def test_a_server_that_is_not_there_is_said_to_be_cut_off() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = store_at(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StoreUnavailable) as caught:
            store.append("line1", [record([sample(1.5)])])
    assert caught.value.was_cut
    store.close()


def test_a_server_that_dies_in_the_middle_of_a_request_is_said_to_be_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_nothing() -> None:
            connection = listener.accept()[0]
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=answer_nothing)
        thread.start()
        store = store_at(f"http://127.0.0.1:{listener.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            store.append("line1", [record([sample(1.5)])])
        thread.join()
    assert caught.value.was_cut
    assert time.monotonic() - started < 3
    store.close()
