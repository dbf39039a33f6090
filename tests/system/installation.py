"""A whole installation, started as an operator starts it, on ports of the kernel's choice."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
DAQPLANE = Path(sys.executable).with_name("daqplane")
START_DEADLINE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = 15.0) -> Any:
    """Poll until ``condition`` gives something true and return it."""
    deadline = time.monotonic() + deadline_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)
    return result


@dataclass
class Installation:
    """One DAQ_HOME, with ``daqplane run`` in it while ``runner`` is set."""

    home: Path
    port: int
    arguments: tuple[str, ...] = ()
    runner: subprocess.Popen[str] | None = None
    token: str = ""
    daqplane: Path = DAQPLANE
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.home.with_name(self.home.name + ".out")

    @property
    def environment(self) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if not k.startswith("DAQ_")}
        return keep | {
            "DAQ_HOME": str(self.home),
            "DAQ_HTTP_PORT": str(self.port),
            "DAQ_LANG": "en",
        }

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run one ``daqplane`` command to its end."""
        return subprocess.run(
            [str(self.daqplane), *arguments],
            env=self.environment | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self) -> None:
        """Start in the foreground of a process of its own and wait for the panel's address."""
        with self.output.open("w") as file:
            self.runner = subprocess.Popen(
                [str(self.daqplane), "run", *self.arguments],
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        wait_for(
            lambda: "Panel:" in self.output.read_text() or self.runner.poll() is not None,
            "the panel's address",
            START_DEADLINE_S,
        )
        assert self.runner.poll() is None, self.output.read_text()
        if not self.token:
            created = self.run("token", "create", "--role", "operator")
            assert created.returncode == 0, created.stderr
            self.token = created.stdout.strip()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ask it to stop, as Ctrl-C does, and return its exit code."""
        if self.runner is None:
            return 0
        if self.runner.poll() is None:
            self.runner.send_signal(number)
        code = self.runner.wait(20)
        self.runner = None
        return code

    def request(self, path: str, method: str = "GET", body: object = None, key: str = "") -> Any:
        """Return the JSON answer of the API, a problem document too."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                **({"Idempotency-Key": key} if key else {}),
            },
        )
        try:
            with LOCAL.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            return json.load(exc)

    def process(self, name: str) -> dict[str, Any]:
        return self.request(f"/api/v1/processes/{name}")

    def wait_until(
        self,
        name: str,
        condition: Callable[[dict[str, Any]], object],
        what: str,
        deadline_s: float = 20.0,
    ) -> dict[str, Any]:
        """Poll the API until the collector's status fulfils ``condition``; return that status.

        An API that does not answer just now is asked again.
        """

        def look() -> dict[str, Any] | None:
            try:
                status = self.process(name)
            except OSError:
                return None
            # A problem document has a status, too: a number.
            return status if "pid" in status and condition(status) else None

        return wait_for(look, f"{name} {what}", deadline_s)

    def processes_left(self) -> list[psutil.Process]:
        """Return processes whose command line names this home."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if any(str(self.home) in part for part in command):
                found.append(process)
        return found


def is_delivering(status: dict[str, Any]) -> bool:
    return bool(
        status["status"] in ("RUNNING", "STARTING")
        and status["connection_status"]
        and status["connection_status"]["is_connected"]
        and status["data_collection_rate"] > 0
    )
