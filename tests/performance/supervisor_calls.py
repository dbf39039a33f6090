"""What calls cost: looks at everything, polling, starts in bulk, one more program, the end."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from supervisor_node import Node, program_names

from control_plane.domain.process import ProcessInfo
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.program_changes import ProgramChanges

_DEADLINE_S = 20.0
_PROBE_EVERY_S = 0.01
_LONG_POLL_S = 20.0
_BLOCKS = 5
STOP_LIMIT_S = 70.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Milliseconds of each call, and of supervisord's CPU a call on average."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


def cost_of(node: Node, call: Callable[[], object], *, calls: int) -> Costs:
    """Time five times ``calls`` calls."""
    costs = Costs()
    call()
    for _ in range(_BLOCKS):
        cpu_s = node.cpu_s()
        for _ in range(calls):
            began = time.perf_counter()
            call()
            costs.wall_ms.append((time.perf_counter() - began) * 1e3)
        costs.cpu_ms.append((node.cpu_s() - cpu_s) / calls * 1e3)
    return costs


def idle_percent(node: Node, seconds: float) -> float:
    """Return supervisord's share of one core while nobody asks it anything."""
    return _share(node, seconds, lambda: None)


def polled_percent(node: Node, seconds: float) -> float:
    """Return its share with the control plane's pattern: two looks a second and a long poll."""
    looks, events = node.client(), node.client(timeout_s=_LONG_POLL_S + 5)
    place = events.plugin.wait_events("", 0, 0)
    waiting = threading.Thread(
        target=lambda: events.plugin.wait_events(place.boot, place.sequence, seconds + 1)
    )
    waiting.start()
    percent = _share(node, seconds, lambda: (looks.processes(), looks.pid()))
    waiting.join()
    return percent


def stock_polled_percent(node: Node, seconds: float) -> float:
    """Return its share with two looks a second of a panel that knows plain XML-RPC only."""
    rpc = node.stock().supervisor
    return _share(node, seconds, lambda: (rpc.getAllProcessInfo(), rpc.getPID()))


def _share(node: Node, seconds: float, look: Callable[[], object]) -> float:
    began, cpu_s = time.monotonic(), node.cpu_s()
    while time.monotonic() - began < seconds:
        look()
        time.sleep(0.5)
    return (node.cpu_s() - cpu_s) / (time.monotonic() - began) * 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Seconds until all programs of a round run, and what another client waits meanwhile."""

    total_s: list[float] = field(default_factory=list)
    others_ms: list[float] = field(default_factory=list)


def bulk_start(node: Node, count: int, starts: Starts) -> None:
    """Start every program with our process manager."""
    manager, names = node.manager(), program_names(count)

    def start() -> None:
        results = manager.bulk("start", names)
        assert all(result.outcome == "done" for result in results)

    _time_start(node, start, starts)


def stock_start(node: Node, count: int, starts: Starts) -> None:
    """Start every program with one call to ``startAllProcesses``, not waiting for any."""
    rpc, client = node.stock().supervisor, node.client()

    def start() -> None:
        rpc.startAllProcesses(False)
        _wait_for(client, lambda infos: all(infos[n].pid for n in program_names(count)))

    _time_start(node, start, starts)


def _time_start(node: Node, start: Callable[[], None], starts: Starts) -> None:
    """Stop everything, and add to ``starts`` what its start takes."""
    client, done = node.client(), threading.Event()
    node.manager().bulk("stop", list(client.processes()))
    probe = threading.Thread(target=_probe, args=(node, done, starts.others_ms))
    probe.start()
    began = time.monotonic()
    try:
        start()
        starts.total_s.append(time.monotonic() - began)
    finally:
        done.set()
        probe.join()
    # A stop within milliseconds of the start would be lost.
    node.wait_until_running()


def _probe(node: Node, done: threading.Event, waits_ms: list[float]) -> None:
    rpc = node.stock().supervisor
    while not done.wait(_PROBE_EVERY_S):
        began = time.perf_counter()
        rpc.getState()
        waits_ms.append((time.perf_counter() - began) * 1e3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """Milliseconds until a new program's process exists, and how many others changed theirs."""

    wall_ms: list[float] = field(default_factory=list)
    changed_pids: int = 0


def add_programs(node: Node, count: int) -> Additions:
    """Write a program file, reread, add; supervisord's parser is not asked beforehand."""
    client = node.client()

    def add(name: str) -> None:
        node.add_program_file(name)
        assert name in client.reread().added
        client.add_program(name)

    return _timed_additions(node, [f"added{n}" for n in range(count)], add)


def add_collectors(node: Node, count: int) -> Additions:
    """Do the same as the panel does, which first lets supervisord's parser check the file."""
    client = node.client()
    changes = ProgramChanges(node.home, client, node.manager())
    return _timed_additions(node, [f"checked{n}" for n in range(count)], changes.apply)


def _timed_additions(node: Node, names: Sequence[str], add: Callable[[str], object]) -> Additions:
    wall_ms, changed, client = [], 0, node.client()
    for name in names:
        before = {each: info.pid for each, info in client.processes().items()}
        began = time.monotonic()
        add(name)
        _wait_for(client, lambda infos, name=name: infos[name].pid is not None)
        wall_ms.append((time.monotonic() - began) * 1e3)
        after = client.processes()
        changed += sum(after[each].pid != pid for each, pid in before.items())
        ProgramChanges(node.home, client, node.manager()).remove(name)
    return Additions(wall_ms=wall_ms, changed_pids=changed)


def add_with_supervisorctl(node: Node, count: int) -> Additions:
    """Do the same with ``supervisorctl update NAME``; asked through /proc, which wakes nobody."""
    wall_ms, changed = [], 0
    for number in range(count):
        before = node.children()
        began = time.monotonic()
        node.add_program_file(f"added{number}")
        update = threading.Thread(target=node.supervisorctl, args=("update", f"added{number}"))
        update.start()
        while not node.children() - before:
            time.sleep(0.002)
            assert time.monotonic() - began < _DEADLINE_S, "no new process"
        wall_ms.append((time.monotonic() - began) * 1e3)
        update.join()
        changed += len(before - node.children())
    return Additions(wall_ms=wall_ms, changed_pids=changed)


def _wait_for(
    client: SupervisorClient, condition: Callable[[dict[str, ProcessInfo]], bool]
) -> None:
    """Look every 2 ms, because a start may take no longer than a few."""
    deadline = time.monotonic() + _DEADLINE_S
    while not condition(client.processes()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.002)


class Stop:
    """SIGTERM to supervisord, and the time until it has stopped its programs and ended."""

    def __init__(self, node: Node) -> None:
        self._process = node.process
        self._began = time.monotonic()
        self._ended: list[float] = []
        self._process.terminate()
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()

    def seconds(self) -> float:
        """Return the time, or the limit if it was reached."""
        self._thread.join()
        return self._ended[0]

    def _wait(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_LIMIT_S)
        self._ended.append(time.monotonic() - self._began)
