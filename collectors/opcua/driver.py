"""Reads one OPC UA server, by polling or by subscriptions."""

from collections.abc import Mapping
from pathlib import Path

from collectors.contract.columns import Columns
from collectors.contract.config_opcua import OpcUaDevice
from collectors.contract.points import Sample, Value
from collectors.opcua.nodes import nodes_of
from collectors.opcua.polling import PolledGroup
from collectors.opcua.security import Security
from collectors.opcua.session import Session
from collectors.runtime.driver import ConnectionLost, OnLost, Traffic, WriteFailed


class OpcUaDriver:
    """The driver of ``opcua``; see :class:`collectors.runtime.driver.Driver`."""

    def __init__(self, device: OpcUaDevice, traffic: Traffic, on_lost: OnLost, home: Path) -> None:
        self._device = device
        self._traffic = traffic
        self._on_lost = on_lost
        self._security = Security(device, home, traffic)
        self._session: Session | None = None
        self._groups: Mapping[str, PolledGroup] = {}

    async def connect(self) -> None:
        session = self._session = Session(self._device, self._security, self._on_lost)
        await session.open()
        self._make_groups(session)

    async def read(self, group_id: str) -> Columns:
        if self._session is None:
            raise ConnectionLost("not connected")
        return await self._groups[group_id].read()

    async def write(self, point_name: str, value: Value) -> Sample:  # noqa: ARG002 - reads only
        raise WriteFailed("not_supported")

    def adopt(self, device: OpcUaDevice) -> bool:
        parts = {"groups": device.groups, "points": device.points}
        if self._device.model_copy(update=parts) != device:
            return False
        self._device = device
        if self._session is not None:
            self._make_groups(self._session)
        return True

    def forget(self) -> None:
        for group in self._groups.values():
            group.start_over()

    async def close(self) -> None:
        session, self._session = self._session, None
        self._groups = {}
        if session is not None:
            await session.close()

    def _make_groups(self, session: Session) -> None:
        self._groups = {
            group_id: PolledGroup(nodes, session, self._traffic)
            for group_id, nodes in nodes_of(self._device, session.namespaces).items()
        }


create = OpcUaDriver
