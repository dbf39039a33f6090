"""Follows the plugin's events: deaths within milliseconds, and what others asked supervisord."""

import logging
import pwd
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from control_plane.domain.node import LOCAL_NODE, qualified
from control_plane.errors import ControlPlaneError, SupervisorFault
from control_plane.supervisor.answers import EventBatch
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.transport import Address

log = logging.getLogger(__name__)

_WAIT_S = 20.0
_RETRY_S = 1.0
_WITHOUT_PLUGIN_S = 10.0
_ACTIONS = {
    "supervisor.startProcess": "start",
    "supervisor.stopProcess": "stop",
    "supervisor.startProcessGroup": "start",
    "supervisor.stopProcessGroup": "stop",
    "supervisor.startAllProcesses": "start",
    "supervisor.stopAllProcesses": "stop",
    # The last step of `supervisorctl update`: the program runs again.
    "supervisor.addProcessGroup": "start",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCall:
    """A call that somebody else made, with supervisorctl say.

    Attributes:
        action: ``start``, ``stop``, or the method's own name.
        target: The program's qualified name, or ``all``.
        actor: ``uid:NAME`` of the peer on the unix socket, ``address:IP`` of one over TCP.
        command: Its command line.
        agent: What a peer over TCP calls itself.
    """

    at: datetime
    action: str
    target: str
    actor: str
    command: str
    agent: str = ""


class EventStream:
    """One thread that waits for events; a lost connection or plugin is tried again for ever."""

    def __init__(
        self,
        address: Address,
        on_change: Callable[[], None],
        on_foreign_call: Callable[[ForeignCall], None],
        node: str = LOCAL_NODE,
    ) -> None:
        self._client = SupervisorClient(address, timeout_s=_WAIT_S + 5.0, node=node)
        self._node = node
        self._on_change = on_change
        self._on_foreign_call = on_foreign_call
        self._stopping = threading.Event()
        self._boot = ""
        self._sequence = 0
        self._thread = threading.Thread(target=self._run, name=f"events-{node}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. It may wait for supervisord meanwhile, so it is not joined."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                batch = self._client.plugin.wait_events(self._boot, self._sequence, _WAIT_S)
            except SupervisorFault:
                self._stopping.wait(_WITHOUT_PLUGIN_S)
            except ControlPlaneError:
                self._stopping.wait(_RETRY_S)
            except Exception:
                # This thread must not end: it is the only one that hears of others' commands.
                log.exception("events cannot be read")
                self._stopping.wait(_RETRY_S)
            else:
                if not self._stopping.is_set():
                    self._take(batch)
        self._client.close()

    def _take(self, batch: EventBatch) -> None:
        self._boot, self._sequence = batch.boot, batch.sequence
        # Noted first: the look that follows asks whether a new process was wanted.
        for event in batch.events:
            if event["type"] == "rpc":
                try:
                    self._on_foreign_call(_foreign_call(event, self._node))
                except Exception:
                    log.exception("a call of somebody else could not be noted")
        if batch.events or batch.gap:
            self._on_change()


def _foreign_call(event: dict[str, Any], node: str) -> ForeignCall:
    method, params = str(event["method"]), event["params"]
    named = "All" not in method
    return ForeignCall(
        at=datetime.fromtimestamp(event["at"], UTC),
        action=_ACTIONS.get(method, method),
        # A group's member is GROUP:NAME; our groups hold one program of the same name.
        target=qualified(str(params[0]).split(":")[0] if named and params else "all", node),
        actor=_actor(event),
        command=str(event.get("command", "")),
        agent=str(event.get("agent", "")),
    )


def _actor(event: dict[str, Any]) -> str:
    if "uid" not in event:
        return f"address:{event.get('peer', '?')}"
    try:
        return f"uid:{pwd.getpwuid(event['uid']).pw_name}"
    except KeyError:
        return f"uid:{event['uid']}"
