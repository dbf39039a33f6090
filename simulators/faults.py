"""What is wrong with a simulated device: which faults there are, and which of them act now.

A fault is switched on by a scenario in the simulator's file or through the control endpoint, for
a time, for a number of requests or until it is cleared. Everything random about it (jitter,
garbage) comes from the seed, the device and the fault, so the same requests meet the same fate.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from simulators.clock import Clock, Instant

FaultKind = Literal[
    "refuse", "max_connections", "silent", "drop", "delay", "split", "duplicate",
    "close_before", "close_after", "reset", "truncate", "garbage",
    "short", "bad_length", "wrong_id", "wrong_unit", "wrong_function", "exception",
    "freeze", "nan", "bad_quality", "stuck_time", "session_loss", "restart",
]  # fmt: skip
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

LISTENER_FAULTS = frozenset({"refuse", "max_connections"})
"""Of the whole device: who may connect."""
VALUE_FAULTS = frozenset({"freeze", "nan", "bad_quality", "stuck_time"})
"""Of what is measured; every request meets them."""
EVENT_FAULTS = frozenset({"session_loss", "restart"})
"""Happen once, at the moment they are switched on."""
REQUEST_FAULTS = frozenset(FAULT_KINDS) - LISTENER_FAULTS - VALUE_FAULTS - EVENT_FAULTS
"""Of single requests and their answers."""
SPOILING_FAULTS = frozenset(
    {"truncate", "garbage", "short", "bad_length", "wrong_id", "wrong_unit", "wrong_function"}
)
"""The answer is not one that a client may believe."""

_WIRE = LISTENER_FAULTS | {
    "silent", "drop", "delay", "split", "duplicate", "close_before", "close_after", "reset",
    "truncate", "garbage", "exception",
}  # fmt: skip
SUPPORTED: dict[str, frozenset[str]] = {
    "modbus_tcp": _WIRE
    | {"short", "bad_length", "wrong_id", "wrong_unit", "wrong_function", "freeze", "nan"},
    "mitsubishi_mc": _WIRE | {"short", "bad_length", "wrong_id", "wrong_unit", "freeze", "nan"},
    "opcua": (_WIRE - {"duplicate"}) | VALUE_FAULTS | EVENT_FAULTS,
}
"""What each protocol can do."""

_OPTIONS = {
    "delay_s": {"delay"},
    "jitter_s": {"delay"},
    "chunk_bytes": {"split"},
    "pause_s": {"split", "restart"},
    "code": {"exception", "bad_quality"},
    "connections": {"max_connections"},
}
_Seconds = Annotated[float, Field(ge=0, le=3600)]


class Fault(BaseModel):
    """One fault and how it is set.

    Attributes:
        every: Only each n-th request meets it.
        count: It ends after this many requests; ``None``: not by itself.
        delay_s, jitter_s: An answer waits ``delay_s`` and up to ``jitter_s`` more.
        chunk_bytes, pause_s: An answer leaves in pieces of this size, this far apart; a
            restarting server is away for ``pause_s``.
        code: Modbus exception code, MC end code or OPC UA status code.
        connections: So many clients are served, the others are ended at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    fault: FaultKind
    every: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    count: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    delay_s: _Seconds = 1.0
    jitter_s: _Seconds = 0.0
    chunk_bytes: Annotated[int, Field(ge=1, le=65536)] = 1
    pause_s: _Seconds = 0.001
    code: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] | None = None
    connections: Annotated[int, Field(ge=0, le=10_000)] = 1

    @model_validator(mode="after")
    def _options_belong_to_the_fault(self) -> Self:
        given = self.model_fields_set
        foreign = [name for name, kinds in _OPTIONS.items() if self.fault not in kinds]
        if self.fault not in REQUEST_FAULTS:
            foreign += ["every", "count"]
        for name in foreign:
            if name in given:
                params = {"option": name, "fault": self.fault}
                raise PydanticCustomError("fault_option", "option", params)
        return self


class FaultOrder(Fault):
    """A fault and whom it meets.

    Attributes:
        device: Id of a device, or ``*`` for all.
        unit: Only this unit of a Modbus gateway.
        for_s: It ends after this time; ``None``: when it is cleared.
    """

    device: str = "*"
    unit: Annotated[int, Field(ge=0, le=255)] | None = None
    for_s: Annotated[float, Field(gt=0, le=1e7)] | None = None

    @model_validator(mode="after")
    def _can_be_aimed_and_timed(self) -> Self:
        if self.unit is not None and self.fault in LISTENER_FAULTS:
            raise PydanticCustomError("fault_unit", "unit", {"fault": self.fault})
        if self.for_s is not None and self.fault in EVENT_FAULTS:
            params = {"option": "for_s", "fault": self.fault}
            raise PydanticCustomError("fault_option", "option", params)
        return self


class ScenarioStep(FaultOrder):
    """A fault that begins ``at_s`` seconds after the start, and again every ``repeat_s``."""

    at_s: Annotated[float, Field(ge=0, le=1e7)]
    repeat_s: Annotated[float, Field(ge=0.01, le=1e7)] | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """A fault that a request meets, and the random numbers that belong to it."""

    fault: Fault
    dice: random.Random

    @property
    def kind(self) -> FaultKind:
        return self.fault.fault


@dataclass(slots=True, kw_only=True, eq=False)
class _Active:
    effect: Effect
    unit: int | None
    timer: asyncio.TimerHandle | None = None
    seen: int = 0
    met: int = 0
    since: Instant

    @property
    def kind(self) -> FaultKind:
        return self.effect.kind


@dataclass(slots=True)
class Counters:
    """What happened to a device since it started."""

    connections: int = 0
    open_connections: int = 0
    requests: int = 0
    answers: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class FaultBoard:
    """The faults that act on one device now, and its counters.

    Belongs to the event loop that serves the device. ``changed`` is called with a
    fault after it was switched on or off.
    """

    def __init__(self, clock: Clock | None = None, *, seed: str = "") -> None:
        self._clock = clock or Clock()
        self._seed = seed
        self._active: list[_Active] = []
        self._started = 0
        self.changed: Callable[[Fault], None] = lambda _fault: None
        self.counters = Counters()

    def start(self, fault: Fault, *, unit: int | None = None, for_s: float | None = None) -> None:
        """Switch ``fault`` on; it takes the place of one of its kind for the same unit."""
        self._remove([a for a in self._active if (a.kind, a.unit) == (fault.fault, unit)])
        self._started += 1
        dice = random.Random(f"{self._seed}/{fault.fault}/{self._started}")
        entry = _Active(effect=Effect(fault, dice), unit=unit, since=self._clock.now())
        if for_s is not None:
            loop = asyncio.get_running_loop()
            entry.timer = loop.call_later(for_s, self._end, entry)
        if fault.fault not in EVENT_FAULTS:
            self._active.append(entry)
        if fault.fault not in REQUEST_FAULTS:
            self._count(fault.fault)
        self.changed(fault)

    def clear(self, kind: str | None = None, *, unit: int | None = None) -> None:
        """Switch off the faults of ``kind``, or all, of ``unit``, or of every one."""
        ended = [
            entry
            for entry in self._active
            if kind in (None, entry.kind) and unit in (None, entry.unit)
        ]
        self._remove(ended)
        for entry in ended:
            self.changed(entry.effect.fault)

    def close(self) -> None:
        """Forget every fault without a word."""
        self._remove(list(self._active))

    def find(self, kind: FaultKind, unit: int | None = None) -> Fault | None:
        """Return the fault of ``kind`` that acts on ``unit`` now."""
        for entry in self._active:
            if entry.kind == kind and entry.unit in (None, unit):
                return entry.effect.fault
        return None

    def now(self, unit: int | None = None) -> Instant:
        """Return the time that values are computed for; it stands still under ``freeze``."""
        now = self._clock.now()
        for entry in self._active:
            if entry.kind == "freeze" and entry.unit in (None, unit):
                return Instant(now.t_ns, entry.since.t_s)
        return now

    def take(self, unit: int | None = None) -> tuple[Effect, ...]:
        """Count one request to ``unit`` and return what it meets, see :meth:`meet`."""
        self.counters.requests += 1
        return self.meet(REQUEST_FAULTS, unit) if self._active else ()

    def meet(self, kinds: Set[str], unit: int | None = None) -> tuple[Effect, ...]:
        """Return which request faults among ``kinds`` act on this request to ``unit``."""
        met = [
            entry
            for entry in list(self._active)
            if entry.kind in kinds and entry.unit in (None, unit) and _is_due(entry)
        ]
        for entry in met:
            self._count(entry.kind)
            if entry.met == entry.effect.fault.count:
                self._remove([entry])
        return tuple(entry.effect for entry in met)

    def describe(self) -> list[dict[str, Any]]:
        """Return what acts now, as JSON."""
        return [
            {"unit": entry.unit, "met": entry.met}
            | entry.effect.fault.model_dump(exclude_unset=True)
            for entry in self._active
        ]

    def _count(self, kind: str) -> None:
        self.counters.faults[kind] = self.counters.faults.get(kind, 0) + 1

    def _end(self, entry: _Active) -> None:
        self._remove([entry])
        self.changed(entry.effect.fault)

    def _remove(self, entries: Iterable[_Active]) -> None:
        for entry in entries:
            if entry.timer is not None:
                entry.timer.cancel()
            self._active.remove(entry)


def _is_due(entry: _Active) -> bool:
    entry.seen += 1
    due = entry.seen % entry.effect.fault.every == 0
    entry.met += due
    return due
