"""The loop that knows how everything is: observe, judge, remember, publish; over and over.

Events only say "look now". Every look observes everything afresh, so a lost event costs half a
second, never the truth.
"""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from collectors.contract.config_problems import ConfigProblem
from control_plane.chronicle import Chronicle
from control_plane.clock import Clock
from control_plane.domain.health import ProcessHealth
from control_plane.domain.node import LOCAL_NODE, NodeView
from control_plane.domain.observation import Round, SeenCollector
from control_plane.domain.process import (
    PerformanceMetrics,
    ProcessInfo,
    ProcessStatus,
    ProcessUsage,
)
from control_plane.errors import StorageError
from control_plane.limits_file import LimitsFile
from control_plane.live.hub import Hub
from control_plane.observer import Observer
from control_plane.outages import Outages
from control_plane.process_view import judge_collector, measure_performance, view_collector
from control_plane.storage.process_history import ProcessHistory
from control_plane.telemetry.death_watch import DeathWatch

log = logging.getLogger(__name__)

ROUND_S = 0.5
_AFTER_DEATH_S = 0.02
"""supervisord needs a moment to see a death that the kernel has already reported to us."""
_REPEAT_S = 1.0
"""Figures that always change, such as ages, are published this often."""

_STATUS = TypeAdapter(ProcessStatus)
_HEALTH = TypeAdapter(ProcessHealth)
_PERFORMANCE = TypeAdapter(PerformanceMetrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """One of our own programs: control plane, historian, simulators."""

    info: ProcessInfo
    cpu_percent: float | None
    memory_mb: float | None
    uptime_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that is known at one instant; replaced whole, never changed."""

    taken_at: datetime
    nodes: tuple[NodeView, ...]
    """This machine first."""
    processes: Mapping[str, ProcessStatus]
    services: tuple[ServiceStatus, ...]
    refused_files: Mapping[str, ConfigProblem] = field(default_factory=dict)
    """The first problem of each collector's file that cannot be used as it is now."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of one collector from round to round."""

    health: ProcessHealth | None = None
    judged_mono: float = 0.0
    published: object = None
    published_mono: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """By which limits collectors are judged; ``home`` is named in what is shown of them."""

    limits: LimitsFile
    home: Path


class Observers(Protocol):
    """Whoever has looked at other machines lately."""

    def rounds(self) -> list[Round]:
        """Return the newest look at each, without waiting."""


class Monitor:
    """Owns the present state; one thread writes it, anybody reads :meth:`picture`."""

    def __init__(
        self,
        judging: Judging,
        observers: tuple[Observer, Observers],
        history: ProcessHistory,
        chronicle: Chronicle,
        hub: Hub,
        clock: Clock,
    ) -> None:
        self._judging = judging
        self._local, self._others = observers
        self._history = history
        self._chronicle = chronicle
        self._hub = hub
        self._clock = clock
        self._watch = DeathWatch()
        self._memory: dict[str, _Memory] = {}
        self._picture: Picture | None = None
        self._listeners: list[Callable[[Picture], None]] = []
        self._outages = Outages(log)
        self._looked_mono = -math.inf
        self.look_ms = 0.0
        """How long the newest look took, what it wrote down included."""
        self._first_round = threading.Event()
        self._stopping = threading.Event()
        self._record_due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor")

    def tell(self, listener: Callable[[Picture], None]) -> None:
        """Have ``listener`` called with every new picture, in this thread; before the start."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Start the loop and return after its first round."""
        self._thread.start()
        self._first_round.wait(timeout=10)

    def stop(self) -> None:
        """End the loop and wait for it."""
        self._stopping.set()
        self._watch.wake()
        self._thread.join()
        self._watch.close()

    def wake(self) -> None:
        """Look now; may be called from any thread, also after the end."""
        if not self._stopping.is_set():
            self._watch.wake()

    def record_health(self) -> None:
        """Write the next round's checks to the history; called by the scheduler."""
        self._record_due.set()
        self.wake()

    def picture(self) -> Picture:
        """Return the newest picture.

        Raises:
            RuntimeError: no round has ended yet.
        """
        if self._picture is None:
            raise RuntimeError("the monitor has not looked yet")
        return self._picture

    def picture_age_s(self) -> float:
        """Return the seconds since the newest look ended; infinite before the first."""
        return self._clock.monotonic() - self._looked_mono

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            pause_s, began_mono = ROUND_S, self._clock.monotonic()
            try:
                pause_s = self._round()
                self.look_ms = (self._clock.monotonic() - began_mono) * 1000
                failing = False
            except Exception:
                # Whatever it was, the next look must happen: nobody else tells people the truth.
                if not failing:
                    log.exception("monitor round failed")
                failing = True
            self._first_round.set()
            self._watch.wait(pause_s)

    def _round(self) -> float:
        self._judging.limits.refresh()
        rounds = [self._local.look(), *self._others.rounds()]
        collectors = [each for seen in rounds for each in seen.collectors]
        processes = {each.file.name: self._examine(each) for each in collectors}
        for gone in set(self._memory) - set(processes):
            del self._memory[gone]
            for topic in ("process_status", "health_checks", "performance"):
                self._hub.withdraw(topic, gone)
        here = rounds[0]
        self._picture = Picture(
            taken_at=here.taken_at,
            nodes=tuple(seen.node for seen in rounds),
            processes=processes,
            services=tuple(_service(info, usage, here) for info, usage in here.services),
            refused_files={e.file.name: e.file.problems[0] for e in collectors if e.file.problems},
        )
        self._looked_mono = self._clock.monotonic()
        # People have seen it by now: what takes a database follows.
        if self._chronicle.write(rounds):
            self.wake()  # A restart was counted, which is to be seen soon.
        for listener in self._listeners:
            self._call(listener, self._picture)
        if self._record_due.is_set():
            self._record_due.clear()
            judged = [(name, status.health) for name, status in processes.items()]
            with contextlib.suppress(StorageError):  # The chronicle tells of it.
                self._history.record_health(here.taken_at, judged)
        pids = {s.pid for s in processes.values() if s.pid is not None and s.node == LOCAL_NODE}
        self._watch.watch(pids)
        return _AFTER_DEATH_S if pids & self._watch.died() else ROUND_S

    def _call(self, listener: Callable[[Picture], None], picture: Picture) -> None:
        where = str(id(listener))
        try:
            listener(picture)
        except Exception as exc:  # noqa: BLE001 - it is logged by what remembers outages
            # One that fails must not keep the others, or the next look, from happening.
            what = f"{where} {type(exc).__name__}"
            self._outages.failed(what, where, "a listener to the monitor failed", exc)
        else:
            self._outages.works(where)

    def _examine(self, each: SeenCollector) -> ProcessStatus:
        name = each.file.name
        memory = self._memory.setdefault(name, _Memory())
        limits = self._judging.limits.of(name)
        mono = self._clock.monotonic()
        elapsed_s, memory.judged_mono = mono - memory.judged_mono, mono
        health = judge_collector(each, memory.health, limits, elapsed_s)
        restarts = self._chronicle.restart_count(name, each.facts.taken_at)
        status = view_collector(each, health, restarts, limits, self._judging.home)
        self._publish(status, memory)
        memory.health = health
        return status

    def _publish(self, status: ProcessStatus, memory: _Memory) -> None:
        """Send a change of state at once, and figures that always change once a second."""
        mono = self._clock.monotonic()
        essence = (
            status.status,
            status.supervisor_state,
            status.pid,
            status.restart_count,
            status.config_revision,
            tuple((check.status, check.code) for check in status.health.checks),
            tuple(device.is_connected for device in status.devices),
        )
        if essence == memory.published and mono - memory.published_mono < _REPEAT_S - 0.1:
            return
        name = status.name
        if memory.health is None or essence != memory.published:
            self._hub.publish("health_checks", name, _health_message(status))
        memory.published, memory.published_mono = essence, mono
        self._hub.publish("process_status", name, _STATUS.dump_python(status, mode="json"))
        performance = measure_performance(status, status.observed_at)
        self._hub.publish("performance", name, _PERFORMANCE.dump_python(performance, mode="json"))


def _health_message(status: ProcessStatus) -> dict[str, object]:
    health = _HEALTH.dump_python(status.health, mode="json")
    return {
        "process_name": status.name,
        "timestamp": status.observed_at.isoformat(),
        "status": health["status"],
        "score": health["score"],
        "checks": health["checks"],
    }


def _service(info: ProcessInfo, measured: ProcessUsage | None, seen: Round) -> ServiceStatus:
    return ServiceStatus(
        info=info,
        cpu_percent=measured.cpu_percent if measured else None,
        memory_mb=measured.memory_mb if measured else None,
        uptime_s=(seen.taken_at - measured.created_at).total_seconds() if measured else None,
    )
