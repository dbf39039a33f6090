"""Typed XML-RPC client for supervisord over its unix socket; the only place that knows faults."""

import http.client
import json
import socket
import threading
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from xml.parsers.expat import ExpatError

from supervisor.xmlrpc import Faults

from control_plane.domain.process import ExitReason, ProcessInfo, SupervisorState
from control_plane.errors import SupervisorFault, SupervisorUnreachable, UnknownProcess

_NOT_NEEDED = {Faults.ALREADY_STARTED, Faults.NOT_RUNNING}
"""The wanted state already holds."""


_QUESTIONS = ("get", "list", "read", "wait")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s
        self.may_resend = False

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Send once; the base class sends again when a kept connection turns out to be closed."""
        if self.may_resend:
            return super().request(*args, **kwargs)
        return self.single_request(*args, **kwargs)

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._connection is None or self._connection[0] != host:
            self._connection = host, _UnixConnection(self._path, self._timeout_s)
        return self._connection[1]  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """Events of the plugin in order; after a ``gap`` only a fresh look tells the truth."""

    boot: str
    sequence: int
    gap: bool
    events: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """What differs between the program files and what supervisord runs."""

    added: set[str]
    changed: set[str]
    removed: set[str]


class SupervisorClient:
    """One locked keep-alive connection; may be used from any thread.

    Every call answers within ``timeout_s`` or raises :class:`SupervisorUnreachable`. A broken
    connection is rebuilt at the next call; no command is sent twice.
    """

    def __init__(self, socket_path: Path, timeout_s: float = 5.0) -> None:
        self._path = socket_path
        self._transport = _UnixTransport(socket_path, timeout_s)
        self._proxy = xmlrpc.client.ServerProxy("http://localhost", transport=self._transport)
        self._lock = threading.Lock()
        self._plugin_answers: bool | None = None

    def version(self) -> str:
        """Return supervisord's version."""
        return str(self._call("supervisor.getSupervisorVersion"))

    def pid(self) -> int:
        """Return supervisord's process id."""
        return int(self._call("supervisor.getPID"))

    def has_plugin(self) -> bool:
        """Return whether supervisord runs with our plugin."""
        return "daq.getVersion" in self._call("system.listMethods")

    def processes(self) -> dict[str, ProcessInfo]:
        """Return every program by name; with exact exits and cheaply where the plugin runs."""
        if self._plugin_answers is not False:
            try:
                snapshot = json.loads(self._call("daq.getSnapshot"))
            except SupervisorFault as exc:
                if exc.params["fault_code"] != Faults.UNKNOWN_METHOD:
                    raise
                self._plugin_answers = False
            else:
                self._plugin_answers = True
                return {raw["name"]: _snapshot_info(raw) for raw in snapshot["processes"]}
        return {i.name: i for i in map(_process_info, self._call("supervisor.getAllProcessInfo"))}

    def wait_events(self, boot: str, since: int, timeout_s: float) -> EventBatch:
        """Return what happened after event ``since``, waiting up to ``timeout_s`` for the first.

        The client's own time-out must be longer.

        Raises:
            SupervisorFault: supervisord runs without the plugin.
        """
        raw = json.loads(self._call("daq.waitEvents", boot, since, timeout_s))
        return EventBatch(
            boot=raw["boot"], sequence=raw["seq"], gap=raw["gap"], events=tuple(raw["events"])
        )

    def process(self, name: str) -> ProcessInfo:
        """Return one program.

        Raises:
            UnknownProcess: supervisord has no program of this name.
        """
        return _process_info(self._call("supervisor.getProcessInfo", name))

    def start(self, name: str) -> None:
        """Ask for a start and return at once; that it is running must be observed.

        Raises:
            UnknownProcess, SupervisorFault: the latter also when the program file is missing.
        """
        self._call("supervisor.startProcess", name, False)

    def stop(self, name: str) -> None:
        """Ask for a stop and return at once."""
        self._call("supervisor.stopProcess", name, False)

    def signal(self, name: str, signal_name: str) -> None:
        """Send a signal such as ``HUP`` to the program's process."""
        self._call("supervisor.signalProcess", name, signal_name)

    def send_each(self, method: Literal["start", "stop"], names: Sequence[str]) -> None:
        """Ask for the start or stop of several programs in one request; refusals are not errors.

        Whether each one follows must be observed. A few at a time: supervisord forks them all in
        one turn of its loop and answers nobody meanwhile.
        """
        calls = [
            {"methodName": f"supervisor.{method}Process", "params": [name, False]} for name in names
        ]
        self._call("system.multicall", calls)

    def reread(self) -> Reread:
        """Read the program files again; nothing is started or stopped by that.

        Raises:
            SupervisorFault: a file is refused; what runs is as before.
        """
        ((added, changed, removed),) = self._call("supervisor.reloadConfig")
        return Reread(added=set(added), changed=set(changed), removed=set(removed))

    def add_program(self, name: str) -> None:
        """Take a program into service that :meth:`reread` found; starts it if it starts by itself.

        Raises:
            SupervisorFault, UnknownProcess.
        """
        self._call("supervisor.addProcessGroup", name)

    def remove_program(self, name: str) -> None:
        """Take a stopped program out of service.

        Raises:
            SupervisorFault: it still runs.
        """
        self._call("supervisor.removeProcessGroup", name)

    def close(self) -> None:
        with self._lock:
            self._transport.close()

    def _call(self, method: str, *args: object) -> Any:
        with self._lock:
            try:
                # Only a question may be asked twice: a command might be done twice.
                self._transport.may_resend = method.partition(".")[2].startswith(_QUESTIONS)
                function: Any = self._proxy
                for part in method.split("."):
                    function = getattr(function, part)
                return function(*args)
            except xmlrpc.client.Fault as fault:
                return _translate_fault(fault, args)
            except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as exc:
                # A kept connection that broke once would fail for ever with CannotSendRequest,
                # and the supervisord that comes back may be another one.
                self._transport.close()
                self._plugin_answers = None
                raise SupervisorUnreachable(
                    socket=str(self._path), reason=str(exc) or type(exc).__name__
                ) from exc


def _translate_fault(fault: xmlrpc.client.Fault, args: Sequence[object]) -> None:
    if fault.faultCode in _NOT_NEEDED:
        return
    if fault.faultCode == Faults.BAD_NAME:
        raise UnknownProcess(name=str(args[0]) if args else "")
    raise SupervisorFault(reason=fault.faultString, fault_code=fault.faultCode)


def _process_info(raw: dict[str, Any]) -> ProcessInfo:
    return ProcessInfo(
        name=raw["name"],
        state=SupervisorState(raw["statename"]),
        pid=raw["pid"] or None,
        started_at=_time(raw["start"]),
        stopped_at=_time(raw["stop"]),
        exit_status=raw["exitstatus"],
        spawn_error=raw["spawnerr"],
    )


def _snapshot_info(raw: dict[str, Any]) -> ProcessInfo:
    left = raw["exit"]
    return ProcessInfo(
        name=raw["name"],
        state=SupervisorState(raw["state"]),
        pid=raw["pid"],
        started_at=_time(raw["start"]),
        stopped_at=_time(raw["stop"]),
        exit_status=raw["exit_status"],
        spawn_error=raw["spawn_error"],
        last_exit=left
        and ExitReason(
            pid=left["pid"],
            code=left["code"],
            signal=None if left["signal"] is None else str(left["signal"]),
            core_dumped=left["core"],
            uptime_s=left["uptime_s"],
        ),
    )


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
