"""The hands of recovery: asks the policy after every look, does what it says, writes it down."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from control_plane.clock import Clock
from control_plane.domain.health import HealthCheckConfig
from control_plane.domain.process import ProcessStatus
from control_plane.domain.recovery import (
    Decision,
    Maintenance,
    RecoveryAction,
    RecoveryConfig,
)
from control_plane.errors import StorageError
from control_plane.recovery.memory import Memory
from control_plane.recovery.policy import decide_all
from control_plane.recovery.situation import situation_of
from control_plane.storage.recovery import (
    UNFINISHED,
    MaintenanceWindows,
    RecoveryDecisions,
    RecoveryMemories,
)

log = logging.getLogger(__name__)

EVERYTHING = "*"
_AT_ONCE = 4
_OVERRUN_WINDOW_S = 60.0
_NEWEST_DECISIONS = 100
_INTERRUPTED_LATELY = timedelta(days=1)
_COMMAND = "command"
"""Stands for a command that is not recovery's own."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """``outcome`` is ``done``, ``failed`` or ``unknown``; ``detail`` is for people."""

    outcome: str
    detail: str


class Limits(Protocol):
    """What is allowed, read from a file that people edit."""

    def of(self, process: str) -> HealthCheckConfig: ...

    @property
    def recovery(self) -> RecoveryConfig: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStores:
    """Where recovery keeps what must outlive the control plane."""

    decisions: RecoveryDecisions
    memories: RecoveryMemories
    maintenance: MaintenanceWindows


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryHands:
    """What recovery touches.

    Attributes:
        do: Carries a decision out and returns what was seen; the number is the new frequency
            factor.
        under_way: Collectors for which somebody's command has not ended.
        is_disk_low: Whether this machine is about to run out of disk.
    """

    do: Callable[[Decision, float], ActionResult]
    under_way: Callable[[], set[str]]
    is_disk_low: Callable[[], bool]


class RecoveryService:
    """``consider`` belongs to the monitor's thread; everything else may be asked from any."""

    def __init__(
        self, stores: RecoveryStores, limits: Limits, hands: RecoveryHands, clock: Clock
    ) -> None:
        self._stores = stores
        self._limits = limits
        self._hands = hands
        self._clock = clock
        self._boot_id = _boot_id()
        self._memories: dict[str, Memory] | None = None
        self._saved: dict[str, Memory] = {}
        self._latest: dict[str, Decision] = {}
        self._restarts: dict[str, tuple[int, Decision]] = {}
        self._ended: deque[str] = deque()
        self._overruns: dict[str, deque[tuple[float, int, int]]] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, "recovery")
        self._stopping = threading.Event()
        self._failing = False

    def stop(self) -> None:
        """Begin nothing more; what is under way is ended by the next control plane."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def latest(self) -> Mapping[str, Decision]:
        """Return the newest decision for each collector."""
        return dict(self._latest)

    def restarts(self) -> Mapping[str, tuple[int, Decision]]:
        """Return how often each collector was restarted since the start, and why the last time."""
        return dict(self._restarts)

    def under_way(self) -> frozenset[str]:
        """Return the collectors that anybody's command is under way for. Raises StorageError."""
        return frozenset(self._hands.under_way())

    def memory_of(self, process: str) -> Memory:
        """Return what is remembered of a collector."""
        return (self._memories or {}).get(process, Memory())

    def consider(self, statuses: Sequence[ProcessStatus]) -> None:
        """Decide for every collector, and begin what is to be done.

        Without a database nothing is decided: nobody would know why afterwards, and a restart that
        is not counted could be one too many.
        """
        if self._stopping.is_set():
            return
        try:
            self._consider(statuses)
        except StorageError as exc:
            if not self._failing:
                log.error("recovery waits for the state database", extra={"reason": str(exc)})
            self._failing = True
        else:
            self._failing = False

    def _consider(self, statuses: Sequence[ProcessStatus]) -> None:
        now = self._clock.monotonic()
        disk_low = self._hands.is_disk_low()
        if self._memories is None:
            self._memories = self._load(now)
        while self._ended:
            name = self._ended.popleft()
            self._remember(name, replace(self.memory_of(name), in_flight=""), now)
        maintenance = self._stores.maintenance.present(self._clock.now())
        situations = [
            situation_of(
                status,
                self._limits.of(status.name),
                overrun=self._overrun(status, now),
                in_maintenance=bool(maintenance.keys() & {EVERYTHING, status.name}),
                disk_low=disk_low and bool(status.config_file),
            )
            for status in statuses
        ]
        commanded = self._hands.under_way()
        memories = {
            name: replace(memory, in_flight=memory.in_flight or _COMMAND)
            for name in commanded
            for memory in (self.memory_of(name),)
        }
        config = self._limits.recovery
        for decision, memory in decide_all(situations, self._memories | memories, config, now):
            ours = replace(memory, in_flight="") if memory.in_flight == _COMMAND else memory
            self._take(decision, ours, now)
        for gone in self._latest.keys() - {status.name for status in statuses}:
            del self._latest[gone]

    def _take(self, decision: Decision, memory: Memory, now: float) -> None:
        number, before = self._write_down(decision), self.memory_of(decision.process)
        try:
            # Before anything is done: a restart that we die over still counts.
            self._remember(decision.process, memory, now)
        except StorageError:
            if decision.action.touches and self._memories is not None:
                # It is not begun, so nothing would ever end it: it is decided on anew.
                self._memories[decision.process] = before
            raise
        if decision.action is RecoveryAction.RESTART_PROCESS:
            count, _ = self._restarts.get(decision.process, (0, decision))
            self._restarts[decision.process] = (count + 1, decision)
        if decision.action.touches and number is not None:
            self._pool.submit(self._carry_out, decision, memory.factor, number)

    def _write_down(self, decision: Decision) -> int | None:
        before = self._latest.get(decision.process)
        acts = decision.action is not RecoveryAction.NO_ACTION
        news = before is None or _essence(before) != _essence(decision)
        nothing_yet = before is None and decision.rule in ("fine", "stopped")
        number = None
        if acts or (news and not nothing_yet):
            outcome = "planned" if decision.action.touches else "none"
            if decision.action is RecoveryAction.ALERT_OPERATOR:
                outcome = "done"
            number = self._stores.decisions.add(decision, outcome, self._clock.now())
        # Only now: what could not be written down is news again at the next look.
        self._latest[decision.process] = decision
        return number

    def _carry_out(self, decision: Decision, factor: float, number: int) -> None:
        try:
            self._stores.decisions.end(number, "sent", "")
            log.warning(
                "recovery acts",
                extra={
                    "collector": decision.process,
                    "action": decision.action.value,
                    "rule": decision.rule,
                    "attempt": decision.attempt,
                },
            )
            result = self._hands.do(decision, factor)
        except Exception as exc:
            log.exception("recovery failed", extra={"collector": decision.process})
            result = ActionResult(outcome="failed", detail=f"{type(exc).__name__}: {exc}")
        try:
            self._stores.decisions.end(number, result.outcome, result.detail)
        except StorageError:
            log.exception("outcome cannot be written", extra={"collector": decision.process})
        self._ended.append(decision.process)

    def _remember(self, process: str, memory: Memory, now: float) -> None:
        assert self._memories is not None
        self._memories[process] = memory
        if memory != self._saved.get(process):
            self._stores.memories.save(process, self._boot_id, now, memory.dump())
            self._saved[process] = memory

    def _load(self, now: float) -> dict[str, Memory]:
        self._recall_restarts()
        self._stores.decisions.interrupted(self._clock.now() - _INTERRUPTED_LATELY)
        found = {}
        for process, (boot_id, saved_s, figures) in self._stores.memories.load().items():
            kept = Memory.load(figures)
            # Whoever did it is gone, and so is what was under way.
            found[process] = replace(kept, in_flight="")
            if boot_id != self._boot_id:
                # The clock began anew: as if no time had passed since.
                found[process] = found[process].moved(now - saved_s)
            elif not kept.in_flight:
                self._saved[process] = kept
        return found

    def _recall_restarts(self) -> None:
        """Count the restarts that a control plane died over: perhaps nobody was told of them."""
        for record in self._stores.decisions.newest(None, _NEWEST_DECISIONS):
            restarts = record.decision.action is RecoveryAction.RESTART_PROCESS
            if restarts and record.outcome in UNFINISHED:
                self._restarts[record.decision.process] = (1, record.decision)

    def _overrun(self, status: ProcessStatus, now: float) -> float:
        """Return the share of poll cycles that were left out over the last minute."""
        samples = self._overruns.setdefault(status.name, deque())
        skipped, cycles = status.skipped_cycles, status.cycles_last_minute
        if samples and skipped < samples[-1][1]:
            samples.clear()  # Another process counts from 0.
        samples.append((now, skipped, cycles))
        while len(samples) > 1 and samples[1][0] <= now - _OVERRUN_WINDOW_S:
            samples.popleft()
        left_out = skipped - samples[0][1]
        due = left_out + cycles
        return left_out / due if due and now - samples[0][0] >= _OVERRUN_WINDOW_S / 2 else 0.0


def is_in_maintenance(windows: Mapping[str, Maintenance], process: str) -> Maintenance | None:
    """Return the window that holds for ``process``, its own or that of all."""
    return windows.get(process) or windows.get(EVERYTHING)


def _essence(decision: Decision) -> tuple[object, ...]:
    return decision.rule, decision.wanted, decision.guard


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
