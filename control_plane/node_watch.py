"""Looks at other machines, each in a thread of its own: none makes the others wait."""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from control_plane.clock import Clock
from control_plane.domain.node import Tier, program_and_node
from control_plane.domain.observation import CollectorFile, Round
from control_plane.domain.process import ProcessInfo
from control_plane.errors import StorageError
from control_plane.logs.known_secrets import KnownSecrets
from control_plane.logs.reader import RedactedLog, RemoteLog
from control_plane.observer import ObservedNode, Observer
from control_plane.program_logs import read_through
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.event_stream import EventStream, ForeignCall
from control_plane.supervisor.nodes import Node, Nodes
from control_plane.supervisor.program_files import may_be_collector
from control_plane.telemetry.remote import RemoteTelemetry

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 2.0
"""A supervisord that is frozen is to be seen within three seconds."""
_LOOK_EVERY_S = 0.8
_STALE_S = 2.8
_REREAD_EVERY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an observer of another machine needs of the rest of the control plane."""

    clock: Clock
    stopped_by_operators: Callable[[], set[str]]
    known_processes: Callable[[], set[str]]
    secrets: KnownSecrets


class NodeWatches:
    """One watch for each machine of the node file; follows changes of that file."""

    def __init__(
        self,
        nodes: Nodes,
        context: Context,
        on_change: Callable[[], None],
        on_foreign_call: Callable[[ForeignCall], None],
    ) -> None:
        self._nodes = nodes
        self._context = context
        self._on_change = on_change
        self._on_foreign_call = on_foreign_call
        self._watches: dict[str, _Watch] = {}
        self._reread_mono = -math.inf

    def rounds(self) -> list[Round]:
        """Return the newest look at each node at once; owned by one thread."""
        if self._context.clock.monotonic() - self._reread_mono >= _REREAD_EVERY_S:
            self._reread_mono = self._context.clock.monotonic()
            self._nodes.refresh()
            self._follow(self._nodes.remote())
        return [watch.newest() for watch in self._watches.values()]

    def stop(self) -> None:
        """End all watches; their threads may still wait for an answer meanwhile."""
        self._follow({})

    def _follow(self, nodes: Mapping[str, Node]) -> None:
        for name, watch in list(self._watches.items()):
            if nodes.get(name) is not watch.node:
                watch.stop()
                del self._watches[name]
        for name, node in nodes.items():
            if name not in self._watches:
                watch = _Watch(node, self._context, self._on_change, self._on_foreign_call)
                self._watches[name] = watch
                watch.start()


class _Watch:
    def __init__(
        self,
        node: Node,
        context: Context,
        on_change: Callable[[], None],
        on_foreign_call: Callable[[ForeignCall], None],
    ) -> None:
        self.node = node
        self._clock = context.clock
        self._on_change = on_change
        self._client = SupervisorClient(node.address, LOOK_TIMEOUT_S, node.name)
        self._observer = observer_of(node, self._client, context)
        self._newest = self._observer.before_first_look()
        self._looked_mono = context.clock.monotonic()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"node-{node.name}", daemon=True)
        self._events = EventStream(node.address, self._wake.set, on_foreign_call, node=node.name)

    def start(self) -> None:
        self._thread.start()
        self._events.start()

    def stop(self) -> None:
        self._stopping = True
        self._events.stop()
        self._wake.set()

    def newest(self) -> Round:
        """Return the newest look; one that is too old says nothing any more."""
        newest, silent_s = self._newest, self._clock.monotonic() - self._looked_mono
        if silent_s <= _STALE_S or not newest.node.reachable:
            return newest
        self._newest = newest.gone_blind(self._clock.now(), f"no answer for {silent_s:.0f} s")
        return self._newest

    def _run(self) -> None:
        failing = False
        while not self._stopping:
            self._wake.clear()
            try:
                self._newest = self._observer.look()
                self._looked_mono = self._clock.monotonic()
                failing = False
            except Exception:
                # The node goes stale, which people see; the next look must happen.
                if not failing:
                    log.exception("node cannot be looked at", extra={"node": self.node.name})
                failing = True
            self._on_change()
            self._wake.wait(_LOOK_EVERY_S)
        self._client.close()


def observer_of(node: Node, client: SupervisorClient, context: Context) -> Observer:
    """Return an observer of another machine, which asks all it wants to know by ``client``."""
    telemetry = RemoteTelemetry(
        lambda: client.plugin.stats() if client.has_plugin() else None, context.clock.monotonic
    )

    def log_of(name: str) -> RedactedLog:
        read = read_through(client, name)
        log = RemoteLog(
            lambda inode, offset, limit_bytes: (
                telemetry.unchanged(name, inode, offset) or read(inode, offset, limit_bytes)
            )
        )
        return RedactedLog(log, context.secrets.redactor)

    return Observer(
        ObservedNode(
            name=node.name,
            address=node.address.label,
            stock_tier=Tier.POLL,
            client=client,
            telemetry=telemetry,
            list_collectors=_RemoteCollectors(node.name, context.known_processes).all,
            log_of=log_of,
        ),
        context.stopped_by_operators,
        context.clock,
    )


class _RemoteCollectors:
    """The collectors of a node, also while it does not answer."""

    def __init__(self, node: str, known_processes: Callable[[], set[str]]) -> None:
        self._node = node
        self._known_processes = known_processes
        self._names: set[str] | None = None

    def all(self, infos: Mapping[str, ProcessInfo] | None) -> Mapping[str, CollectorFile]:
        if infos is not None:
            self._names = {name for name in infos if may_be_collector(program_and_node(name)[0])}
        elif self._names is None:
            # Without a database they stay unknown until the node answers.
            with contextlib.suppress(StorageError):
                known = self._known_processes()
                self._names = {name for name in known if program_and_node(name)[1] == self._node}
        return {name: _file(name) for name in sorted(self._names or ())}


def _file(name: str) -> CollectorFile:
    return CollectorFile(
        name=name, path=None, config=None, protocol=None, problems=(), revision=None
    )
