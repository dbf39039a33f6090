"""A simulated OPC UA server on asyncua: every signal is a variable."""

import asyncio
import logging
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from asyncua.server.server import Server

from simulators.config import OpcUaDevice
from simulators.faults import Fault, FaultBoard
from simulators.listener import Listener
from simulators.memory import NoSuchSignal, check_content
from simulators.opcua_server import SimulatedServer, configured_server
from simulators.opcua_session import Connection
from simulators.opcua_variables import Variables
from simulators.truth import TruthLog
from simulators.waveforms import Value

_STOP_TIMEOUT_S = 0.2


class OpcUaServer:
    """One simulated server.

    Attributes:
        id: Of the device in the simulator's file.
        faults: Its faults and counters.
    """

    def __init__(
        self,
        config: OpcUaDevice,
        listener: Listener,
        *,
        seed: int,
        faults: FaultBoard,
        truth: TruthLog,
    ) -> None:
        self.id = config.id
        self.faults = faults
        self.listener = listener
        self._config = config
        self._seed = seed
        self._truth = truth
        self._types = {signal.name: signal.type for signal in config.signals}
        self._held: dict[str, Value] = {}
        self._server: SimulatedServer | None = None
        self._variables: Variables | None = None
        self._updating: asyncio.Task[None] | None = None
        self._stopped = False
        self._made: tempfile.TemporaryDirectory[str] | None = None
        self._changes: asyncio.Queue[Fault] = asyncio.Queue()
        self._following: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start the server and listen.

        Raises:
            CannotListen: another program listens there.
        """
        logging.getLogger("asyncua").setLevel(logging.WARNING)
        # It has an error line for each refused call, and refusing may be what is asked for.
        logging.getLogger("asyncua.server.uaprocessor").setLevel(logging.CRITICAL)
        self._tasks = tasks
        self._made = tempfile.TemporaryDirectory()
        await self._boot()
        await self._open()
        self.faults.changed = self._changes.put_nowait
        self._following = tasks.create_task(self._follow_faults(), name=f"faults {self.id}")

    async def stop(self) -> None:
        self.faults.changed = lambda _fault: None
        self.faults.close()
        self._stopped = True
        await _cancel(self._following)
        self.listener.close()
        await self._shut_down()
        if self._made is not None:
            self._made.cleanup()

    async def hold(self, signal: str, value: Value | None, unit: int | None) -> None:
        """See :meth:`simulators.tcp.FrameProtocol.hold`."""
        del unit
        kind = self._types.get(signal)
        if kind is None:
            raise NoSuchSignal
        if value is not None:
            check_content(value, kind, 0)
        if value is None:
            self._held.pop(signal, None)
        else:
            self._held[signal] = value
        # Without variables the server restarts, and begins with what is held.
        if self._variables is not None:
            await self._variables.update_one(signal)

    async def settled(self) -> None:
        """See :meth:`simulators.device.Device.settled`; a restart goes on."""
        await self._changes.join()

    async def _follow_faults(self) -> None:
        while True:
            fault = await self._changes.get()
            self.listener.trim()
            match fault.fault:
                case "refuse" if self.faults.find("refuse") is not None:
                    self.listener.shut()
                case "refuse":
                    await self._open()
                case "restart" if self._tasks is not None:
                    self._tasks.create_task(self._restart(fault.pause_s))
                case "session_loss":
                    for client in list(self.listener.clients):
                        if isinstance(client, Connection):
                            await client.lose_session()
                case _:
                    pass
            self._changes.task_done()

    async def _restart(self, pause_s: float) -> None:
        """Go away for ``pause_s`` and come back without sessions and subscriptions."""
        if self._server is None:
            return
        self.listener.shut()
        await self._shut_down()
        await asyncio.sleep(pause_s)
        if not self._stopped:
            await self._boot()
            await self._open()

    async def _open(self) -> None:
        server = self._server
        if server is None or self.faults.find("refuse") is not None:
            return
        await self.listener.open(lambda: server.connection(self.listener, self.faults))

    async def _boot(self) -> None:
        assert self._made is not None
        self._server = server = await configured_server(
            self._config, self.listener.host, self.listener.port, Path(self._made.name)
        )
        self._variables = variables = Variables(
            server,
            self._config,
            seed=self._seed,
            faults=self.faults,
            truth=self._truth,
            held=self._held,
        )
        await variables.create()
        variables.watch_writes()
        await server.start()
        assert self._tasks is not None
        self._updating = self._tasks.create_task(
            variables.update_forever(), name=f"update {self.id}"
        )

    async def _shut_down(self) -> None:
        server, self._server, self._variables = self._server, None, None
        await _cancel(self._updating)
        if server is not None:
            await _stop(server)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


def device(config: OpcUaDevice, listener: Listener, **more: Any) -> OpcUaServer:
    """Return the device that serves ``config``; see :class:`OpcUaServer`."""
    return OpcUaServer(config, listener, **more)


async def _stop(server: Server) -> None:
    """Stop within 0.2 s, whatever the clients do."""
    clock = server.iserver.time_task
    if clock is not None:
        # asyncua waits for its clock, which looks up only once a second.
        clock.cancel()
        server.iserver.time_task = None
    with suppress(TimeoutError):
        await asyncio.wait_for(server.stop(), _STOP_TIMEOUT_S)
