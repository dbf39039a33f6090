"""An OPC UA server on asyncua: anonymous, unencrypted, every signal a variable in namespace 2."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, timedelta

from asyncua import ua
from asyncua.common.callback import Callback, CallbackService, CallbackType, ServerItemCallback
from asyncua.common.node import Node
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds

from simulators.clock import Clock
from simulators.config import OpcUaSignal, OpcUaSimulator, seed_of
from simulators.encoding import fit
from simulators.memory import Values
from simulators.tcp import CannotListen
from simulators.truth import TruthLog
from simulators.waveforms import Writable

NAMESPACE_URI = "urn:daqplane:simulator:signals"
_NAMESPACE = 2
_EPOCH = ua.DateTime(1970, 1, 1, tzinfo=UTC)
_STOP_TIMEOUT_S = 0.2

_VARIANTS = {
    "bool": ua.VariantType.Boolean,
    "int16": ua.VariantType.Int16,
    "uint16": ua.VariantType.UInt16,
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "int64": ua.VariantType.Int64,
    "uint64": ua.VariantType.UInt64,
    "float32": ua.VariantType.Float,
    "float64": ua.VariantType.Double,
    "string": ua.VariantType.String,
}


class _Variables:
    """The variables of one server: brings them up to date and logs what they hold."""

    def __init__(self, server: Server, config: OpcUaSimulator, truth: TruthLog) -> None:
        self._server = server
        self._truth = truth
        self._clock = Clock()
        self._update_s = config.update_s
        self._signals = [
            (signal, ua.NodeId.from_string(signal.address), seed_of(config.seed, None, signal.name))
            for signal in config.signals
        ]
        self._names = {node_id: signal.name for signal, node_id, _ in self._signals}

    async def create(self) -> None:
        """Add every variable, below objects named after the dotted parts of its node id."""
        folders = _Folders(self._server, (signal.address for signal, _, _ in self._signals))
        for signal, node_id, seed in self._signals:
            parent, browse_name = await folders.of(signal)
            value = fit(signal.wave.at(0.0, seed), signal.type)
            node = await parent.add_variable(node_id, browse_name, value, _VARIANTS[signal.type])
            if isinstance(signal.wave, Writable):
                await node.set_writable()
        await self._update(self._signals)

    async def update_forever(self) -> None:
        """Give every variable but the writable ones a new value each ``update_s``."""
        moving = [entry for entry in self._signals if not isinstance(entry[0].wave, Writable)]
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A late round is skipped, never caught up: time stamps must stay apart.
            due = max(due + self._update_s, loop.time())
            await asyncio.sleep(due - loop.time())
            await self._update(moving)

    async def _update(self, signals: Iterable[tuple[OpcUaSignal, ua.NodeId, int]]) -> None:
        now = self._clock.now()
        source_at = _to_datetime(now.t_ns)
        values: Values = {}
        writes = []
        for signal, node_id, seed in signals:
            value = fit(signal.wave.at(now.t_s, seed), signal.type)
            values[signal.name] = value
            variant = ua.Variant(value, _VARIANTS[signal.type])
            content = ua.DataValue(variant, SourceTimestamp=source_at, ServerTimestamp=source_at)
            writes.append((node_id, content))
        if not values:
            return
        # Logged first: what a client can read is never missing from the truth.
        self._truth.updated(source_ns=_to_ns(source_at), values=values)
        for node_id, content in writes:
            await self._server.write_attribute_value(node_id, content)

    def watch_writes(self) -> None:
        """Give client writes a source timestamp, and log those that succeed."""
        self._server.subscribe_server_callback(CallbackType.PreWrite, self._stamp)
        self._server.subscribe_server_callback(CallbackType.PostWrite, self._log)

    def _stamp(self, event: Callback, _service: CallbackService) -> None:
        assert isinstance(event, ServerItemCallback)
        if event.is_external:
            now = _to_datetime(self._clock.now().t_ns)
            for write in event.request_params.NodesToWrite:
                if write.Value.SourceTimestamp is None:
                    write.Value = dataclasses.replace(write.Value, SourceTimestamp=now)

    def _log(self, event: Callback, _service: CallbackService) -> None:
        assert isinstance(event, ServerItemCallback)
        if not event.is_external:
            return
        for write, status in zip(
            event.request_params.NodesToWrite, event.response_params, strict=True
        ):
            name = self._names.get(write.NodeId)
            if name is not None and write.AttributeId == AttributeIds.Value and status.is_good():
                content = write.Value.Value
                self._truth.node_written(
                    t_ns=self._clock.now().t_ns,
                    source_ns=_to_ns(write.Value.SourceTimestamp),
                    # A client may write a bad status instead of a value.
                    values={name: None if content is None else content.Value},
                )


class _Folders:
    """Objects for the dotted parts of node ids: ``ns=2;s=Mixer.Level`` lies below ``Mixer``."""

    def __init__(self, server: Server, signal_addresses: Iterable[str]) -> None:
        self._top = server.nodes.objects
        self._taken = set(signal_addresses)
        self._nodes: dict[str, Node] = {}

    async def of(self, signal: OpcUaSignal) -> tuple[Node, str]:
        """Return the parent of ``signal`` and its browse name."""
        _, is_text, path = signal.address.partition(";s=")
        if not is_text:
            return self._top, f"{_NAMESPACE}:{signal.name}"
        prefix, _, last = path.rpartition(".")
        return await self._folder(prefix), f"{_NAMESPACE}:{last or path}"

    async def _folder(self, path: str) -> Node:
        address = f"ns={_NAMESPACE};s={path}"
        if not path or address in self._taken:
            return self._top
        if path not in self._nodes:
            prefix, _, last = path.rpartition(".")
            parent = await self._folder(prefix)
            name = f"{_NAMESPACE}:{last or path}"
            self._nodes[path] = await parent.add_object(ua.NodeId.from_string(address), name)
        return self._nodes[path]


@asynccontextmanager
async def serving(config: OpcUaSimulator, truth: TruthLog) -> AsyncIterator[int]:
    """Serve inside the ``with`` block; yields the port.

    Raises:
        CannotListen: the address is taken or does not exist here.
    """
    logging.getLogger("asyncua").setLevel(logging.WARNING)
    await _check_address(config.host, config.port)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://{config.host}:{config.port}/")
    server.set_server_name("daqplane simulator")
    await server.set_application_uri("urn:daqplane:simulator")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    server.set_identity_tokens([ua.AnonymousIdentityToken])
    server.allow_remote_admin(False)
    if await server.register_namespace(NAMESPACE_URI) != _NAMESPACE:
        raise RuntimeError("asyncua no longer gives the first own namespace the index 2")
    variables = _Variables(server, config, truth)
    await variables.create()
    variables.watch_writes()
    await server.start()
    assert server.bserver is not None
    try:
        async with asyncio.TaskGroup() as tasks:
            updating = tasks.create_task(variables.update_forever(), name="update")
            yield server.bserver.port
            updating.cancel()
    finally:
        await _stop(server)


async def _stop(server: Server) -> None:
    """Stop within 0.2 s, whatever the clients do."""
    clock = server.iserver.time_task
    if clock is not None:
        # asyncua waits for its clock, which looks up only once a second.
        clock.cancel()
        server.iserver.time_task = None
    with suppress(TimeoutError):
        await asyncio.wait_for(server.stop(), _STOP_TIMEOUT_S)


async def _check_address(host: str, port: int) -> None:
    """Try the address before asyncua does, which would log a traceback when it is taken."""
    try:
        probe = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, host, port, start_serving=False
        )
    except OSError as exc:
        raise CannotListen(exc) from exc
    probe.close()
    await probe.wait_closed()


def _to_datetime(t_ns: int) -> ua.DateTime:
    """Cut to whole microseconds, the finest step that Python's ``datetime`` has."""
    return _EPOCH + timedelta(microseconds=t_ns // 1000)


def _to_ns(at: ua.DateTime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
