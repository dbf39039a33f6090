"""Starts, stops and restarts programs, and says what was seen rather than what was asked."""

import enum
import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from control_plane.domain.process import ProcessInfo, ProcessState, SupervisorState
from control_plane.errors import Busy
from control_plane.supervisor.client import SupervisorClient

START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 15.0
"""stopwaitsecs (10) and the SIGKILL after it."""

_POLL_S = 0.02
_CHUNK = 5
_SURVIVES_S = 1.0
_SETTLE_S = 0.25
"""supervisord loses a SIGTERM that it sends within milliseconds of the fork."""


Action = Literal["start", "stop", "restart"]


class Outcome(enum.StrEnum):
    DONE = "done"
    """The new state was observed."""
    FAILED = "failed"
    """Another state was observed that will not become the wanted one."""
    UNKNOWN = "unknown"
    """Nothing conclusive was observed before the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What came of a command; ``detail`` is a code of the catalogue (``command.DETAIL``)."""

    process: str
    action: str
    outcome: Outcome
    detail: str
    duration_ms: float
    pid_before: int | None
    pid_after: int | None


OnBegin = Callable[[str], None]
"""Called with the program's name when its command is about to be sent and no other is under way."""


def _nothing(_name: str) -> None:
    pass


class ProcessManager:
    """Commands for programs, one at a time for each program."""

    def __init__(
        self,
        client: SupervisorClient,
        lock_directory: Path,
        before_start: OnBegin = _nothing,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._locks = lock_directory
        self._before_start = before_start
        self._monotonic = monotonic

    def do(
        self,
        action: Action,
        name: str,
        on_begin: OnBegin = _nothing,
        *,
        acknowledged: bool = True,
    ) -> CommandResult:
        """Start, stop or restart ``name`` and wait until the effect was seen.

        Without ``acknowledged`` no person has asked for it, and the collector's own restart limit
        goes on counting.

        Raises:
            Busy, UnknownProcess, SupervisorUnreachable, SupervisorFault.
        """
        with self._exclusively(name, on_begin):
            began, before = self._monotonic(), self._client.process(name)
            if action == "stop":
                return self._do_stop(name, began, before)
            prepare = self._before_start if acknowledged else _nothing
            method = self._do_start if action == "start" else self._do_restart
            return method(name, began, before, prepare)

    def start(self, name: str, on_begin: OnBegin = _nothing) -> CommandResult:
        """Start ``name`` and wait until its process exists; raises as :meth:`do` does."""
        return self.do("start", name, on_begin)

    def stop(self, name: str, on_begin: OnBegin = _nothing) -> CommandResult:
        """Stop ``name`` and wait until its process is gone; raises as :meth:`do` does."""
        return self.do("stop", name, on_begin)

    def restart(self, name: str, on_begin: OnBegin = _nothing) -> CommandResult:
        """Stop ``name`` if it runs, start it and wait for the new process; raises as above."""
        return self.do("restart", name, on_begin)

    def _do_start(
        self, name: str, began: float, before: ProcessInfo, prepare: OnBegin
    ) -> CommandResult:
        if before.state in (SupervisorState.RUNNING, SupervisorState.STARTING):
            return self._result("start", began, before, before, Outcome.DONE, "already_running")
        if before.state is SupervisorState.BACKOFF:
            # supervisord calls a program that waits for its next try "already started".
            self._stop_and_wait(name, before)
        after = self._start_and_wait(name, prepare)
        return self._started("start", began, before, after)

    def _do_stop(self, name: str, began: float, before: ProcessInfo) -> CommandResult:
        after = self._stop_and_wait(name, before)
        outcome, detail = _stop_outcome(before, after)
        return self._result("stop", began, before, after, outcome, detail)

    def _do_restart(
        self, name: str, began: float, before: ProcessInfo, prepare: OnBegin
    ) -> CommandResult:
        stopped = self._stop_and_wait(name, before)
        if _stop_outcome(before, stopped)[0] is not Outcome.DONE:
            return self._result("restart", began, before, stopped, Outcome.FAILED, "did_not_stop")
        after = self._start_and_wait(name, prepare)
        return self._started("restart", began, before, after)

    def signal(self, name: str, signal_name: str) -> CommandResult:
        """Send ``signal_name`` (``HUP``, say) to the process of ``name``; raises as above.

        What the process makes of it shows in its heartbeat.
        """
        with self._exclusively(name, _nothing):
            began, before = self._monotonic(), self._client.process(name)
            if before.pid is None:
                return self._result("signal", began, before, before, Outcome.FAILED, "not_running")
            self._client.signal(name, signal_name)
            return self._result("signal", began, before, before, Outcome.DONE, "signalled")

    def bulk(
        self, action: Action, names: Sequence[str], on_begin: OnBegin = _nothing
    ) -> list[CommandResult]:
        """Do ``action`` to many programs, a few at a time, and say for each what was seen.

        One that is busy or unknown fails alone.

        Raises:
            SupervisorUnreachable.
        """
        began, before = self._monotonic(), self._client.processes()
        results = {name: refused(name, action, "unknown") for name in names if name not in before}
        with ExitStack() as stack:
            taken: list[str] = []
            for name in dict.fromkeys(names):
                if name in results:
                    continue
                try:
                    stack.enter_context(self._exclusively(name, on_begin))
                except Busy:
                    results[name] = refused(name, action, "busy")
                else:
                    taken.append(name)
            after = before
            if action in ("stop", "restart"):
                after = self._send_in_chunks("stop", taken, _is_down, STOP_DEADLINE_S)
            if action in ("start", "restart"):
                after = self._start_all(taken)
        for name in taken:
            # One that was taken out of service meanwhile is left as it was seen.
            now = after.get(name, before[name])
            results[name] = self._judge(action, began, before[name], now)
        return [results[name] for name in dict.fromkeys(names)]

    def _start_all(self, names: Sequence[str]) -> dict[str, ProcessInfo]:
        infos = self._client.processes()
        waiting = [n for n in names if n in infos and infos[n].state is SupervisorState.BACKOFF]
        if waiting:
            # supervisord calls a program that waits for its next try "already started".
            infos = self._send_in_chunks("stop", waiting, _is_down, STOP_DEADLINE_S)
        down = [name for name in names if name in infos and infos[name].pid is None]
        for name in down:
            self._before_start(name)
        self._send_in_chunks("start", down, _has_process_or_gave_up, START_DEADLINE_S)
        # As for a single one: what cannot work at all ends within a second.
        return self._wait_all(
            down, lambda i: i.pid is None or i.state is SupervisorState.RUNNING, _SURVIVES_S
        )

    def _send_in_chunks(
        self,
        method: Literal["start", "stop"],
        names: Sequence[str],
        arrived: Callable[[ProcessInfo], bool],
        deadline_s: float,
    ) -> dict[str, ProcessInfo]:
        for at in range(0, len(names), _CHUNK):
            self._client.send_each(method, names[at : at + _CHUNK])
        return self._wait_all(names, arrived, deadline_s)

    def _wait_all(
        self, names: Sequence[str], arrived: Callable[[ProcessInfo], bool], deadline_s: float
    ) -> dict[str, ProcessInfo]:
        deadline = self._monotonic() + deadline_s
        while True:
            infos = self._client.processes()
            waiting = any(name in infos and not arrived(infos[name]) for name in names)
            if not waiting or self._monotonic() > deadline:
                return infos
            time.sleep(_POLL_S)

    def _judge(
        self, action: Action, began: float, before: ProcessInfo, after: ProcessInfo
    ) -> CommandResult:
        if action == "stop":
            outcome, detail = _stop_outcome(before, after)
            return self._result(action, began, before, after, outcome, detail)
        if action == "start" and before.pid is not None and before.pid == after.pid:
            return self._result(action, began, before, after, Outcome.DONE, "already_running")
        return self._started(action, began, before, after)

    @contextmanager
    def _exclusively(self, name: str, on_begin: OnBegin) -> Iterator[None]:
        # A file lock, because the panel and the command line are different processes.
        self._locks.mkdir(parents=True, exist_ok=True)
        with (self._locks / f"{name}.command.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(name=name) from None
            on_begin(name)
            yield

    def _start_and_wait(self, name: str, prepare: OnBegin) -> ProcessInfo:
        # A start during STOPPING would answer True and start nothing.
        self._wait(name, lambda i: i.state is not SupervisorState.STOPPING, STOP_DEADLINE_S)
        prepare(name)
        self._client.start(name)
        first = self._wait(name, _has_process_or_gave_up, START_DEADLINE_S)
        # A program that cannot work at all, for want of a usable file say, ends within a second.
        return self._wait(
            name, lambda i: i.pid != first.pid or i.state is SupervisorState.RUNNING, _SURVIVES_S
        )

    def _stop_and_wait(self, name: str, before: ProcessInfo) -> ProcessInfo:
        if before.state is SupervisorState.STARTING:
            self._wait(name, _older_than(_SETTLE_S, self._monotonic), _SETTLE_S * 2)
        if before.state is not SupervisorState.STOPPING:
            self._client.stop(name)
        return self._wait(name, _is_down, STOP_DEADLINE_S)

    def _wait(
        self, name: str, arrived: Callable[[ProcessInfo], bool], deadline_s: float
    ) -> ProcessInfo:
        deadline = self._monotonic() + deadline_s
        while True:
            info = self._client.process(name)
            if arrived(info) or self._monotonic() > deadline:
                return info
            time.sleep(_POLL_S)

    def _started(
        self, action: str, began: float, before: ProcessInfo, after: ProcessInfo
    ) -> CommandResult:
        if after.pid is not None and after.pid != before.pid:
            return self._result(action, began, before, after, Outcome.DONE, "new_process")
        if after.status is ProcessState.CRASHED:
            return self._result(action, began, before, after, Outcome.FAILED, "exited_at_once")
        return self._result(action, began, before, after, Outcome.UNKNOWN, "not_observed")

    def _result(
        self,
        action: str,
        began: float,
        before: ProcessInfo,
        after: ProcessInfo,
        outcome: Outcome,
        detail: str,
    ) -> CommandResult:
        return CommandResult(
            process=before.name,
            action=action,
            outcome=outcome,
            detail=detail,
            duration_ms=round((self._monotonic() - began) * 1000, 1),
            pid_before=before.pid,
            pid_after=after.pid,
        )


def refused(process: str, action: Action, detail: str) -> CommandResult:
    """Return the result of a command that was not even sent."""
    return CommandResult(
        process=process,
        action=action,
        outcome=Outcome.FAILED,
        detail=detail,
        duration_ms=0.0,
        pid_before=None,
        pid_after=None,
    )


def _is_down(info: ProcessInfo) -> bool:
    return info.pid is None and info.state is not SupervisorState.BACKOFF


def _has_process_or_gave_up(info: ProcessInfo) -> bool:
    return info.pid is not None or info.status is ProcessState.CRASHED


def _stop_outcome(before: ProcessInfo, after: ProcessInfo) -> tuple[Outcome, str]:
    if after.pid is None:
        return Outcome.DONE, "stopped" if before.pid else "already_stopped"
    return Outcome.UNKNOWN, "not_observed"


def _older_than(seconds: float, monotonic: Callable[[], float]) -> Callable[[ProcessInfo], bool]:
    deadline = monotonic() + seconds
    return lambda _info: monotonic() >= deadline
