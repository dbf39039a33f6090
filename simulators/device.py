"""What every simulated device can do, whatever it speaks, and how an order reaches it."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from simulators.faults import Fault, FaultBoard, FaultOrder
from simulators.listener import Listener
from simulators.waveforms import Value


class Device(Protocol):
    """A simulated device.

    Attributes:
        id: From the simulator's file.
        listener: Its port.
        faults: Its faults and counters.
    """

    id: str
    listener: Listener
    faults: FaultBoard

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Listen until :meth:`stop`; ``tasks`` run what it needs beside its clients.

        Raises:
            CannotListen: another program listens on its port.
        """

    async def stop(self) -> None:
        """End every connection and give the port back."""

    async def settled(self) -> None:
        """Return when the faults switched until now have their effect."""

    async def hold(self, signal: str, value: Value | None, unit: int | None) -> None:
        """Let ``signal`` hold ``value``; ``None``: follow its wave again.

        Raises:
            NoSuchSignal: there is none.
            CannotHold: not a value of its type.
        """


def carry_out(order: FaultOrder, devices: Sequence[Device]) -> None:
    """Switch on the fault of an ``order`` that was checked, on each device that it names."""
    given = order.model_fields_set & Fault.model_fields.keys()
    fault = Fault.model_validate({name: getattr(order, name) for name in given})
    for device in devices:
        if order.device in ("*", device.id):
            device.faults.start(fault, unit=order.unit, for_s=order.for_s)
