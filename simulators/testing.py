"""Run a simulator as a process of its own, for tests that compare with its truth log.

::

    with RunningSimulator(tmp_path / "press.toml", truth=tmp_path / "truth.jsonl") as simulator:
        read_something(simulator.host, simulator.port)
        simulator.fault("drop", count=3)
        read_something(simulator.host, simulator.port)
    for line in simulator.truth_lines():
        ...
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulators.control_cli import command
from simulators.faults import FaultKind
from simulators.waveforms import Value

_ROOT = Path(__file__).parents[1]
_START_TIMEOUT_S = 180.0
"""asyncua needs a second a server on an idle machine, and a busy one can be ten times as slow."""
_STOP_TIMEOUT_S = 5.0
_LOOK_AGAIN_S = 0.01


class RunningSimulator:
    """``python -m simulators FILE`` on a free port, started on entry, stopped by SIGTERM on exit.

    Attributes:
        host: Where it listens.
        port: Of its first device; 0 before entry.
        ports: Of every device, by id.
        control_port: Where it takes commands.
        pid: Of the process.
    """

    def __init__(
        self, file: Path, *, truth: Path | None = None, port: int = 0, truth_max_mb: int = 1000
    ) -> None:
        self._command = [sys.executable, "-m", "simulators", str(file), "--port", str(port)]
        self._command += ["--control-port", "0"]
        if truth is not None:
            self._command += ["--truth", str(truth), "--truth-max-mb", str(truth_max_mb)]
        self._truth = truth
        self._process: subprocess.Popen[bytes] | None = None
        self.host = ""
        self.port = 0
        self.ports: dict[str, int] = {}
        self.control_port = 0
        self.pid = 0

    def __enter__(self) -> Self:
        # Files, not pipes: a full pipe that nobody reads would stop the simulator.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(self._command, stdout=output, stderr=errors, cwd=_ROOT)
            self._process, self.pid = process, process.pid
            try:
                facts = json.loads(_first_line(process, output.fileno()))
            except ValueError:
                self.stop()
                errors.seek(0)
                text = errors.read().decode(errors="replace")
                raise RuntimeError(f"the simulator did not start: {text}") from None
        self.host, self.port = facts["host"], facts["port"]
        self.ports, self.control_port = facts["devices"], facts["control_port"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Stop it if it runs; return its exit code."""
        process = self._process
        if process is None:
            raise RuntimeError("the simulator was never started")
        process.terminate()
        try:
            return process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def fault(self, kind: FaultKind, device: str = "*", **options: object) -> None:
        """Switch a fault on; ``options`` are those of :class:`simulators.faults.FaultOrder`.

        Raises:
            CommandRefused: the device cannot have it.
        """
        command(self.control_port, "fault", device=device, fault=kind, **options)

    def clear(self, kind: FaultKind | None = None, device: str = "*") -> None:
        """End one kind of fault, or every one."""
        command(self.control_port, "clear", device=device, fault=kind)

    def write(self, signal: str, value: Value | None, device: str = "*", **where: object) -> None:
        """Let ``signal`` hold ``value``, of any wave; ``None``: follow its wave again.

        Raises:
            CommandRefused: no such signal, or not a value of its type.
        """
        command(self.control_port, "write", device=device, signal=signal, value=value, **where)

    def counters(self, device: str = "*") -> dict[str, Any]:
        """Return what happened to ``device``, or to the first one, until now."""
        return self.devices(device)[0]["counters"]  # type: ignore[no-any-return]  # JSON

    def devices(self, device: str = "*") -> list[dict[str, Any]]:
        """Return id, port, counters and active faults of each device."""
        return command(self.control_port, "devices", device=device)["devices"]  # type: ignore[no-any-return]  # JSON

    def truth_lines(self) -> list[dict[str, Any]]:
        """Return what the truth log holds by now; complete only after :meth:`stop`.

        A line with ``spoilt`` left as an answer that nobody may believe.
        """
        if self._truth is None:
            raise RuntimeError("started without a truth log")
        older = self._truth.with_name(self._truth.name + ".1")
        files = [path for path in (older, self._truth) if path.exists()]
        text = "".join(path.read_text(encoding="utf-8") for path in files)
        return [json.loads(line) for line in text.split("\n")[:-1]]


def _first_line(process: "subprocess.Popen[bytes]", output: int) -> bytes:
    """Return the first line written to ``output``; less if it ends or nothing comes in time."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        has_ended = process.poll() is not None
        line, end, _ = os.pread(output, 65536, 0).partition(b"\n")
        if end or has_ended:
            return line
        time.sleep(_LOOK_AGAIN_S)
    return b""
