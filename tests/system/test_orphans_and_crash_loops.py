"""What becomes of a collector when supervisord is killed, and when it crashes again and again.

No control plane runs here: what is shown holds without it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from installation import wait_for

from collectors.contract.heartbeat import Heartbeat, heartbeat_path, read_heartbeat
from collectors.history.spool_reader import Record, SpoolReader
from simulators.testing import RunningSimulator

pytestmark = pytest.mark.supervisord

ROOT = Path(__file__).parents[2]
NAME = "line1"
ROUNDS = 5
_MAIN = """
[unix_http_server]
file={home}/s.sock
[supervisord]
nodaemon=true
silent=true
logfile={home}/supervisord.log
pidfile={home}/s.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{home}/s.sock
"""
_SIMULATED = """
protocol = "modbus_tcp"
[[units]]
[[units.signals]]
name = "level"
type = "uint16"
address = "holding:0"
wave = {kind = "constant", value = 7}
"""
_COLLECTOR = """
name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "plc"
host = "127.0.0.1"
port = PORT
groups = [{id = "fast", interval_s = 0.02}]
points = [{name = "level", type = "uint16", address = "holding:0", group = "fast"}]
"""


@dataclass
class Site:
    """One home with one collector, and at most one supervisord that lives."""

    home: Path
    device_port: int
    supervisord: "subprocess.Popen[bytes] | None" = None
    owners: list[int] = field(default_factory=list)
    """Pids of the collectors that were seen to deliver, in order."""

    def write(self) -> None:
        for name in ("collectors.d", "log"):
            (self.home / name).mkdir()
        (self.home / "collectors.d" / f"{NAME}.toml").write_text(
            _COLLECTOR.replace("PORT", str(self.device_port))
        )
        # The template that installations get, with its limits and waits.
        program = (ROOT / "supervisord.conf.d" / "collector.conf").read_text()
        for key, value in {
            "@NAME@": NAME,
            "@HOME@": str(self.home),
            "@PYTHON@": sys.executable,
            "@AUTOSTART@": "true",
        }.items():
            program = program.replace(key, value)
        (self.home / "supervisord.conf").write_text(_MAIN.format(home=self.home) + program)

    def start(self) -> None:
        command = ["supervisor.supervisord", "-n", "-c", str(self.home / "supervisord.conf")]
        self.supervisord = subprocess.Popen(
            [sys.executable, "-m", *command],
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def kill(self) -> None:
        assert self.supervisord is not None
        self.supervisord.kill()
        self.supervisord.wait()
        self.supervisord = None

    def stop(self) -> None:
        if self.supervisord is not None:
            self.supervisord.terminate()
            self.supervisord.wait(20)
            self.supervisord = None

    def supervisorctl(self, *arguments: str) -> str:
        program = Path(sys.executable).with_name("supervisorctl")
        return subprocess.run(
            [str(program), "-c", str(self.home / "supervisord.conf"), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout

    def beat_with(
        self, condition: Callable[[Heartbeat], object], what: str, deadline_s: float = 20.0
    ) -> Heartbeat:
        def look() -> Heartbeat | None:
            beat = read_heartbeat(heartbeat_path(self.home, NAME))
            return beat if beat is not None and condition(beat) else None

        found: Heartbeat = wait_for(look, what, deadline_s)
        return found

    def delivers_anew(self) -> Heartbeat:
        """Wait until a process that has not been seen before delivers."""
        beat = self.beat_with(
            lambda b: b.pid not in self.owners and b.good_samples > 0, "a new process delivers"
        )
        self.owners.append(beat.pid)
        return beat

    def reads_on(self, pid: int) -> None:
        """Wait until this very process has read more than it has by now."""
        now = self.beat_with(lambda b: b.pid == pid, "is the newest")
        self.beat_with(lambda b: b.pid == pid and b.good_samples > now.good_samples, "reads on")

    def collectors(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if "collectors" in command and any(str(self.home) in part for part in command):
                found.append(process)
        return found

    def log(self) -> list[dict[str, Any]]:
        lines = (self.home / "log" / f"{NAME}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == event]

    def records(self) -> list[Record]:
        return SpoolReader(self.home / "spool" / NAME, "test").read(1_000_000)


@pytest.fixture
def site() -> Iterator[Site]:
    # Short, because a unix socket's path holds 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="daq-o-") as directory:
        simulated = Path(directory) / "sim.toml"
        simulated.write_text(_SIMULATED)
        with RunningSimulator(simulated) as simulator:
            made = Site(Path(directory), simulator.port)
            made.write()
            try:
                yield made
            finally:
                made.stop()
                for process in made.collectors():
                    process.kill()


@contextmanager
def connections_counted(port: int) -> Iterator[list[int]]:
    """Look every few milliseconds how many clients the device has; give the list of answers."""
    seen: list[int] = []
    done = threading.Event()
    remote = f"0100007F:{port:04X}"

    def count() -> None:
        while not done.wait(0.005):
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            # State 01 is ESTABLISHED (proc_net_tcp); a client's remote end is the device.
            seen.append(sum(row[2] == remote and row[3] == "01" for row in rows))

    thread = threading.Thread(target=count, name="connections")
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join(5)


def test_killing_supervisord_again_and_again_never_makes_two_writers(site: Site) -> None:
    with connections_counted(site.device_port) as connections:
        site.start()
        site.delivers_anew()
        for _ in range(ROUNDS):
            before = site.owners[-1]
            site.kill()
            # Nobody looks after it, and it reads on.
            site.reads_on(before)
            site.start()
            site.delivers_anew()
            wait_for(lambda: len(site.collectors()) == 1, "the orphan has ended")
        site.stop()
    assert site.collectors() == []

    assert max(connections) == 1, "two processes were connected to one device"
    takeovers = site.events("took over from an orphan")
    assert [line["pid"] for line in takeovers] == site.owners[:-1]
    assert {line["signal"] for line in takeovers} == {"SIGTERM"}
    # Nothing crashed, so nothing is counted.
    assert site.events("the run before this one did not end cleanly") == []
    records = site.records()
    assert all(one.sequence + 1 == two.sequence for one, two in pairwise(records))
    received = [sample.received_ns for record in records for sample in record.batch.samples()]
    gaps_s = [(two - one) / 1e9 for one, two in pairwise(received)]
    assert min(gaps_s) > 0
    slowest_s = max(line["took_s"] for line in takeovers)
    print(
        f"\n{ROUNDS} x kill -9 supervisord: largest gap {max(gaps_s):.3f} s,"
        f" slowest takeover {slowest_s:.3f} s, samples {len(received)}"
    )
    assert max(gaps_s) < 3.0


def test_a_supervisord_that_dies_right_after_it_started_a_collector_leaves_no_orphan(
    site: Site,
) -> None:
    """The collector is adopted before its first line runs, so it never knows its real parent."""
    site.start()
    (orphan,) = wait_for(site.collectors, "a collector exists")
    site.kill()
    site.start()
    site.owners.append(orphan.pid)
    new = site.delivers_anew()
    wait_for(lambda: [p.pid for p in site.collectors()] == [new.pid], "the orphan has ended")
    assert site.supervisord is not None
    assert psutil.Process(new.pid).ppid() == site.supervisord.pid
    site.stop()
    assert site.collectors() == []


def test_a_collector_that_crashes_again_and_again_is_quarantined_until_a_person_starts_it(
    site: Site,
) -> None:
    def crash(beat: Heartbeat) -> None:
        os.kill(beat.pid, signal.SIGKILL)

    site.start()
    crash(site.delivers_anew())
    crash(site.delivers_anew())  # The first unplanned start goes on at once.
    second = site.beat_with(lambda b: b.pid not in site.owners and b.held_until, "the second waits")
    delivering = site.delivers_anew()
    assert delivering.pid == second.pid
    assert delivering.connections[0].last_connect_time >= second.held_until
    # Only now has it outlived startsecs; from here on supervisord alone would never give up.
    wait_for(lambda: "RUNNING" in site.supervisorctl("status", NAME), "supervisord is content")
    crash(delivering)
    third = site.beat_with(lambda b: b.pid not in site.owners and b.held_until, "the third waits")
    assert (third.held_until - third.started_at).total_seconds() == pytest.approx(10, abs=0.5)
    site.owners.append(third.pid)
    crash(third)
    fourth = site.beat_with(lambda b: b.quarantined, "the fourth is quarantined")
    assert not fourth.connections[0].is_connected
    # The line reaches its file when supervisord's own loop turns.
    (line,) = wait_for(lambda: site.events("collector is quarantined"), "it is in the log")
    assert line["level"] == "CRITICAL"
    assert (line["starts"], line["window_s"]) == (4, 600.0)
    assert line["remedy"] == f"daqplane start {NAME}"

    wait_for(lambda: "EXITED" in site.supervisorctl("status", NAME), "supervisord gives up")
    assert "(exit status 78; expected)" in (site.home / "supervisord.log").read_text()
    # supervisord looks once a second whether there is something to start.
    quiet_until = time.monotonic() + 2.5
    while time.monotonic() < quiet_until:
        assert site.collectors() == []
        time.sleep(0.1)
    last = site.beat_with(lambda b: b.quarantined, "the last beat says why")
    assert last.pid == fourth.pid

    site.owners.append(fourth.pid)
    site.supervisorctl("start", NAME)
    after = site.delivers_anew()
    assert (after.quarantined, after.held_until) == (False, None)
    site.stop()
    assert site.collectors() == []
