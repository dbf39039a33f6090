"""Remembers what happened inside supervisord: state changes, exact exits, and every RPC."""

import contextlib
import os
import secrets
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAX_EVENTS = 5000
MAX_RPCS = 1000
_MAX_EXITS = 2000
_MAX_TEXT = 200
_MAX_PARAMS = 8

Event = dict[str, Any]

# These only look; everything else changes something.
_LOOKS = ("get", "read", "tail", "list", "method")


class Recorder:
    """Bounded memory with a sequence number; kept across supervisord's own restart."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(8)
        """Another one means: the numbers start anew, take a snapshot."""
        self.sequence = 0
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.rpcs: deque[Event] = deque(maxlen=MAX_RPCS)
        self.on_event: Callable[[], None] = lambda: None
        self._exits: dict[int, Event] = {}
        self._exit_of: dict[str, Event] = {}

    def note(self, kind: str, **facts: object) -> None:
        """Append an event and wake whoever waits for one."""
        self.sequence += 1
        self.events.append({"seq": self.sequence, "at": time.time(), "type": kind, **facts})
        self.on_event()

    def since(self, sequence: int) -> tuple[list[Event], bool]:
        """Return the events after ``sequence``, and whether some of them are lost."""
        if sequence >= self.sequence:
            return [], sequence > self.sequence
        lost = not self.events or self.events[0]["seq"] > sequence + 1
        return [event for event in self.events if event["seq"] > sequence], lost

    def exit_of(self, process: str) -> Event | None:
        """Return how the newest process of a program ended, or ``None`` if none has."""
        return self._exit_of.get(process)

    # Callbacks of supervisord.

    def process_state_changed(self, event: Any) -> None:
        with contextlib.suppress(Exception):
            process = event.process
            name = process.config.name
            found = self._exits.pop(process.pid, None)
            if found is not None:
                self._exit_of[name] = {**found, "uptime_s": time.time() - process.laststart}
            self.note(
                "state",
                name=name,
                state=type(event)
                .__name__.removeprefix("ProcessState")
                .removesuffix("Event")
                .upper(),
                pid=process.pid or None,
                exit=self._exit_of.get(name) if found is not None else None,
            )

    def other_event(self, event: Any) -> None:
        with contextlib.suppress(Exception):
            kind = type(event).__name__.removesuffix("Event")
            self.note("supervisor", event=kind, name=getattr(event, "group", None))

    def child_reaped(self, pid: int, status: int) -> None:
        """Take what waitpid(2) said; stock supervisord keeps only part of it."""
        if len(self._exits) >= _MAX_EXITS:
            self._exits.clear()
        self._exits[pid] = describe_exit(pid, status)

    def rpc_called(self, method: str, params: Sequence[object] | None, request: Any) -> None:
        if method.startswith("daq."):
            return
        call = {
            "at": time.time(),
            "method": method[:_MAX_TEXT],
            "params": [str(each)[:_MAX_TEXT] for each in params or ()][:_MAX_PARAMS],
            **peer_of(request),
        }
        self.rpcs.append(call)
        if not method.partition(".")[2].startswith(_LOOKS) and method != "system.multicall":
            self.note("rpc", **call)


def describe_exit(pid: int, status: int) -> Event:
    """Return code or signal, and whether a core was dumped."""
    exited = os.WIFEXITED(status)
    number = None if exited else os.WTERMSIG(status)
    name = None
    if number is not None:
        with contextlib.suppress(ValueError):
            name = signal.Signals(number).name
    return {
        "pid": pid,
        "code": os.WEXITSTATUS(status) if exited else None,
        "signal": name or number,
        "core": not exited and os.WCOREDUMP(status),
    }


def peer_of(request: Any) -> Mapping[str, object]:
    """Return who asks: pid, uid and command (SO_PEERCRED), or address and program."""
    with contextlib.suppress(Exception):
        connection = request.channel.socket
        if connection.family != socket.AF_UNIX:
            agent = str(request.get_header("User-Agent") or "")[:_MAX_TEXT]
            return {"peer": str(request.channel.addr[0]), "agent": agent}
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", raw)
        return {"pid": pid, "uid": uid, "command": _command_of(pid)}
    return {}


def _command_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - one object fewer here
            text = file.read(1024).replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
    return text.strip()[:_MAX_TEXT]
