"""How many collectors of a home start at once."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from collectors.contract.heartbeat import heartbeat_path
from collectors.runtime import start_gate
from collectors.runtime.testing import eventually

PLACES = max(2, len(os.sched_getaffinity(0)))
COLLECTOR = """
name = "press"
protocol = "modbus_tcp"
[[devices]]
id = "plc"
host = "127.0.0.1"
port = 9
[[devices.points]]
name = "p"
type = "int16"
address = "holding:1"
"""


@pytest.fixture
def all_places_taken(tmp_path: Path) -> Iterator[ExitStack]:
    """Closing it gives the places back."""
    folder = tmp_path / "run" / "start"
    folder.mkdir(parents=True)
    with ExitStack() as places:
        for number in range(PLACES):
            file = places.enter_context((folder / f"{number}.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield places


@pytest.fixture
def waiting(tmp_path: Path, all_places_taken: ExitStack) -> Iterator[subprocess.Popen[bytes]]:
    """A collector as supervisord starts it, which waits for a place."""
    file = tmp_path / "collectors.d" / "press.toml"
    file.parent.mkdir()
    file.write_text(COLLECTOR)
    command = [sys.executable, "-m", "collectors", "run", str(file), "--home", str(tmp_path)]
    environment = os.environ | {"SUPERVISOR_ENABLED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _waits_for_lock(process.pid) or None)
            yield process
        finally:
            process.kill()


def test_a_collector_begins_when_there_is_a_place_and_gives_it_back(
    waiting: subprocess.Popen[bytes], all_places_taken: ExitStack, tmp_path: Path
) -> None:
    beat = heartbeat_path(tmp_path, "press")
    assert not beat.exists()
    all_places_taken.close()
    eventually(lambda: beat.exists() or None)
    mine = tmp_path / "run" / "start" / f"{waiting.pid % PLACES}.lock"
    eventually(lambda: _is_free(mine) or None)
    assert waiting.poll() is None


def test_a_collector_that_waits_is_stopped_at_once(waiting: subprocess.Popen[bytes]) -> None:
    waiting.terminate()
    assert waiting.wait(5) == -signal.SIGTERM


def test_nobody_waits_for_ever(
    all_places_taken: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERVISOR_ENABLED", "1")
    monkeypatch.setattr(start_gate, "_PATIENCE_S", 0.01)
    handler = signal.getsignal(signal.SIGALRM)
    start_gate.enter(["run", "press.toml", "--home", str(tmp_path)])
    start_gate.leave()
    assert signal.getsignal(signal.SIGALRM) is handler


def test_who_starts_a_collector_by_hand_does_not_wait(
    all_places_taken: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPERVISOR_ENABLED", raising=False)
    start_gate.enter(["run", "press.toml", "--home", str(tmp_path)])


def _waits_for_lock(pid: int) -> bool:
    # proc_locks(5): "1: -> FLOCK ADVISORY WRITE 1234 ..." is one who waits.
    lines = Path("/proc/locks").read_text().splitlines()
    return any(words[1] == "->" and str(pid) in words for words in map(str.split, lines))


def _is_free(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
