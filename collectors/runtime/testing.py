"""Run a collector as a process of its own, for tests that look at what it leaves behind.

::

    with RunningCollector(home / "line1.toml", home) as collector:
        collector.beat_with(lambda beat: beat.samples > 10)
        collector.stop()
    history = collector.samples()
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from collectors.contract.commands import CommandOutcome
from collectors.contract.heartbeat import Heartbeat, heartbeat_path, read_heartbeat
from collectors.contract.points import Sample
from collectors.history.spool_reader import SpoolReader

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 15.0
_LOOK_AGAIN_S = 0.01
_ALL_RECORDS = 1_000_000

_T = TypeVar("_T")


def eventually(look: Callable[[], _T | None], timeout_s: float = _PATIENCE_S) -> _T:
    """Return the first result that is true.

    Raises:
        AssertionError: there was none within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError("did not happen in time")
        time.sleep(_LOOK_AGAIN_S)
    return found


class RunningCollector:
    """``python -m collectors run FILE --home HOME``, started on entry, killed on exit."""

    def __init__(self, file: Path, home: Path, *, language: str = "en") -> None:
        self._name = file.stem
        self._home = home
        self._command = [sys.executable, "-m", "collectors", "run", str(file), "--home", str(home)]
        self._environment = {**os.environ, "DAQ_LANG": language}
        self._output = home / f"{self._name}.{id(self)}.out"
        self._errors = home / f"{self._name}.{id(self)}.err"
        self._process: subprocess.Popen[bytes] | None = None
        self._commands = 0

    def __enter__(self) -> Self:
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                cwd=_ROOT,
                env=self._environment,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._started.poll() is None:
            self._started.kill()
        self._started.wait()
        if self._started.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._started.stdin.close()

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def is_running(self) -> bool:
        return self._started.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._started.send_signal(number)

    def wait(self, timeout_s: float = _PATIENCE_S) -> int:
        """Return the exit code."""
        return self._started.wait(timeout_s)

    def stop(self) -> float:
        """Stop it by SIGTERM and return how many seconds that took."""
        started = time.monotonic()
        self.send(signal.SIGTERM)
        code = self.wait()
        if code != 0:
            raise AssertionError(f"exit code {code} after SIGTERM")
        return time.monotonic() - started

    def say(self, line: bytes) -> None:
        """Write to its standard input, as supervisord does."""
        assert self._started.stdin is not None
        self._started.stdin.write(line)
        self._started.stdin.flush()

    def command(self, command: str, **keys: object) -> CommandOutcome:
        """Have it obey a command and return what became of it."""
        self._commands += 1
        command_id = f"c{self._commands}"
        self.say(json.dumps({"id": command_id, "command": command, **keys}).encode() + b"\n")
        return self.outcome(command_id)

    def outcome(self, command_id: str) -> CommandOutcome:
        """Wait for what became of a command."""

        def look() -> CommandOutcome | None:
            beat = self.beat()
            return next((o for o in beat.commands if o.id == command_id), None) if beat else None

        return eventually(look)

    def beat(self) -> Heartbeat | None:
        """Return the newest heartbeat."""
        return read_heartbeat(heartbeat_path(self._home, self._name))

    def beat_with(
        self, condition: Callable[[Heartbeat], object], timeout_s: float = _PATIENCE_S
    ) -> Heartbeat:
        """Return the first heartbeat for which ``condition`` is true."""

        def look() -> Heartbeat | None:
            beat = self.beat()
            return beat if beat is not None and condition(beat) else None

        return eventually(look, timeout_s)

    def reading(self) -> Heartbeat:
        """Wait until every point has a usable value."""
        return self.beat_with(lambda beat: not any(c.bad_points for c in beat.connections))

    def samples(self) -> list[Sample]:
        """Return all that is in the spool, oldest first."""
        records = SpoolReader(self._home / "spool" / self._name, "test").read(_ALL_RECORDS)
        return [sample for record in records for sample in record.batch.samples()]

    def log(self) -> list[dict[str, Any]]:
        """Return the log lines so far."""
        lines = self._output.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def errors(self) -> str:
        """Return what was written to standard error."""
        return self._errors.read_text(encoding="utf-8")

    @property
    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("the collector was never started")
        return self._process
