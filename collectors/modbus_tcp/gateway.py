"""The connections to one host and port, shared by all units behind it.

Requests take turns, first come first served, so no unit can crowd out another. Of two or more
connections the last one is kept for units that were silent a moment ago: waiting for one of them
then delays only others like it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from collectors.contract.config_modbus import ModbusDevice
from collectors.modbus_tcp.link import Endpoint, ModbusLink
from collectors.runtime.driver import ConnectionLost, NoAnswer, OnLost

_SILENCES_ALLOWED: Final = 3
"""Requests in a row to whichever units; then it is the gateway that is silent."""
_REMEMBER_FAILURE_S: Final = 0.4
"""Units that try to connect right after another one has failed get the same answer."""

_UNIT_FORGOTTEN_S: Final = 300.0

_T = TypeVar("_T")
GatewayKey = tuple[object, ...]


class _Lane:
    """One connection, and whose turn it is."""

    def __init__(self, gateway: "Gateway", *, is_spare: bool = False) -> None:
        self._is_spare = is_spare
        self.link = ModbusLink(gateway.endpoint, gateway.lost)
        self.waiting = 0
        self._turn = asyncio.Lock()
        self._free_mono = 0.0
        self._gap_s = gateway.gap_s
        self._silences = 0

    async def open(self, timeout_s: float) -> None:
        """Open the connection if it is not.

        Raises:
            ConnectionLost: see ``ModbusLink.open``.
        """
        async with self._turn:
            await self._ensure_open(timeout_s)

    async def use(self, timeout_s: float, call: Callable[[ModbusLink], Awaitable[_T]]) -> _T:
        """Open the connection if it is not, then do ``call`` on it."""
        self.waiting += 1
        try:
            async with self._turn:
                await self._ensure_open(timeout_s)
                if (pause_s := self._free_mono - time.monotonic()) > 0:
                    await asyncio.sleep(pause_s)
                return await self._answered(call)
        finally:
            self.waiting -= 1

    async def _ensure_open(self, timeout_s: float) -> None:
        if not self.link.is_open:
            await self.link.open(timeout_s)

    async def _answered(self, call: Callable[[ModbusLink], Awaitable[_T]]) -> _T:
        try:
            answer = await call(self.link)
        except NoAnswer as exc:
            self._silences += 1
            if self._is_spare:
                self.link.close()  # whoever is asked here is silent anyway
            elif self._silences >= _SILENCES_ALLOWED:
                self._silences = 0
                self.link.close()
                raise ConnectionLost(exc.reason, exc.quality) from None
            raise
        finally:
            self._free_mono = time.monotonic() + self._gap_s
        self._silences = 0
        return answer


class Gateway:
    """Everything that talks to one host and port; get it from :func:`gateway_for`."""

    def __init__(self, device: ModbusDevice) -> None:
        self.endpoint = _endpoint_of(device)
        self.gap_s = device.min_request_gap_s
        self._listeners: dict[str, OnLost] = {}
        self._seen_mono: dict[str, float] = {}
        self._failure: ConnectionLost | None = None
        self._failed_mono = 0.0
        self._lanes = [_Lane(self) for _ in range(max(1, device.connections - 1))]
        self._spare = self._lanes[0]
        if device.connections > 1:
            self._spare = _Lane(self, is_spare=True)

    @property
    def is_shared(self) -> bool:
        """Tell whether there is more than one unit; one that a reload removed is soon forgotten."""
        oldest_mono = time.monotonic() - _UNIT_FORGOTTEN_S
        return sum(seen > oldest_mono for seen in self._seen_mono.values()) > 1

    def note(self, unit: str) -> None:
        """Count a unit for the next minutes."""
        self._seen_mono[unit] = time.monotonic()

    async def connect(self, unit: str, timeout_s: float, on_lost: OnLost) -> None:
        """Open a connection unless there is one; ``on_lost`` is told when it breaks while idle.

        Raises:
            ConnectionLost: it cannot be opened, or could not be a moment ago.
        """
        self.note(unit)
        if self._failure and time.monotonic() - self._failed_mono < _REMEMBER_FAILURE_S:
            raise ConnectionLost(self._failure.reason, self._failure.quality)
        if not any(lane.link.is_open for lane in self._lanes):
            try:
                await self._lanes[0].open(timeout_s)
            except ConnectionLost as exc:
                if self.is_shared:
                    self._failure, self._failed_mono = exc, time.monotonic()
                raise
        self._failure = None
        self._listeners[unit] = on_lost

    async def use(
        self,
        timeout_s: float,
        call: Callable[[ModbusLink], Awaitable[_T]],
        *,
        is_suspect: bool,
    ) -> _T:
        """Do ``call`` on a connection when it is its turn.

        Args:
            is_suspect: The unit was silent the last time.
        """
        lane = min(self._lanes, key=lambda lane: lane.waiting)
        if is_suspect and self.is_shared and await self._has_spare(timeout_s):
            lane = self._spare
        return await lane.use(timeout_s, call)

    async def _has_spare(self, timeout_s: float) -> bool:
        try:
            await self._spare.open(timeout_s)
        except ConnectionLost:
            return False  # it takes fewer connections than the file says
        return True

    def leave(self, unit: str) -> None:
        """Close the connections after the last unit has left."""
        self._listeners.pop(unit, None)
        if not self._listeners:
            for lane in (*self._lanes, self._spare):
                lane.link.close()

    def lost(self, loss: ConnectionLost) -> None:
        """Tell every unit that an idle connection broke, if there is no other one."""
        if any(lane.link.is_open for lane in self._lanes):
            return
        for on_lost in list(self._listeners.values()):
            on_lost(loss)


_GATEWAYS: WeakValueDictionary[GatewayKey, Gateway] = WeakValueDictionary()
"""Of this process; a gateway lives as long as one of its units."""


def gateway_for(device: ModbusDevice) -> Gateway:
    """Return what all devices with the same host, port and settings of both share."""
    key = gateway_key(device)
    gateway = _GATEWAYS.get(key)
    if gateway is None:
        gateway = _GATEWAYS[key] = Gateway(device)
    return gateway


def gateway_key(device: ModbusDevice) -> GatewayKey:
    """Return what makes two devices share their connections."""
    return (
        device.host,
        device.port,
        device.framing,
        device.tls,
        device.connections,
        device.min_request_gap_s,
    )


def _endpoint_of(device: ModbusDevice) -> Endpoint:
    files = device.tls
    if files is None:
        return Endpoint(host=device.host, port=device.port, framing=device.framing)
    return Endpoint(
        host=device.host,
        port=device.port,
        framing=device.framing,
        tls=files.context(),
        server_name=files.server_name or device.host,
    )
