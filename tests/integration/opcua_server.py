"""A real OPC UA server in its own thread, which tests can stop and start again on its port."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from asyncua import Server, ua

from collectors.contract.columns import Columns
from collectors.contract.config import parse_collector
from collectors.contract.config_opcua import OpcUaCollector, OpcUaDevice
from collectors.contract.points import Sample
from collectors.opcua.driver import OpcUaDriver
from collectors.runtime.driver import ConnectionLost, Traffic

_T = TypeVar("_T")
Configure = Callable[[Server], Coroutine[Any, Any, None]]

NAMESPACE = "urn:test:plant"


async def no_security(server: Server) -> None:
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])


@dataclass
class OpcUaServer:
    """Serves the double variables ``names`` of the namespace ``urn:test:plant``, each 0.0."""

    names: tuple[str, ...] = ("a", "b", "c")
    configure: Configure = no_security
    other_namespaces: tuple[str, ...] = ()
    """Registered first, so that they shift the index of our own."""
    user_manager: Any = None
    port: int = 0
    server: Server = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)

    def __enter__(self) -> Self:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="opc ua server")
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            # A thread that is left behind keeps the whole test run from ending.
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def start(self) -> None:
        if self.port == 0:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self.port = probe.getsockname()[1]
        self.run(self._start())

    def stop(self) -> None:
        self.run(self._stop())

    def write(self, name: str, value: Any, status: int = 0) -> None:
        data = ua.DataValue(
            ua.Variant(value),
            StatusCode=ua.StatusCode(status),
            SourceTimestamp=datetime.now(UTC),
        )
        self.run(self.server.write_attribute_value(self.node_id(name), data))

    def node_id(self, name: str) -> ua.NodeId:
        return ua.NodeId(name, 2 + len(self.other_namespaces))

    async def _start(self) -> None:
        server = self.server = Server(user_manager=self.user_manager)
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}")
        await self.configure(server)
        for uri in (*self.other_namespaces, NAMESPACE):
            await server.register_namespace(uri)
        for name in self.names:
            node = await server.nodes.objects.add_variable(self.node_id(name), name, 0.0)
            await node.set_writable()
        await server.start()

    async def _stop(self) -> None:
        clock = self.server.iserver.time_task
        if clock is not None:
            clock.cancel()  # it looks up only once a second
            self.server.iserver.time_task = None
        # Not wait_for(), which waits for ever where the stop does not heed a cancellation.
        stopping = asyncio.create_task(self.server.stop())
        await asyncio.wait((stopping,), timeout=1.0)
        stopping.cancel()


@dataclass
class Reader:
    """A driver as the runtime would have it, with what it reported."""

    device: OpcUaDevice
    driver: OpcUaDriver
    traffic: Traffic
    lost: list[ConnectionLost]

    async def __aenter__(self) -> Self:
        await self.driver.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.close()

    async def read(self, group: str = "default") -> list[Sample]:
        return samples_of(await self.driver.read(group))

    async def until(
        self, condition: Callable[[list[Sample]], object], timeout_s: float = 10.0
    ) -> list[Sample]:
        """Read again and again; return all samples once ``condition`` is true of them."""
        seen: list[Sample] = []
        async with asyncio.timeout(timeout_s):
            while not condition(seen):
                seen += await self.read()
                await asyncio.sleep(0.02)
        return seen


def samples_of(columns: Columns) -> list[Sample]:
    samples = columns.samples()
    assert all(sample.point.startswith("plc/") for sample in samples)
    return samples


def reader_of(
    port: int, names: tuple[str, ...], *, home: Path = Path("unused"), **keys: Any
) -> Reader:
    groups = keys.pop("groups", [{"interval_s": 0.05, **keys.pop("group", {})}])
    device = {
        "id": "plc",
        "endpoint": f"opc.tcp://127.0.0.1:{port}",
        "timeout_s": 3.0,
        "groups": groups,
        "points": [{"name": n, "node_id": f"nsu={NAMESPACE};s={n}"} for n in names],
        **keys,
    }
    document = {"name": "c", "protocol": "opcua", "devices": [device]}
    config = parse_collector(document, file="c.toml")
    assert isinstance(config, OpcUaCollector)
    traffic, lost = Traffic(), list[ConnectionLost]()
    driver = OpcUaDriver(config.devices[0], traffic, lost.append, home)
    return Reader(config.devices[0], driver, traffic, lost)
