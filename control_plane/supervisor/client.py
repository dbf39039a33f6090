"""Typed XML-RPC client for one supervisord; the only place that knows faults."""

import http.client
import json
import threading
import xmlrpc.client
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal
from xml.parsers.expat import ExpatError

from supervisor.xmlrpc import Faults

from control_plane.domain.node import LOCAL_NODE, program_and_node, qualified
from control_plane.domain.process import ProcessInfo
from control_plane.errors import (
    NodeUnreachable,
    SupervisorFault,
    SupervisorUnreachable,
    UnknownProcess,
)
from control_plane.supervisor.answers import Reread, process_info, snapshot_info
from control_plane.supervisor.plugin_calls import PluginCalls
from control_plane.supervisor.transport import Address, SupervisorTransport

_NOT_NEEDED = {Faults.ALREADY_STARTED, Faults.NOT_RUNNING}
"""The wanted state already holds."""


_QUESTIONS = ("get", "list", "read", "wait")


class SupervisorClient:
    """One locked keep-alive connection to a node's supervisord; may be used from any thread.

    Every call answers within ``timeout_s`` or raises :class:`SupervisorUnreachable`. A broken
    connection is rebuilt at the next call; no command is sent twice. Programs go by their
    qualified names here, in both directions (:func:`control_plane.domain.node.qualified`).
    """

    def __init__(self, address: Address, timeout_s: float = 5.0, node: str = LOCAL_NODE) -> None:
        self._address = address
        self._node = node
        self._transport = SupervisorTransport(address, timeout_s)
        self._proxy = xmlrpc.client.ServerProxy("http://localhost", transport=self._transport)
        self._lock = threading.Lock()
        self._plugin_answers: bool | None = None
        self.plugin = PluginCalls(self._call, node)

    def version(self) -> str:
        """Return supervisord's version."""
        return str(self._call("supervisor.getSupervisorVersion"))

    def pid(self) -> int:
        """Return supervisord's process id."""
        return int(self._call("supervisor.getPID"))

    def has_plugin(self) -> bool:
        """Return whether supervisord runs with our plugin."""
        if self._plugin_answers is None:
            self._plugin_answers = "daq.getVersion" in self._call("system.listMethods")
        return self._plugin_answers

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
                found = [snapshot_info(raw) for raw in snapshot["processes"]]
                return self._by_name(found)
        return self._by_name(map(process_info, self._call("supervisor.getAllProcessInfo")))

    def process(self, name: str) -> ProcessInfo:
        """Return one program.

        Raises:
            UnknownProcess: supervisord has no program of this name.
        """
        info = process_info(self._call("supervisor.getProcessInfo", _program(name)))
        return replace(info, name=name)

    def start(self, name: str) -> None:
        """Ask for a start and return at once; that it is running must be observed.

        Raises:
            UnknownProcess, SupervisorFault: the latter also when the program file is missing.
        """
        self._call("supervisor.startProcess", _program(name), False)

    def stop(self, name: str) -> None:
        """Ask for a stop and return at once."""
        self._call("supervisor.stopProcess", _program(name), False)

    def signal(self, name: str, signal_name: str) -> None:
        """Send a signal such as ``HUP`` to the program's process."""
        self._call("supervisor.signalProcess", _program(name), signal_name)

    def send_stdin(self, name: str, text: str) -> None:
        """Write to the standard input of the program's process.

        Raises:
            UnknownProcess, SupervisorFault: the latter if the process reads none.
        """
        self._call("supervisor.sendProcessStdin", _program(name), text)

    def send_each(self, method: Literal["start", "stop"], names: Sequence[str]) -> None:
        """Ask for the start or stop of several programs in one request; refusals are not errors.

        Whether each one follows must be observed. A few at a time: supervisord forks them all in
        one turn of its loop and answers nobody meanwhile.
        """
        calls = [
            {"methodName": f"supervisor.{method}Process", "params": [_program(name), False]}
            for name in names
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
        self._call("supervisor.addProcessGroup", _program(name))

    def remove_program(self, name: str) -> None:
        """Take a stopped program out of service.

        Raises:
            SupervisorFault: it still runs.
        """
        self._call("supervisor.removeProcessGroup", _program(name))

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
                return self._translate_fault(fault, args)
            except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as exc:
                # A kept connection that broke once would fail for ever with CannotSendRequest,
                # and the supervisord that comes back may be another one.
                self._transport.close()
                self._plugin_answers = None
                raise self._unreachable(exc) from exc

    def _unreachable(self, exc: Exception) -> SupervisorUnreachable:
        why = {"address": self._address.label, "reason": _reason(exc)}
        if self._node == LOCAL_NODE:
            return SupervisorUnreachable(**why)
        return NodeUnreachable(node=self._node, **why)

    def _translate_fault(self, fault: xmlrpc.client.Fault, args: Sequence[object]) -> None:
        if fault.faultCode in _NOT_NEEDED:
            return
        if fault.faultCode == Faults.BAD_NAME:
            raise UnknownProcess(name=qualified(str(args[0]), self._node) if args else "")
        raise SupervisorFault(reason=fault.faultString, fault_code=fault.faultCode)

    def _by_name(self, infos: Iterable[ProcessInfo]) -> dict[str, ProcessInfo]:
        names = ((qualified(info.name, self._node), info) for info in infos)
        return {name: replace(info, name=name) for name, info in names}


def _program(name: str) -> str:
    return program_and_node(name)[0]


def _reason(exc: Exception) -> str:
    if isinstance(exc, xmlrpc.client.ProtocolError):
        return f"HTTP {exc.errcode} {exc.errmsg}"
    return str(exc) or type(exc).__name__
