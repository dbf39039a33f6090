"""Reads one OPC UA server by polling.

What asyncua 2.1.0 does by itself, and what is done about it here:

- ``read_values()`` gives 0.0 for a node whose status is bad: the Read service is called itself, and
  status and timestamps are kept.
- Nothing splits a request that exceeds the server's limits: it is split here.
- It can connect again by itself, but with a plain doubling pause: the runtime does that.
- A cancelled connect leaves its socket open: it is closed here.
"""

import asyncio
import logging
import struct
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import BadTooManyOperations, UaError

from collectors.contract.config_opcua import OpcUaDevice
from collectors.contract.points import Quality, Sample, Value
from collectors.opcua.plan import DEFAULT_NODES, MAX_NODES, points_of
from collectors.opcua.values import Scale, sample_of
from collectors.runtime.driver import ConnectionLost, OnLost, Traffic, WriteFailed, reason_of
from collectors.runtime.values import scaler

_CLOSE_S: Final = 0.3
_WATCHDOG_S: Final = 5.0
"""The library also takes this as the time-out of its probe, so 1 s would fail on a busy loop."""
_SESSION_TIMEOUT_MS: Final = 60_000
"""A session that we could not close should not use up the server's few places for an hour."""
_CONNECT_REQUESTS: Final = 4
"""Hello, open channel, create session, activate session: each may take the device's time-out."""
_MAX_NODES_PER_READ: Final = ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead

# The runtime logs what changes; the library repeats each failure, and every answer at info.
logging.getLogger("asyncua").setLevel(logging.WARNING)
logging.getLogger("asyncua.client").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    point: str
    read_id: ua.ReadValueId
    scale: Scale


class OpcUaDriver:
    """The driver of ``opcua``; see :class:`collectors.runtime.driver.Driver`."""

    def __init__(self, device: OpcUaDevice, traffic: Traffic, on_lost: OnLost) -> None:
        self._device = device
        self._traffic = traffic
        self._on_lost = on_lost
        self._client: Client | None = None
        self._nodes_per_read = DEFAULT_NODES
        self._groups = {
            group: [
                _Node(
                    point=f"{device.id}/{point.name}",
                    read_id=_read_id(ua.NodeId.from_string(point.node_id)),
                    scale=scaler(point.scale, point.offset),
                )
                for point in points
            ]
            for group, points in points_of(device).items()
        }

    async def connect(self) -> None:
        client = self._client = Client(
            _with_port(self._device.endpoint),
            timeout=self._device.timeout_s,
            watchdog_intervall=_WATCHDOG_S,
        )
        client.name = client.description = "daqplane collector"
        client.application_uri = "urn:daqplane:collector"
        client.session_timeout = _SESSION_TIMEOUT_MS
        client.connection_lost_callback = self._connection_lost
        try:
            async with asyncio.timeout(_CONNECT_REQUESTS * self._device.timeout_s):
                await client.connect()
                self._nodes_per_read = await self._read_limit(client)
        except TimeoutError:
            raise ConnectionLost("connect timed out", Quality.BAD_TIMEOUT) from None
        except _BROKEN as exc:
            raise ConnectionLost(_reason(exc)) from exc

    async def read(self, group_id: str) -> list[Sample]:
        nodes = self._groups[group_id]
        samples: list[Sample] = []
        while len(samples) < len(nodes):
            chunk = nodes[len(samples) : len(samples) + self._nodes_per_read]
            try:
                samples.extend(await self._read_chunk(chunk))
            except BadTooManyOperations:
                self._traffic.failed()
                if len(chunk) == 1:
                    raise ConnectionLost("the server refuses to read a single node") from None
                self._nodes_per_read = len(chunk) // 2
        return samples

    async def write(self, point_name: str, value: Value) -> Sample:  # noqa: ARG002 - reads only
        raise WriteFailed("not_supported")

    def adopt(self, device: OpcUaDevice) -> bool:
        return device == self._device

    def forget(self) -> None:
        self._nodes_per_read = DEFAULT_NODES

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await client.disconnect()
        except TimeoutError:
            pass  # the server does not answer: its session ends by time-out
        finally:
            client.disconnect_socket()

    async def _read_chunk(self, nodes: list[_Node]) -> list[Sample]:
        client = self._client
        if client is None:
            raise ConnectionLost("not connected")
        parameters = ua.ReadParameters(
            MaxAge=0,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            NodesToRead=[node.read_id for node in nodes],
        )
        sent_ns, started = time.time_ns(), time.monotonic()
        try:
            answers = await client.uaclient.read(parameters)
            if len(answers) != len(nodes):
                raise ConnectionLost(f"{len(answers)} values instead of {len(nodes)}")
        except BadTooManyOperations:
            raise
        except TimeoutError:
            self._traffic.failed()
            raise ConnectionLost("no answer in time", Quality.BAD_TIMEOUT) from None
        except (ConnectionLost, *_BROKEN) as exc:
            self._traffic.failed()
            raise ConnectionLost(_reason(exc)) from exc
        received_ns = time.time_ns()
        self._traffic.answered(time.monotonic() - started, received_ns)
        read_ns = (sent_ns + received_ns) // 2
        return [
            sample_of(node.point, answer, node.scale, read_ns, received_ns)
            for node, answer in zip(nodes, answers, strict=True)
        ]

    async def _read_limit(self, client: Client) -> int:
        node_id = ua.NodeId(ua.Int32(_MAX_NODES_PER_READ))
        answers = await client.uaclient.read(ua.ReadParameters(NodesToRead=[_read_id(node_id)]))
        limit = answers[0].Value.Value if answers and answers[0].Value else None
        return min(limit, MAX_NODES) if isinstance(limit, int) and limit > 0 else DEFAULT_NODES

    async def _connection_lost(self, exc: Exception) -> None:
        if self._client is not None:
            self._on_lost(ConnectionLost(_reason(exc)))


# The rest is what a damaged answer makes the library raise while it decodes it.
_BROKEN: Final = (
    UaError, OSError, struct.error, ValueError, LookupError, TypeError, AttributeError,
    ArithmeticError,
)  # fmt: skip


def _reason(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return reason_of(exc)
    return str(exc) or type(exc).__name__


def _read_id(node_id: ua.NodeId) -> ua.ReadValueId:
    return ua.ReadValueId(NodeId=node_id, AttributeId=AttributeIds.Value)


def _with_port(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return endpoint if parts.port else parts._replace(netloc=f"{parts.netloc}:4840").geturl()


create = OpcUaDriver
