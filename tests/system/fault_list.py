"""Every fault of the matrix: how it is made and mended, and what has to come of it."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fault_plant import FaultPlant, kill
from injected.sitecustomize import BUSY, CALM, LEAK, SPIN

STORE: Final = "store"
LOCAL: Final = "local"
HOUR_S: Final = 3600.0
Act = Callable[[FaultPlant], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the matrix.

    Attributes:
        name: Of the fault, and of the collector that has it.
        what: For people.
        subject: Of the alert, if it is not the collector; ``store`` for the store of the plant.
        rule: Of the one alert.
        actions: What automatic recovery does.
        may: What it may do besides, where that is a matter of chance.
        restarts: Whether the collector is another process afterwards.
        within_s: So long after the fault people are told at the latest; limits are scaled.
        published: The same with the built-in limits, as docs/operations.md has them.
        mend: Ends the fault; without it, recovery or supervisord has to.
    """

    name: str
    what: str
    rule: str
    inject: Act
    within_s: float
    published: str
    subject: str | None = None
    actions: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    restarts: bool = False
    mend: Act | None = None

    def about(self, plant: FaultPlant) -> str:
        """Return the name of what its alert is about."""
        if self.subject == STORE:
            assert plant.store is not None
            return f"vm-127.0.0.1-{plant.store.port}"
        return self.subject or self.name


def _signalled(name: str, number: int) -> Act:
    return lambda plant: kill(plant.pid(name), number)


def _faulty(name: str, kind: str) -> tuple[Act, Act]:
    """Return what switches a fault of the simulated device on and off."""
    return (
        lambda plant: plant.simulator.fault(kind, name),  # type: ignore[arg-type] # a FaultKind
        lambda plant: plant.simulator.clear(None, name),
    )


class BlackHole:
    """A port of which no connection comes to be: its queue of connections is full."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def open(self, plant: FaultPlant) -> None:
        port = plant.simulator.ports["hole"]
        plant.simulator.fault("refuse", "hole")
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        self._sockets.append(listener)
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", port))
            self._sockets.append(waiting)

    def close(self, plant: FaultPlant) -> None:
        for each in reversed(self._sockets):
            each.close()
        self._sockets.clear()
        plant.simulator.clear(None, "hole")


_hole = BlackHole()
_GOOD_TEXT: dict[str, str] = {}


def _break_file(name: str) -> Act:
    def break_it(plant: FaultPlant) -> None:
        _GOOD_TEXT[name] = plant.file(name).read_text()
        plant.file(name).write_text(_GOOD_TEXT[name].replace("holding:0", "nowhere:0"))

    return break_it


def _mend_file(name: str) -> Act:
    return lambda plant: _write(plant, name)


def _write(plant: FaultPlant, name: str) -> None:
    plant.file(name).write_text(_GOOD_TEXT[name])


def _break_file_and_kill(name: str) -> Act:
    def act(plant: FaultPlant) -> None:
        pid = plant.pid(name)
        _break_file(name)(plant)
        kill(pid, signal.SIGKILL)

    return act


def _kill_store(plant: FaultPlant) -> None:
    assert plant.store is not None
    plant.store.kill()


def _start_store(plant: FaultPlant) -> None:
    assert plant.store is not None
    plant.store.start()


def _signal_supervisord(number: int) -> Act:
    def act(plant: FaultPlant) -> None:
        os.kill(int((plant.site.home / "run" / "supervisord.pid").read_text()), number)

    return act


def _fill_disk(plant: FaultPlant) -> None:
    assert plant.disk is not None
    plant.disk.fill()


def _free_disk(plant: FaultPlant) -> None:
    assert plant.disk is not None
    plant.disk.free()


def _set_clock(ahead_s: float) -> Act:
    def act(plant: FaultPlant) -> None:
        assert plant.clock is not None
        plant.clock.set_ahead(ahead_s)

    return act


def _freeze_and_kill_the_restarter(plant: FaultPlant) -> None:
    """Kill the control plane between the stop and the start of a restart."""
    control_plane = plant.service_pid("control-plane")
    pid = plant.pid("mid-restart")
    kill(pid, signal.SIGSTOP)
    plant.site.wait_until("mid-restart", lambda s: s["status"] == "STOPPING", "is stopped", 20)
    os.kill(control_plane, signal.SIGKILL)


def _kill_far(plant: FaultPlant) -> None:
    assert plant.far is not None
    plant.far.kill()


def _bring_far_back(plant: FaultPlant) -> None:
    assert plant.far is not None
    plant.far.come_back()


_freeze = _faulty("frozen", "freeze")
_refuse = _faulty("refused", "refuse")
_silent = _faulty("silent", "silent")
_exception = _faulty("exception", "exception")

TOGETHER: Final = (
    Fault(
        name="killed",
        what="collector killed (SIGKILL)",
        rule="process_state",
        inject=_signalled("killed", signal.SIGKILL),
        within_s=6,
        published="2 s",
        restarts=True,
    ),
    Fault(
        name="stopped",
        what="collector frozen (SIGSTOP)",
        rule="process_state",
        inject=_signalled("stopped", signal.SIGSTOP),
        within_s=6,
        published="3 s",
        actions=("restart_process",),
        restarts=True,
    ),
    Fault(
        name="leak",
        what="memory leak, 40 MB/s",
        rule="process_state",
        inject=_signalled("leak", LEAK),
        within_s=20,
        published="3 s after 1.5 times the limit",
        actions=("restart_process",),
        restarts=True,
    ),
    Fault(
        name="refused",
        what="device refuses connections",
        rule="connection",
        inject=_refuse[0],
        within_s=12,
        published="62 s",
        actions=("reset_connection",),
        mend=_refuse[1],
    ),
    Fault(
        name="silent",
        what="device takes requests and never answers",
        rule="connection",
        inject=_silent[0],
        within_s=12,
        published="62 s",
        actions=("reset_connection",),
        mend=_silent[1],
    ),
    Fault(
        name="hole",
        what="connections to the device never come to be",
        rule="connection",
        inject=_hole.open,
        within_s=12,
        published="62 s",
        actions=("reset_connection",),
        mend=_hole.close,
    ),
    Fault(
        name="exception",
        what="device answers every request with an exception",
        rule="data_flow",
        inject=_exception[0],
        within_s=28,
        published="137 s",
        actions=("alert_operator",),
        mend=_exception[1],
    ),
    Fault(
        name="frozen",
        what="device repeats the same values for ever",
        rule="frozen_values",
        inject=_freeze[0],
        within_s=12,
        published="7 s after `frozen_after_s`",
        mend=_freeze[1],
    ),
    Fault(
        name="refused-file",
        what="configuration file broken while the collector runs",
        rule="configuration",
        inject=_break_file("refused-file"),
        within_s=8,
        published="7 s",
        mend=_mend_file("refused-file"),
    ),
    Fault(
        name="broken-start",
        what="configuration file broken at a start",
        rule="process_state",
        inject=_break_file_and_kill("broken-start"),
        within_s=6,
        published="2 s",
        actions=("alert_operator",),
        may=("restart_process",),  # If supervisord has given up before the file is mended.
        restarts=True,
        mend=_mend_file("broken-start"),
    ),
)
BUSY_CORES: Final = (
    Fault(
        name="spin",
        what="work loop spins on a core",
        rule="process_state",
        inject=_signalled("spin", SPIN),
        within_s=12,
        published="33 s",
        actions=("restart_process",),
        restarts=True,
    ),
    Fault(
        name="busy",
        what="cores are busy, data flows",
        rule="cpu",
        inject=_signalled("busy", BUSY),
        within_s=45,
        published="100 s",
        actions=("reduce_frequency",),
        mend=_signalled("busy", CALM),
    ),
    Fault(
        name="store",
        what="store down",
        subject=STORE,
        rule="store_down",
        inject=_kill_store,
        within_s=12,
        published="40 s",
        mend=_start_store,
    ),
)
SUPERVISORD: Final = (
    Fault(
        name="supervisord",
        what="supervisord does not answer (SIGSTOP)",
        rule="node",
        subject=LOCAL,
        inject=_signal_supervisord(signal.SIGSTOP),
        within_s=10,
        published="15 s",
        mend=_signal_supervisord(signal.SIGCONT),
    ),
    Fault(
        name="far-supervisord",
        what="supervisord of another machine killed (SIGKILL)",
        rule="node",
        subject="far",
        inject=_kill_far,
        within_s=10,
        published="15 s",
        mend=_bring_far_back,
    ),
)
CONTROL_PLANE: Final = (
    Fault(
        name="mid-restart",
        what="control plane killed between stop and start of a restart",
        rule="process_state",
        inject=_freeze_and_kill_the_restarter,
        within_s=14,
        published="10 s",
        actions=("restart_process",),
        restarts=True,
    ),
)
CLOCK_FORWARD: Final = (
    Fault(
        name="clock-forward",
        what="clock set forward by an hour",
        rule="clock_step",
        subject=LOCAL,
        inject=_set_clock(HOUR_S),
        within_s=6,
        published="3 s",
    ),
)
CLOCK_BACK: Final = (
    Fault(
        name="clock-back",
        what="clock set back by an hour",
        rule="clock_step",
        subject=LOCAL,
        inject=_set_clock(0.0),
        within_s=6,
        published="3 s",
    ),
)
DISK_FULL: Final = (
    Fault(
        name="disk",
        what="disk full",
        rule="disk",
        subject=LOCAL,
        inject=_fill_disk,
        within_s=12,
        published="17 s",
        mend=_free_disk,
    ),
)
WAVES: Final = (TOGETHER, BUSY_CORES, SUPERVISORD, CONTROL_PLANE, CLOCK_FORWARD, CLOCK_BACK)
"""Each wave at once, one after the other."""
COLLECTORS: Final = tuple(f.name for wave in WAVES for f in wave if f.subject is None)
FAULTS: Final = tuple(fault for wave in (*WAVES, DISK_FULL) for fault in wave)
