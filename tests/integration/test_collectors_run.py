"""``python -m collectors run`` against simulated devices, all in processes of their own."""

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from collectors.contract.config import PROTOCOLS, revision_of
from collectors.contract.heartbeat import ConnectionStatus, Heartbeat
from collectors.contract.points import Quality
from collectors.runtime.testing import RunningCollector, eventually
from simulators.testing import RunningSimulator

WAVES = (
    'wave = {kind = "constant", value = 7}',
    'wave = {kind = "constant", value = 2.5}',
)
PLACES = {
    "modbus_tcp": (
        'name = "level", type = "uint16", address = "holding:0"',
        'name = "speed", type = "float32", address = "holding:2", order = "CDAB"',
    ),
    "mitsubishi_mc": (
        'name = "level", type = "int16", address = "D0"',
        'name = "speed", type = "float32", address = "D2"',
    ),
    "opcua": (
        'name = "level", type = "int16", address = "ns=2;i=1"',
        'name = "speed", type = "float64", address = "ns=2;i=2"',
    ),
}
VALUES = {"level": 7, "speed": 2.5}


def points_of(protocol: str) -> str:
    tables = [f"{{{place}}}" for place in PLACES[protocol]]
    if protocol == "opcua":
        tables = [f"{{{re.sub('type.*address', 'node_id', p)}}}" for p in PLACES[protocol]]
    return f"[{', '.join(tables)}]"


def device(protocol: str, device_id: str, port: int, **settings: Any) -> str:
    host = (
        f'endpoint = "opc.tcp://127.0.0.1:{port}"'
        if protocol == "opcua"
        else f'host = "127.0.0.1"\nport = {port}'
    )
    interval_s = settings.get("interval_s", 0.1)
    return f"""
[[devices]]
id = "{device_id}"
{host}
timeout_s = {settings.get("timeout_s", 1.0)}
retry = {{base_s = 0.1, max_s = 0.3}}
groups = [{{interval_s = {interval_s}}}]
points = {settings.get("points", points_of(protocol))}
"""


def collector_file(home: Path, protocol: str, *devices: str) -> Path:
    """Write ``line1.toml`` with these devices."""
    file = home / "line1.toml"
    head = f'name = "line1"\nprotocol = "{protocol}"\nlog_level = "debug"\n'
    file.write_text(head + "".join(devices))
    return file


def collector(home: Path, protocol: str, *devices: str) -> RunningCollector:
    return RunningCollector(collector_file(home, protocol, *devices), home)


def all_connected(beat: Heartbeat) -> bool:
    return all(link.is_connected for link in beat.connections)


def link_of(beat: Heartbeat, device_id: str) -> ConnectionStatus:
    return next(link for link in beat.connections if link.device_id == device_id)


def any_bad(beat: Heartbeat) -> bool:
    return any(link.bad_points for link in beat.connections)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def simulator(tmp_path: Path, protocol: str, port: int = 0) -> Iterator[RunningSimulator]:
    file = tmp_path / f"sim-{protocol}.toml"
    units = "[[units]]\n" if protocol == "modbus_tcp" else ""
    signals = ", ".join(f"{{{p}, {w}}}" for p, w in zip(PLACES[protocol], WAVES, strict=True))
    file.write_text(f'protocol = "{protocol}"\n{units}signals = [{signals}]\n')
    with RunningSimulator(file, port=port) as running:
        yield running


@contextmanager
def silent_device() -> Iterator[int]:
    """A port that accepts every connection and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])

    thread = threading.Thread(target=accept, name="silent device")
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for connection in accepted:
            connection.close()


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that leaves every connection attempt unanswered: its queue is full."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_a_collector_beats_reads_loses_and_finds_its_device(tmp_path: Path, protocol: str) -> None:
    with simulator(tmp_path, protocol) as plc:
        started = time.monotonic()
        with collector(tmp_path, protocol, device(protocol, "plc", plc.port)) as running:
            running.beat_with(lambda _: True)
            assert time.monotonic() - started < 4.0  # 0.4 s on an idle machine, asyncua 0.9 s
            running.reading()

            os.kill(plc.pid, signal.SIGKILL)
            beat = running.beat_with(lambda b: not all_connected(b), timeout_s=1.0)
            assert link_of(beat, "plc").bad_points == 2
            running.beat_with(lambda b: link_of(b, "plc").connection_errors >= 3)
            outage = running.samples()

            with simulator(tmp_path, protocol, plc.port):
                running.beat_with(all_connected, timeout_s=2.0)
                good = running.reading().good_samples
                running.beat_with(lambda b: b.good_samples > good)
                assert running.stop() < 1.0

    for point, value in VALUES.items():
        history = [sample for sample in outage if sample.point == f"plc/{point}"]
        assert {(sample.value, sample.quality) for sample in history[:-1]} == {
            (value, Quality.GOOD)
        }
        assert (history[-1].value, history[-1].quality) == (None, Quality.BAD_COMM)
        everything = [s for s in running.samples() if s.point == f"plc/{point}"]
        assert sum(sample.quality.is_bad for sample in everything) == 1
        assert everything[-1].value == value
    events = [(line["level"], line["event"]) for line in running.log()]
    assert events.count(("WARNING", "connection lost")) == 1
    assert events.count(("INFO", "device answers")) == 2
    assert ("WARNING", "device cannot be reached") not in events


def test_the_last_beat_says_that_nothing_is_connected(tmp_path: Path) -> None:
    with (
        simulator(tmp_path, "modbus_tcp") as plc,
        collector(tmp_path, "modbus_tcp", device("modbus_tcp", "plc", plc.port)) as running,
    ):
        running.reading()
        running.stop()
        beat = running.beat()
        assert beat is not None
        assert not all_connected(beat)


@pytest.mark.parametrize("trap", [silent_device, black_hole])
def test_a_device_that_says_nothing_does_not_hold_up_the_stop(
    tmp_path: Path, protocol: str, trap: Callable[[], contextlib.AbstractContextManager[int]]
) -> None:
    with trap() as port:
        settings = device(protocol, "plc", port, timeout_s=30.0)
        with collector(tmp_path, protocol, settings) as running:
            running.beat_with(lambda b: b.sequence >= 2)
            assert running.stop() < 1.0


def test_a_device_that_was_never_reached_is_marked_once(tmp_path: Path, protocol: str) -> None:
    settings = device(protocol, "plc", unused_port())
    with collector(tmp_path, protocol, settings) as running:
        beat = running.beat_with(lambda b: link_of(b, "plc").connection_errors >= 4)
        assert link_of(beat, "plc").last_error == "Connection refused"
        running.stop()
    samples = running.samples()
    assert sorted(sample.point for sample in samples) == ["plc/level", "plc/speed"]
    assert {sample.quality for sample in samples} == {Quality.BAD_COMM}
    levels = [x["level"] for x in running.log() if x["event"] == "device cannot be reached"]
    assert levels[0] == "WARNING"
    assert set(levels[1:]) == {"DEBUG"}


def test_a_device_that_accepts_and_says_nothing_is_marked_once(tmp_path: Path) -> None:
    with silent_device() as port:
        settings = device("modbus_tcp", "plc", port, timeout_s=0.1)
        with collector(tmp_path, "modbus_tcp", settings) as running:
            running.beat_with(lambda b: link_of(b, "plc").connection_errors >= 4)
            running.stop()
    assert [sample.quality for sample in running.samples()] == [Quality.BAD_TIMEOUT] * 2
    assert "device answers" not in [line["event"] for line in running.log()]


def test_a_dead_device_does_not_delay_the_others(tmp_path: Path, protocol: str) -> None:
    with simulator(tmp_path, protocol) as plc, silent_device() as silent, black_hole() as hole:
        devices = (
            device(protocol, "silent", silent, timeout_s=1.0),
            device(protocol, "hole", hole, timeout_s=1.0),
            device(protocol, "gone", unused_port()),
            device(protocol, "plc", plc.port, interval_s=0.05),
        )
        with collector(tmp_path, protocol, *devices) as running:
            running.beat_with(lambda b: link_of(b, "plc").requests >= 60)
            running.beat_with(lambda b: link_of(b, "silent").connection_errors >= 2)
            running.stop()
    times = [s.received_ns for s in running.samples() if s.point == "plc/level"]
    steps_s = sorted((after - before) / 1e9 for before, after in pairwise(times))
    assert steps_s[len(steps_s) // 2] == pytest.approx(0.05, abs=0.03)
    # Whoever waited for one of the dead would wait for its whole second.
    assert steps_s[-1] < 0.9


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_host_that_is_no_name_is_a_dead_device_and_no_crash(
    tmp_path: Path, protocol: str, host: str
) -> None:
    settings = device(protocol, "plc", 502).replace("127.0.0.1", host)
    with collector(tmp_path, protocol, settings) as running:
        running.beat_with(lambda b: link_of(b, "plc").connection_errors >= 2)
        running.stop()
    assert {sample.quality.is_bad for sample in running.samples()} == {True}


def test_a_broken_file_ends_with_78_and_says_where_and_how_to_mend_it(tmp_path: Path) -> None:
    settings = device("modbus_tcp", "plc", 502, points='[{name = "a", address = "D100"}]')
    with collector(tmp_path, "modbus_tcp", settings) as running:
        assert running.wait() == 78
    (line,) = [line for line in running.log() if line["event"] == "configuration refused"]
    assert line["key"] == "devices[0].points[0].address"
    assert line["file"] == str(tmp_path / "line1.toml")
    assert "holding:100" in line["remedy"]
    assert "devices[0].points[0].address" in running.errors()
    assert running.beat() is None


def test_a_second_instance_gives_way(tmp_path: Path) -> None:
    settings = device("modbus_tcp", "plc", unused_port())
    with collector(tmp_path, "modbus_tcp", settings) as first:
        first.beat_with(lambda _: True)
        with collector(tmp_path, "modbus_tcp", settings) as second:
            assert second.wait() == 1
        (line,) = second.log()
        assert line["event"] == "another instance owns this collector"
        assert line["pid"] == first.pid
        assert first.is_running


def test_a_reload_rebuilds_only_what_changed(tmp_path: Path, protocol: str) -> None:
    with simulator(tmp_path, protocol) as plc:
        kept, old = (device(protocol, name, plc.port) for name in ("kept", "old"))
        with collector(tmp_path, protocol, kept, old) as running:
            before = running.reading()

            slower = device(protocol, "old", plc.port, timeout_s=0.9)
            new = device(protocol, "new", plc.port)
            revision = revision_of(collector_file(tmp_path, protocol, kept, slower, new))
            running.send(signal.SIGHUP)
            after = running.beat_with(lambda b: b.config_revision == revision and not any_bad(b))
            assert before.config_revision != revision
            connects = [
                [link_of(beat, name).last_connect_time for beat in (before, after)]
                for name in ("kept", "old")
            ]
            assert connects[0][0] == connects[0][1]
            assert connects[1][0] != connects[1][1]
            assert len(after.connections) == 3
            assert after.expected_samples_per_s == 60.0

            collector_file(tmp_path, protocol, kept)
            running.send(signal.SIGHUP)
            running.beat_with(lambda b: len(b.connections) == 1)
            running.stop()
    assert not any(sample.quality.is_bad for sample in running.samples())


def test_a_reload_of_a_broken_file_keeps_the_old_one(tmp_path: Path) -> None:
    with simulator(tmp_path, "modbus_tcp") as plc:
        settings = device("modbus_tcp", "plc", plc.port)
        with collector(tmp_path, "modbus_tcp", settings) as running:
            before = running.reading()
            broken = {
                "devices[0].timeout": settings.replace("timeout_s", "timeout"),
                "spool": f"spool = {{max_bytes = 2_000_000}}\n{settings}",
            }
            for key, text in broken.items():
                file = collector_file(tmp_path, "modbus_tcp", text)
                running.send(signal.SIGHUP)
                eventually(lambda key=key: any(x.get("key") == key for x in running.log()))
            file.unlink()
            running.send(signal.SIGHUP)
            eventually(lambda: any(x.get("code") == "unreadable" for x in running.log()))
            after = running.beat_with(lambda b: b.good_samples > before.good_samples + 20)
            assert after.config_revision == before.config_revision
            connects = [link_of(beat, "plc").last_connect_time for beat in (before, after)]
            assert connects[0] == connects[1]
            running.stop()


def test_a_reset_connects_again_and_is_counted(tmp_path: Path, protocol: str) -> None:
    with (
        simulator(tmp_path, protocol) as plc,
        collector(tmp_path, protocol, device(protocol, "plc", plc.port)) as running,
    ):
        before = link_of(running.reading(), "plc")
        running.send(signal.SIGUSR1)
        after = running.beat_with(lambda b: b.connection_resets == 1 and all_connected(b))
        link = link_of(after, "plc")
        assert link.last_connect_time != before.last_connect_time
        assert link.connection_errors == 0
        running.beat_with(lambda b: b.good_samples > after.good_samples)
        running.stop()
    assert not any(sample.quality.is_bad for sample in running.samples())


def test_signals_before_the_loop_is_ready_do_not_kill_the_process(tmp_path: Path) -> None:
    settings = device("modbus_tcp", "plc", unused_port())
    with collector(tmp_path, "modbus_tcp", settings) as running:
        # Python itself needs a moment until the first line of the program runs.
        eventually(lambda: ignored_signals(running.pid) & 1 << (signal.SIGHUP - 1))
        for _ in range(20):
            running.send(signal.SIGHUP)
            running.send(signal.SIGUSR1)
        running.beat_with(lambda b: b.sequence >= 2)
        running.stop()


def ignored_signals(pid: int) -> int:
    """Return the mask of signals that a process ignores or handles."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [
        int(mask, 16) for mask in re.findall(r"^Sig(?:Ign|Cgt):\s+(\w+)", status, re.MULTILINE)
    ]
    return masks[0] | masks[1]
