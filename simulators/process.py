"""One simulator process: its devices, their scenario, and the endpoint that controls them."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from simulators.clock import Clock
from simulators.config import AnySimulator, devices_of
from simulators.control import ControlServer
from simulators.device import Device, carry_out
from simulators.faults import FaultBoard, ScenarioStep
from simulators.listener import Listener
from simulators.truth import TruthLog


@dataclass(frozen=True, slots=True)
class Running:
    """What a started simulator listens on; ``control_port`` is ``None`` without an endpoint."""

    devices: Sequence[Device]
    control_port: int | None

    def facts(self) -> dict[str, Any]:
        """Return what the first line of the process says."""
        first = self.devices[0].listener
        facts: dict[str, Any] = {"host": first.host, "port": first.port}
        facts["devices"] = {device.id: device.listener.port for device in self.devices}
        if self.control_port is not None:
            facts["control_port"] = self.control_port
        return facts


@asynccontextmanager
async def serving(config: AnySimulator, truth: TruthLog) -> AsyncIterator[Running]:
    """Serve every device inside the ``with`` block.

    Raises:
        CannotListen: an address is taken or does not exist here.
    """
    devices = _devices(config, truth)
    async with AsyncExitStack() as stack:
        control_port = None
        if config.control_port is not None:
            control = ControlServer(config, devices)
            control_port = await control.open(config.control_port)
            stack.callback(control.close)
        for device in devices:
            stack.callback(device.listener.close)
            device.listener.reserve()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for device in devices:
            stack.push_async_callback(device.stop)
            await device.start(tasks)
        for step in config.scenario:
            task = tasks.create_task(_play(step, devices))
            stack.callback(task.cancel)
        yield Running(devices, control_port)


async def _play(step: ScenarioStep, devices: Sequence[Device]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time() + step.at_s
    while True:
        await asyncio.sleep(due - loop.time())
        carry_out(step, devices)
        if step.repeat_s is None:
            return
        due += step.repeat_s


def _devices(config: AnySimulator, truth: TruthLog) -> list[Device]:
    # Imported on demand: asyncua alone takes a second and 25 MB.
    module = importlib.import_module(f"simulators.{config.protocol}")
    make: Callable[..., Device] = module.device
    clock = Clock()
    devices = []
    for device in devices_of(config):
        faults = FaultBoard(clock, seed=f"{config.seed}/{device.id}")
        listener = Listener(config.host, device.port, faults)
        devices.append(make(device, listener, seed=config.seed, faults=faults, truth=truth))
    return devices
