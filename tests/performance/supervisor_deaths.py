"""From the death of a process to whoever watches: a client, a listener, a browser."""

import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from installation import Installation, free_port, is_delivering, wait_for
from simple_websocket import Client as WebSocketClient
from supervisor_node import Node, program_names

from control_plane.supervisor.client import EventBatch, SupervisorClient

_DEADLINE_S = 10.0
_ROUNDS_AT_BROWSER = 3
"""A collector that dies a fourth time within ten minutes refuses to go on."""
_COLLECTORS = ("demo-mitsubishi", "demo-modbus", "demo-opcua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """Milliseconds from ``kill -9`` to the first sign of the death and to the next process."""

    seen_ms: list[float] = field(default_factory=list)
    restarted_ms: list[float] = field(default_factory=list)

    def note(self, killed_at: float, seen_at: float, restarted_at: float) -> None:
        self.seen_ms.append((seen_at - killed_at) * 1e3)
        self.restarted_ms.append((restarted_at - killed_at) * 1e3)


class _Killer:
    """Kills a process while the thread that made it is already waiting for the news."""

    def __init__(self, pid: int, after_s: float) -> None:
        self._pid = pid
        self._after_s = after_s
        self._killed_at = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def at(self) -> float:
        """Return the monotonic time right before the kill."""
        self._thread.join()
        return self._killed_at

    def _run(self) -> None:
        time.sleep(self._after_s)
        self._killed_at = time.monotonic()
        os.kill(self._pid, signal.SIGKILL)


def deaths_with_plugin(node: Node, count: int) -> Deaths:
    """Kill ``count`` programs one by one while a client waits for events.

    After the event it looks until it sees another pid, as the control plane does.
    """
    deaths, rng = Deaths(), random.Random(1)
    events, commands = node.client(), node.client()
    place = events.plugin.wait_events("", 0, 0)
    for name in program_names(count):
        old = commands.processes()[name].pid
        assert old is not None
        killer = _Killer(old, rng.uniform(0.02, 0.1))
        place = _wait_for_exit(events, place, name)
        seen_at = time.monotonic()
        while commands.processes()[name].pid in (None, old):
            assert time.monotonic() - seen_at < _DEADLINE_S, f"no new process of {name}"
        deaths.note(killer.at(), seen_at, time.monotonic())
    return deaths


def _wait_for_exit(events: SupervisorClient, place: EventBatch, name: str) -> EventBatch:
    """Return the batch that tells it."""
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        place = events.plugin.wait_events(place.boot, place.sequence, 5)
        if any((e.get("name"), e.get("state")) == (name, "EXITED") for e in place.events):
            return place
    raise AssertionError(f"no event of {name}")


def deaths_on_stock(node: Node, count: int) -> Deaths:
    """Kill ``count`` programs one by one; an ``[eventlistener]`` notes when it is told.

    The next process is looked for in /proc, because asking supervisord would wake it.
    """
    deaths, rng = Deaths(), random.Random(1)
    pids = {name: info.pid for name, info in node.client().processes().items()}
    for name in program_names(count):
        before = node.children()
        killer = _Killer(pids[name], rng.uniform(0.2, 1.2))
        killed_at = killer.at()
        while not node.children() - before:
            time.sleep(0.002)
            assert time.monotonic() - killed_at < _DEADLINE_S, f"no new process of {name}"
        restarted_at = time.monotonic()
        seen_at = wait_for(lambda name=name: _told_at(node, name), f"the event of {name}")
        deaths.note(killed_at, seen_at, restarted_at)
    return deaths


def _told_at(node: Node, name: str) -> float | None:
    """Return when the listener got the newest exit of a program."""
    for line in (node.home / "events").read_text().splitlines():
        at, event, text = line.split(" ", 2)
        if event == "PROCESS_STATE_EXITED" and f"processname:{name} " in text:
            return float(at)
    return None


def deaths_at_browser() -> Deaths:
    """Kill the collectors of a demonstration in turn while a WebSocket client listens."""
    deaths, rng = Deaths(), random.Random(1)
    with _demo() as demo, _subscribed(demo) as websocket:
        for name in _COLLECTORS * _ROUNDS_AT_BROWSER:
            pid = demo.wait_until(name, _is_settled, "runs and delivers")["pid"]
            while websocket.receive(timeout=0) is not None:
                pass
            killer = _Killer(pid, rng.uniform(0.05, 0.5))
            seen_at, restarted_at = _news_of(websocket, name, pid)
            deaths.note(killer.at(), seen_at, restarted_at)
    return deaths


@contextlib.contextmanager
def _demo() -> Iterator[Installation]:
    root = Path(tempfile.mkdtemp(prefix="daq-b-"))
    demo = Installation(root / "home", free_port(), ("--demo",))
    try:
        demo.start()
        yield demo
    finally:
        demo.stop()
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def _subscribed(demo: Installation) -> Iterator[WebSocketClient]:
    headers = {"Authorization": f"Bearer {demo.token}"}
    address = f"ws://127.0.0.1:{demo.port}/ws"
    websocket = WebSocketClient(address, subprotocols=["daq.v1"], headers=headers)
    try:
        websocket.send(json.dumps({"id": 1, "op": "subscribe", "topic": "process_status"}))
        yield websocket
    finally:
        websocket.close()


def _is_settled(status: dict[str, Any]) -> bool:
    return status["supervisor_state"] == "RUNNING" and is_delivering(status)


def _news_of(websocket: WebSocketClient, name: str, pid: int) -> tuple[float, float]:
    """Return when the first message shows another pid or state, and when one shows the next pid."""
    seen_at = None
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        frame = json.loads(websocket.receive(timeout=_DEADLINE_S) or "{}")
        arrived = time.monotonic()
        status = frame.get("data")
        if frame.get("kind") != "delta" or status["name"] != name:
            continue
        if seen_at is None and (status["pid"] != pid or status["status"] != "RUNNING"):
            seen_at = arrived
        if seen_at is not None and status["pid"] not in (None, pid):
            return seen_at, arrived
    raise AssertionError(f"no message of the death of {name}")
