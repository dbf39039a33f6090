"""Print what it costs to tell many listeners the same, beside node's ``ws`` and ``websockets``.

Run with ``python tests/performance/bench_live.py [--clients N] [--seconds S]``. Ours is the whole
control plane as gunicorn serves it, monitor and alerts included; the others do nothing but send.
Messages have about 600 bytes. Latency is from the call that publishes to the client's ``recv``; the
load client runs on the same machine. CPU is user and system time of all processes of the server.
"""

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from live_servers import free_port, install_peers, start

from control_plane.auth.permissions import Actor, Role
from control_plane.console import build_console
from control_plane.settings import load_settings

_LOAD = Path(__file__).with_name("live_load.py")
_ME = Actor(name="console:bench", role=Role.ADMIN, origin="console")
_TOPIC = {"ours": "error_alerts", "ours-states": "process_status"}


class RestProbe:
    """Asks the API for all collectors now and then, as a second user would."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._port, self._headers = port, headers
        self._stopping = threading.Event()
        self.took_ms: list[float] = []
        self.is_enough = False
        """Set before the server stops."""
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with contextlib.closing(connection):
            while not self._stopping.wait(0.05) and not self.is_enough:
                began = time.perf_counter()
                connection.request("GET", "/api/v1/processes", headers=self._headers)
                connection.getresponse().read()
                self.took_ms.append((time.perf_counter() - began) * 1000)

    def wait(self) -> None:
        """Wait for the last answer."""
        if self._thread.ident is not None:
            self._thread.join()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join()


def token(scratch: Path, port: int) -> str:
    variables = {"DAQ_HOME": str(scratch / "home"), "DAQ_HTTP_PORT": str(port)}
    commands = build_console(load_settings(variables)).account_commands
    return commands.create_token(_ME, f"bench-{port}", Role.VIEWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of a server; ``mute`` of the clients never read."""

    rate: float = 20
    clients: int
    mute: int = 0
    settle_s: float = 2.0
    seconds: float


def run(kind: str, load: Load, scratch: Path) -> dict[str, Any]:
    """Return the figures of one server under one load."""
    port = free_port()
    ours = kind in _TOPIC
    headers = {"Authorization": f"Bearer {token(scratch, port)}"} if ours else {}
    server = start(kind, port, load.rate, scratch)
    task = {
        "port": port,
        "headers": headers | ({"Sec-WebSocket-Protocol": "daq.v1"} if ours else {}),
        "say": [{"id": 1, "op": "subscribe", "topic": _TOPIC[kind]}] if ours else [],
        "readers": load.clients - load.mute,
        "mute": load.mute,
        "settle_s": load.settle_s,
        "measure_s": load.seconds,
    }
    probe = RestProbe(port, headers)
    try:
        command = [sys.executable, str(_LOAD), json.dumps(task)]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client,
            probe.running() if ours else contextlib.nullcontext(),
        ):
            assert client.stdout is not None
            assert client.stdout.readline() == "ready\n"
            probe.took_ms.clear()
            before, began = cpu_s(server.pid), time.monotonic()
            assert client.stdout.readline() == "done\n"
            cores = (cpu_s(server.pid) - before) / (time.monotonic() - began)
            probe.is_enough, rest_ms = True, list(probe.took_ms)
            memory = rss_mb(server.pid)
            figures: dict[str, Any] = json.loads(client.stdout.readline())
            probe.wait()
            stopped = time.monotonic()
            server.terminate()
            figures |= json.loads(client.stdout.readline())
            figures["stop_s"] = time.monotonic() - stopped
    finally:
        server.kill()
        server.wait(timeout=20)
    figures |= {"cores": cores, "rss_mb": memory}
    if rest_ms:
        figures["rest_p50_ms"] = statistics.median(rest_ms)
        figures["rest_max_ms"] = max(rest_ms)
    return figures


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_s(pid: int) -> float:
    return sum(t.user + t.system for t in (each.cpu_times() for each in family(pid)))


def rss_mb(pid: int) -> float:
    return sum(each.memory_info().rss for each in family(pid)) / 1e6


def show(kind: str, figures: dict[str, Any]) -> None:
    rest = ""
    if "rest_p50_ms" in figures:
        rest = (
            f"  REST p50 {figures['rest_p50_ms']:.1f} max {figures['rest_max_ms']:.0f} ms"
            f"  stop: {figures['told']} told 1001 in {figures['stop_s']:.1f} s"
        )
    per_core = figures["per_s"] / max(figures["cores"], 1e-9)
    print(
        f"{kind:<24} {figures['per_s']:>9,.0f}/s  p50 {figures['p50_ms']:>6.1f}"
        f"  p99 {figures['p99_ms']:>6.1f} ms  {figures['cores']:.2f} core"
        f"  {per_core:>9,.0f}/core-s  {figures['rss_mb']:>4.0f} MB"
        f"  connected in {figures['connected_s']:.1f} s  lost {figures['lost']}{rest}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--realtime", action="store_true", help="as root, amid other programs")
    asked = parser.parse_args()
    if asked.realtime:
        # Servers and clients inherit it, peers alike.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with tempfile.TemporaryDirectory(prefix="daq-bench-live-") as directory:
        scratch = Path(directory)
        try:
            install_peers(scratch)
            peers = ["ws", "websockets"]
        except (OSError, subprocess.CalledProcessError) as exc:
            print(f"without peers, which could not be installed: {exc}")
            peers = []
        measure_all(asked, peers, scratch)


def measure_all(asked: argparse.Namespace, peers: list[str], scratch: Path) -> None:
    clients = asked.clients
    load = Load(clients=clients, seconds=asked.seconds)
    for rate, kinds in ((20, ["ours", "ours-states", *peers]), (100, ["ours", *peers])):
        print(f"\n{clients} clients x {rate} messages/s")
        for kind in kinds:
            if asked.only in kind:
                show(kind, run(kind, replace(load, rate=rate), scratch))
    print(f"\n{clients} clients x 20 messages/s, without and with 5 % who never read")
    for kind in ("ours", *peers):
        for mute in (0, clients // 20) * 2 if asked.only in kind else ():
            # Long enough that what waits for the mute ones has filled the kernel's buffers.
            task = replace(load, rate=20, mute=mute, settle_s=10.0)
            show(f"{kind}, {mute} mute", run(kind, task, scratch))


if __name__ == "__main__":
    main()
