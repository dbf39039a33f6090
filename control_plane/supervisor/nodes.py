"""The machines of this installation: which there are, and who commands programs there."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from collectors.contract.config_problems import ConfigProblem
from control_plane.domain.node import LOCAL_NODE, program_and_node
from control_plane.errors import SupervisorFault, SupervisorUnreachable, UnknownNode
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.node_file import read_node_file
from control_plane.supervisor.process_manager import (
    Action,
    CommandResult,
    OnBegin,
    ProcessManager,
    refused,
)
from control_plane.supervisor.transport import Address, UnixAddress

_AT_ONCE = 20
"""Nodes that a bulk command talks to at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine, with a connection for commands of its own."""

    name: str
    address: Address
    client: SupervisorClient
    manager: ProcessManager


class Nodes:
    """This machine and those of the node file, which may change at any time. Thread-safe."""

    def __init__(
        self,
        local: UnixAddress,
        file: Path,
        agent: str,
        lock_directory: Path,
        before_local_start: OnBegin,
    ) -> None:
        self._file = file
        self.agent = agent
        """Names this installation to other machines."""
        self._lock_directory = lock_directory
        self._guard = threading.Lock()
        self._problems: tuple[ConfigProblem, ...] = ()
        self.local = self._node(LOCAL_NODE, local, before_local_start)
        self._remote: dict[str, Node] = {}
        self.refresh()

    def remote(self) -> Mapping[str, Node]:
        """Return the other machines by name."""
        return dict(self._remote)

    @property
    def file(self) -> Path:
        return self._file

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        """What is wrong in the node file."""
        return self._problems

    def of(self, name: str) -> Node:
        """Return the node of a program's qualified name, or the node of this name itself.

        Raises:
            UnknownNode: the node file has none of this name.
        """
        node = program_and_node(name)[1]
        if node == LOCAL_NODE:
            return self.local
        found = self._remote.get(node)
        if found is None:
            raise UnknownNode(name=node, file=str(self._file))
        return found

    def refresh(self) -> None:
        """Read the node file again; whoever is in it as before is left alone.

        While nothing in it is usable, the nodes stay as they were.
        """
        with self._guard:
            found = read_node_file(self._file, self.agent)
            before, self._problems = self._remote, found.problems
            if found.problems and not found.addresses:
                return
            self._remote = {
                name: kept
                if (kept := before.get(name)) and kept.address == address
                else self._node(name, address, None)
                for name, address in found.addresses.items()
            }
            for name, node in before.items():
                if self._remote.get(name) is not node:
                    node.client.close()

    def bulk(self, action: Action, names: Sequence[str], on_begin: OnBegin) -> list[CommandResult]:
        """Do ``action`` on all nodes at once; one that does not answer fails for its own programs.

        See :meth:`ProcessManager.bulk`.
        """
        shares: dict[str, list[str]] = {}
        for name in names:
            shares.setdefault(program_and_node(name)[1], []).append(name)

        def do(share: list[str]) -> list[CommandResult]:
            try:
                return self.of(share[0]).manager.bulk(action, share, on_begin)
            except UnknownNode:
                return [refused(name, action, "unknown") for name in share]
            except SupervisorUnreachable:
                if program_and_node(share[0])[1] == LOCAL_NODE:
                    raise
                return [refused(name, action, "unreachable") for name in share]

        if not shares:
            return []
        with ThreadPoolExecutor(min(len(shares), _AT_ONCE), "bulk") as pool:
            results = [result for found in pool.map(do, shares.values()) for result in found]
        by_name = {result.process: result for result in results}
        return [by_name[name] for name in dict.fromkeys(names)]

    def close(self) -> None:
        for node in (self.local, *self._remote.values()):
            node.client.close()

    def _node(self, name: str, address: Address, before_start: OnBegin | None) -> Node:
        client = SupervisorClient(address, node=name)
        manager = ProcessManager(
            client, self._lock_directory, before_start or _forget_crashes(client)
        )
        return Node(name=name, address=address, client=client, manager=manager)


def _forget_crashes(client: SupervisorClient) -> Callable[[str], None]:
    """Whoever starts a collector has seen that it crashed: its own limit counts anew."""

    def forget(name: str) -> None:
        with contextlib.suppress(SupervisorFault):  # Without the plugin its limit stays.
            client.plugin.forget_crashes(name)

    return forget
