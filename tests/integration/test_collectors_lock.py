"""Collectors whose supervisord has died, and collectors that start too often: real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from collectors.contract.heartbeat import heartbeat_path, read_heartbeat
from collectors.runtime.ledger import boottime_s, read_boot_id
from collectors.runtime.lock import CollectorLock, LockHeld
from collectors.runtime.testing import RunningCollector, eventually
from simulators.testing import RunningSimulator

ROOT = Path(__file__).parents[2]
PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
"""Plays supervisord: starts one process and can be killed."""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A collector file for a simulated device that answers."""
    simulated = tmp_path / "sim.toml"
    simulated.write_text(
        'protocol = "modbus_tcp"\n[[units]]\nsignals = [{name = "level", type = "uint16", '
        'address = "holding:0", wave = {kind = "constant", value = 7}}]\n'
    )
    with RunningSimulator(simulated) as simulator:
        yield collector_file(tmp_path, simulator.port)


def collector_file(home: Path, port: int) -> Path:
    path = home / "line1.toml"
    path.write_text(
        f"""
        name = "line1"
        protocol = "modbus_tcp"
        [[devices]]
        id = "plc"
        host = "127.0.0.1"
        port = {port}
        groups = [{{id = "fast", interval_s = 0.05}}]
        points = [{{name = "level", type = "uint16", address = "holding:0", group = "fast"}}]
        """
    )
    return path


@contextmanager
def child_of_another(
    command: list[str], output: Path, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``command`` below a parent that can be killed; give the parent."""
    with output.open("ab") as stdout:
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, *command],
            stdout=stdout,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        yield parent
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


@contextmanager
def orphan(file: Path, home: Path) -> Iterator[int]:
    """Give the pid of a collector that reads its device and whose parent has been killed."""
    command = [sys.executable, "-m", "collectors", "run", str(file), "--home", str(home)]
    with child_of_another(command, home / "orphan.log") as parent:

        def reads() -> int | None:
            beat = read_heartbeat(heartbeat_path(home, "line1"))
            return beat.pid if beat is not None and beat.good_samples > 2 else None

        pid = eventually(reads)
        parent.kill()
        parent.wait()
        yield pid


def log_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def facts_of(lines: list[dict[str, Any]], event: str) -> dict[str, Any]:
    (line,) = [line for line in lines if line["event"] == event]
    return line


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def ledger_of(home: Path) -> Any:
    return json.loads((home / "run" / "ledger" / "line1.json").read_bytes())


def test_an_orphan_is_taken_over_and_only_one_process_ever_writes(
    tmp_path: Path, file: Path
) -> None:
    with orphan(file, tmp_path) as old, RunningCollector(file, tmp_path) as new:
        new.beat_with(lambda beat: beat.pid == new.pid and beat.good_samples > 5)
        assert not is_alive(old)
        facts = facts_of(new.log(), "took over from an orphan")
        assert (facts["pid"], facts["signal"]) == (old, "SIGTERM")
        assert facts["took_s"] < 1.0
        # The orphan was asked to end and did: nothing to hold against this start.
        assert ledger_of(tmp_path)["unplanned_at_s"] == []
        new.stop()
    received = [sample.received_ns for sample in new.samples()]
    assert all(earlier < later for earlier, later in pairwise(received))
    # What the orphan wrote in between is there as well: it had never stopped to read.
    gap_s = max(later - earlier for earlier, later in pairwise(received)) / 1e9
    print(f"takeover {facts['took_s']} s, largest gap {gap_s:.3f} s")
    assert gap_s < 5.0
    assert not any(sample.quality.is_bad for sample in new.samples())


def test_a_frozen_orphan_is_killed(tmp_path: Path, file: Path) -> None:
    with orphan(file, tmp_path) as old:
        os.kill(old, signal.SIGSTOP)
        with RunningCollector(file, tmp_path) as new:
            new.beat_with(lambda beat: beat.pid == new.pid and beat.good_samples > 0)
            assert not is_alive(old)
            facts = facts_of(new.log(), "took over from an orphan")
            assert (facts["pid"], facts["signal"]) == (old, "SIGKILL")
            assert 3.0 <= facts["took_s"] < 4.0
            # It did not end cleanly; that counts as a crash.
            assert len(ledger_of(tmp_path)["unplanned_at_s"]) == 1
            new.stop()


def test_an_owner_with_a_living_parent_is_left_alone(tmp_path: Path, file: Path) -> None:
    with RunningCollector(file, tmp_path) as owner:
        owner.reading()
        with RunningCollector(file, tmp_path) as second:
            assert second.wait() == 1
        facts = facts_of(second.log(), "another instance owns this collector")
        assert (facts["level"], facts["pid"]) == ("ERROR", owner.pid)
        samples = owner.reading().good_samples
        owner.beat_with(lambda beat: beat.good_samples > samples)
        owner.stop()


def test_of_two_that_come_for_one_orphan_one_wins(tmp_path: Path, file: Path) -> None:
    with (
        orphan(file, tmp_path) as old,
        RunningCollector(file, tmp_path) as one,
        RunningCollector(file, tmp_path) as two,
    ):
        loser = eventually(lambda: next((c for c in (one, two) if not c.is_running), None))
        winner = two if loser is one else one
        winner.beat_with(lambda beat: beat.pid == winner.pid and beat.good_samples > 2)
        assert loser.wait() == 1
        assert facts_of(loser.log(), "another instance owns this collector")["pid"] == winner.pid
        assert not is_alive(old)
        winner.stop()


HOLD_UNSIGNED = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def start_ticks_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@contextmanager
def held_by_somebody_who_signs_with(
    path: Path, pid: int, start_ticks: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """Have the lock held, with a file that names another process, whose parent looks dead."""
    owner = {"pid": pid, "parent_pid": 1, "start_ticks": start_ticks, "supervisor": None}
    path.write_text(json.dumps(owner))
    command = [sys.executable, "-c", HOLD_UNSIGNED, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield holder
        finally:
            holder.kill()


def test_a_stranger_who_has_got_the_pid_of_a_dead_owner_is_never_signalled(tmp_path: Path) -> None:
    path = tmp_path / "line1.lock"
    sleep = [sys.executable, "-c", "input()"]
    with subprocess.Popen(sleep, stdin=subprocess.PIPE) as stranger:
        try:
            later = start_ticks_of(stranger.pid) + 1
            with held_by_somebody_who_signs_with(path, stranger.pid, later) as holder:
                with pytest.raises(LockHeld) as caught:
                    CollectorLock(path).acquire()
                assert caught.value.pid is None
                assert (stranger.poll(), holder.poll()) == (None, None)
        finally:
            stranger.kill()


def test_an_owner_that_has_ended_but_was_never_waited_for_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "line1.lock"
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        eventually(lambda: not is_alive(ended.pid))
        ticks = start_ticks_of(ended.pid)
        with held_by_somebody_who_signs_with(path, ended.pid, ticks) as holder:
            with pytest.raises(LockHeld) as caught:
                CollectorLock(path).acquire()
            assert caught.value.pid is None
            assert holder.poll() is None


@pytest.mark.parametrize("is_served_by_us", [True, False])
def test_an_orphan_that_never_saw_its_supervisord_is_known_by_the_address(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, is_served_by_us: bool
) -> None:
    """It was adopted before it could write down whose child it was: its parent never changes."""
    with ExitStack() as stack:
        # Short, because the path of a unix socket holds 107 bytes.
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daq-l-")))
        if is_served_by_us:
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(short / "s.sock"))
            server.listen()
        monkeypatch.setenv("SUPERVISOR_SERVER_URL", f"unix://{short}/s.sock")
        command = [sys.executable, "-m", "collectors", "run", str(file), "--home", str(tmp_path)]
        stack.enter_context(child_of_another(command, tmp_path / "adopted.log"))
        path = heartbeat_path(tmp_path, "line1")
        old = eventually(lambda: path.exists() and read_heartbeat(path))
        assert old
        new = stack.enter_context(RunningCollector(file, tmp_path))
        if is_served_by_us:
            new.beat_with(lambda beat: beat.pid == new.pid and beat.good_samples > 0)
            assert not is_alive(old.pid)
            new.stop()
        else:
            assert new.wait() == 1
            assert is_alive(old.pid)


def write_ledger(home: Path, *ago_s: float) -> None:
    """Have the ledger say that a run crashed, after unplanned starts so many seconds ago."""
    path = home / "run" / "ledger" / "line1.json"
    path.parent.mkdir(parents=True)
    times = [boottime_s() - ago for ago in ago_s]
    path.write_text(
        json.dumps({"boot_id": read_boot_id(), "run": "running", "unplanned_at_s": times})
    )


def test_a_second_crash_holds_the_collector_back_and_says_until_when(
    tmp_path: Path, file: Path
) -> None:
    write_ledger(tmp_path, 60.0)
    with RunningCollector(file, tmp_path) as running:
        beat = running.beat_with(lambda b: b.held_until)
        assert beat.held_until is not None
        assert 4.0 < (beat.held_until - beat.sent_at).total_seconds() <= 5.0
        assert not beat.quarantined
        (link,) = beat.connections
        assert (link.device_id, link.is_connected, link.bad_points) == ("plc", False, 1)
        later = running.beat_with(lambda b: b.held_until and b.sequence >= beat.sequence + 2)
        assert (later.held_until, later.connections) == (beat.held_until, beat.connections)
        # What arrives meanwhile is not lost.
        running.send(signal.SIGUSR1)
        released = running.beat_with(lambda b: b.held_until is None and b.good_samples > 0)
        assert released.connection_resets == 1
        assert released.connections[0].last_connect_time is not None
        assert released.connections[0].last_connect_time > beat.held_until
        facts = facts_of(running.log(), "the run before this one did not end cleanly")
        assert (facts["starts"], facts["hold_s"], facts["window_s"]) == (2, 5.0, 600.0)
        running.stop()
    assert ledger_of(tmp_path)["run"] == "ended"


def test_a_held_collector_can_be_stopped_at_once(tmp_path: Path, file: Path) -> None:
    write_ledger(tmp_path, 60.0, 50.0)
    with RunningCollector(file, tmp_path) as running:
        running.beat_with(lambda b: b.held_until)
        assert running.stop() < 2.0
    assert ledger_of(tmp_path)["run"] == "ended"
    assert running.samples() == []


def test_a_quarantine_that_was_cut_short_is_not_taken_for_a_persons_decision(
    tmp_path: Path, file: Path
) -> None:
    write_ledger(tmp_path, 60.0, 50.0, 40.0)
    with RunningCollector(file, tmp_path) as first:
        first.beat_with(lambda b: b.quarantined)
        first.send(signal.SIGKILL)
        first.wait()
    with RunningCollector(file, tmp_path, language="zh-CN") as second:
        beat = second.beat_with(lambda b: b.pid == second.pid and b.quarantined)
        assert beat.held_until is None
        assert [link.is_connected for link in beat.connections] == [False]
        second.send(signal.SIGTERM)
        assert second.wait() == 0
    facts = facts_of(second.log(), "collector is quarantined")
    assert (facts["level"], facts["starts"], facts["window_s"]) == ("CRITICAL", 4, 600.0)
    assert facts["remedy"] == "daqplane start line1"
    assert "意外退出了 4 次" in second.errors()
    # That was a person's: the next start is planned.
    with RunningCollector(file, tmp_path) as third:
        third.beat_with(lambda b: b.pid == third.pid and b.good_samples > 0)
        third.stop()
    assert ledger_of(tmp_path)["unplanned_at_s"] == []


def test_a_stop_in_the_first_moments_is_a_clean_end_too(tmp_path: Path, file: Path) -> None:
    ledger = tmp_path / "run" / "ledger" / "line1.json"
    with RunningCollector(file, tmp_path) as running:
        eventually(ledger.exists)
        running.stop()
    assert ledger_of(tmp_path)["run"] == "ended"
