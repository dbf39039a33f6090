"""The variables of an OPC UA server: what they hold at every moment, and where they are found."""

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, timedelta

from asyncua import ua
from asyncua.common.callback import Callback, CallbackService, CallbackType, ServerItemCallback
from asyncua.common.node import Node
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds

from simulators.config import OpcUaDevice
from simulators.encoding import fit
from simulators.faults import FaultBoard
from simulators.memory import Values
from simulators.signals import OpcUaSignal, seed_of
from simulators.truth import TruthLog
from simulators.waveforms import Value, Writable

_EPOCH = ua.DateTime(1970, 1, 1, tzinfo=UTC)
_BAD_SENSOR_FAILURE = 0x808C0000

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A signal and its node."""

    signal: OpcUaSignal
    node_id: ua.NodeId
    seed: int

    @property
    def writable(self) -> bool:
        return isinstance(self.signal.wave, Writable)


def variables_of(config: OpcUaDevice, seed: int) -> list[Variable]:
    """Return the variables of one device."""
    return [
        Variable(
            signal=signal,
            node_id=ua.NodeId.from_string(signal.address),
            seed=seed_of(seed, config.id, None, signal.name),
        )
        for signal in config.signals
    ]


class Variables:
    """The variables of one running server: brings them up to date and logs what they hold."""

    def __init__(
        self,
        server: Server,
        config: OpcUaDevice,
        *,
        seed: int,
        faults: FaultBoard,
        truth: TruthLog,
        held: Mapping[str, Value],
    ) -> None:
        """``held`` are values, by name, that take the place of waves; others may change it."""
        self._server = server
        self._device = config.id
        self._update_s = config.update_s
        self._faults = faults
        self._truth = truth
        self._variables = variables_of(config, seed)
        self._names = {entry.node_id: entry.signal.name for entry in self._variables}
        self._stuck_at: ua.DateTime | None = None
        self._held = held

    async def create(self) -> None:
        """Add every variable, below objects named after the dotted parts of its node id."""
        folders = _Folders(self._server, (entry.signal.address for entry in self._variables))
        for entry in self._variables:
            parent, browse_name = await folders.of(entry.signal)
            kind = _VARIANTS[entry.signal.type]
            value = fit(entry.signal.wave.at(0.0, entry.seed), entry.signal.type)
            node = await parent.add_variable(entry.node_id, browse_name, value, kind)
            if entry.writable:
                await node.set_writable()
        await self._update(self._variables)

    async def update_forever(self) -> None:
        """Give every variable but the writable ones a new value each ``update_s``."""
        moving = [entry for entry in self._variables if not entry.writable]
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A late round is skipped, never caught up: time stamps must stay apart.
            due = max(due + self._update_s, loop.time())
            await asyncio.sleep(due - loop.time())
            await self._update(moving)

    async def update_one(self, name: str) -> None:
        """Bring the variable ``name`` up to date, writable or not."""
        await self._update([entry for entry in self._variables if entry.signal.name == name])

    async def _update(self, variables: Iterable[Variable]) -> None:
        now = self._faults.now()
        source_at = self._source_time(now.t_ns)
        bad = self._faults.find("bad_quality")
        status = 0 if bad is None else bad.code or _BAD_SENSOR_FAILURE
        values: Values = {}
        writes = []
        for entry in variables:
            value = self._value_of(entry, now.t_s)
            values[entry.signal.name] = value
            content = ua.DataValue(
                ua.Variant(value, _VARIANTS[entry.signal.type]),
                StatusCode=ua.StatusCode(ua.UInt32(status)),
                SourceTimestamp=source_at,
                ServerTimestamp=to_datetime(now.t_ns),
            )
            writes.append((entry.node_id, content))
        if not values:
            return
        # Logged first: what a client can read is never missing from the truth.
        self._truth.updated(
            device=self._device, source_ns=_to_ns(source_at), values=values, status=status
        )
        for node_id, content in writes:
            await self._server.write_attribute_value(node_id, content)

    def _value_of(self, entry: Variable, t_s: float) -> Value:
        signal = entry.signal
        if signal.type in ("float32", "float64") and self._faults.find("nan") is not None:
            return float("nan")
        held = self._held.get(signal.name)
        return fit(signal.wave.at(t_s, entry.seed) if held is None else held, signal.type)

    def _source_time(self, t_ns: int) -> ua.DateTime:
        if self._faults.find("stuck_time") is None:
            self._stuck_at = None
            return to_datetime(t_ns)
        if self._stuck_at is None:
            self._stuck_at = to_datetime(t_ns)
        return self._stuck_at

    def watch_writes(self) -> None:
        """Give client writes a source timestamp, and log those that succeed."""
        self._server.subscribe_server_callback(CallbackType.PreWrite, self._stamp)
        self._server.subscribe_server_callback(CallbackType.PostWrite, self._log)

    def _stamp(self, event: Callback, _service: CallbackService) -> None:
        assert isinstance(event, ServerItemCallback)
        if event.is_external:
            now = to_datetime(self._faults.now().t_ns)
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
                    device=self._device,
                    t_ns=self._faults.now().t_ns,
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
        start, is_text, path = signal.address.partition(";s=")
        namespace = start.partition(";")[0].removeprefix("ns=")
        if not is_text:
            return self._top, f"{namespace}:{signal.name}"
        prefix, _, last = path.rpartition(".")
        return await self._folder(namespace, prefix), f"{namespace}:{last or path}"

    async def _folder(self, namespace: str, path: str) -> Node:
        address = f"ns={namespace};s={path}"
        if not path or address in self._taken:
            return self._top
        if address not in self._nodes:
            prefix, _, last = path.rpartition(".")
            parent = await self._folder(namespace, prefix)
            name = f"{namespace}:{last or path}"
            self._nodes[address] = await parent.add_object(ua.NodeId.from_string(address), name)
        return self._nodes[address]


def to_datetime(t_ns: int) -> ua.DateTime:
    """Cut to whole microseconds, the finest step that Python's ``datetime`` has."""
    return _EPOCH + timedelta(microseconds=t_ns // 1000)


def _to_ns(at: ua.DateTime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
