"""Reads one OPC UA server, by polling or by subscriptions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from collectors.contract.columns import Columns
from collectors.contract.config_opcua import OpcUaDevice, OpcUaGroup
from collectors.contract.points import Sample, Value
from collectors.opcua.nodes import Variable, index_of, node_of, variables_of
from collectors.opcua.polling import PolledGroup
from collectors.opcua.publishing import Publisher
from collectors.opcua.security import Security
from collectors.opcua.session import Session
from collectors.opcua.subscription import SubscribedGroup
from collectors.opcua.values import joined
from collectors.opcua.writing import write
from collectors.runtime.driver import ConnectionLost, OnLost, Traffic

_Plan = tuple[OpcUaGroup, list[Variable]]


class OpcUaDriver:
    """The driver of ``opcua``; see :class:`collectors.runtime.driver.Driver`."""

    def __init__(self, device: OpcUaDevice, traffic: Traffic, on_lost: OnLost, home: Path) -> None:
        self._traffic = traffic
        self._on_lost = on_lost
        self._security = Security(device, home, traffic)
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._groups: dict[str, PolledGroup | SubscribedGroup] = {}
        self._retired: list[PolledGroup | SubscribedGroup] = []
        """Replaced by a reload; their subscriptions are still at the server."""
        self._leftovers: dict[str, Columns] = {}
        """What had come when a session broke; it is told with the next reading."""
        self._namespace_at: dict[int, str] = {}
        """Of the indices in the file, as the server had them first."""
        self._set_device(device)

    async def connect(self) -> None:
        session = self._session = Session(self._device, self._security, self._on_lost)
        await session.open()
        self._check_namespaces(session.namespaces)
        self._publisher = Publisher(session, self._traffic)
        self._groups = {group_id: self._make(group_id) for group_id in self._plans}

    async def read(self, group_id: str) -> Columns:
        if self._session is None:
            raise ConnectionLost("not connected")
        while self._retired:
            await self._retired.pop().drop()
        columns = await self._groups[group_id].read()
        before = self._leftovers.pop(group_id, None)
        return columns if before is None else joined([before, columns])

    async def write(self, point_name: str, value: Value) -> Sample:
        if self._session is None:
            raise ConnectionLost("not connected")
        return await write(self._session, self._writable[point_name], value)

    def adopt(self, device: OpcUaDevice) -> bool:
        if _connection_of(device) != self._device:
            return False
        before = self._plans
        self._set_device(device)
        if self._session is not None:
            self._check_namespaces(self._session.namespaces)
        for group_id in before.keys() | self._plans.keys():
            if before.get(group_id) == self._plans.get(group_id):
                continue
            self._leftovers.pop(group_id, None)  # some of its points may be gone
            if group_id in self._groups:
                self._retired.append(self._groups.pop(group_id))
            if group_id in self._plans and self._publisher is not None:
                self._groups[group_id] = self._make(group_id)
        return True

    def forget(self) -> None:
        for group in self._groups.values():
            group.start_over()

    async def close(self) -> None:
        session, self._session = self._session, None
        for group_id, group in self._groups.items():
            if isinstance(group, SubscribedGroup) and (left := group.leftover()):
                before = self._leftovers.get(group_id)
                self._leftovers[group_id] = left if before is None else joined([before, left])
        self._groups.clear()
        self._retired.clear()
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        if session is not None:
            await session.close()

    def _set_device(self, device: OpcUaDevice) -> None:
        groups = {group.id: group for group in device.groups}
        mode_of = device.mode_of
        self._plans: dict[str, _Plan] = {
            group_id: (replace(groups[group_id], mode=mode_of(groups[group_id])), of)
            for group_id, of in variables_of(device).items()
        }
        writable = {f"{device.id}/{p.name}": p.name for p in device.points if p.writable}
        self._writable = {
            writable[variable.point]: variable
            for _, variables in self._plans.values()
            for variable in variables
            if variable.point in writable
        }
        # Thousands of points cost megabytes, and all that is needed of them is in the plans.
        self._device = _connection_of(device)

    def _check_namespaces(self, found: Sequence[str]) -> None:
        """Refuse a server that has given an index in the file to another namespace.

        The same identifier may be another variable there, and its values would be good.
        """
        addresses = (variable.address for _, of in self._plans.values() for variable in of)
        for index in sorted(set(map(index_of, addresses))):
            if 0 < index < len(found):
                first = self._namespace_at.setdefault(index, found[index])
                if first != found[index]:
                    raise ConnectionLost(
                        f"namespace {index} was {first} and is {found[index]} now: write"
                        f" nsu=…; instead of ns={index};, or restart the collector"
                    )

    def _make(self, group_id: str) -> PolledGroup | SubscribedGroup:
        assert self._session is not None
        assert self._publisher is not None
        group, variables = self._plans[group_id]
        nodes = [node_of(variable, self._session.namespaces) for variable in variables]
        if group.mode == "poll":
            return PolledGroup(nodes, self._session, self._traffic)
        return SubscribedGroup(group, nodes, self._session, self._publisher, self._traffic)


def _connection_of(device: OpcUaDevice) -> OpcUaDevice:
    """Return what decides on the connection."""
    return replace(device, groups=(), points=())


create = OpcUaDriver
