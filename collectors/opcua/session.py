"""One session with an OPC UA server: asyncua's, with what it lacks put right.

What asyncua 2.1.0 does by itself, and what is done about it here:

- It decodes an answer in 5 µs a value: requests for values go out encoded, and their answers come
  back as bytes for our own decoder.
- Nothing splits a request that exceeds the server's limits: they are asked for after each connect.
- It can connect again by itself, but with a plain doubling pause: the runtime does that.
- Its own subscriptions drop what does not fit a queue of 1000, and hold one request open: they are
  not used.
- A cancelled connect leaves its socket open: it is closed here.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import nodeid_to_binary, struct_from_binary, struct_to_binary
from asyncua.ua.uaerrors import BadTooManyOperations, UaStatusCodeError

from collectors.contract.config_opcua import OpcUaDevice
from collectors.contract.points import Quality
from collectors.opcua.codec import BROKEN, check_answer
from collectors.opcua.plan import DEFAULT_NODES, MAX_NODES
from collectors.opcua.security import Security
from collectors.runtime.driver import ConnectionLost, reason_of

_CLOSE_S: Final = 0.3
_WATCHDOG_S: Final = 5.0
"""The library also takes this as the time-out of its probe, so 1 s would fail on a busy loop."""
_SESSION_TIMEOUT_MS: Final = 60_000
"""A session that we could not close should not use up the server's few places for an hour."""
CHANNEL_LIFETIME_MS = 3_600_000
"""Of the keys of a secure channel; the library renews them after three quarters of it."""
_CONNECT_REQUESTS: Final = 4
"""Hello, open channel, create session, activate session: each may take the device's time-out."""

# The runtime logs what changes; the library repeats each failure, and every answer at info.
logging.getLogger("asyncua").setLevel(logging.WARNING)
logging.getLogger("asyncua.client").setLevel(logging.CRITICAL)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Nodes or items in one request (OperationLimits, OPC 10000-5, 6.3.11)."""

    read: int = DEFAULT_NODES
    browse: int = DEFAULT_NODES
    monitor: int = DEFAULT_NODES


_LIMIT_NODES: Final = {
    "read": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    "browse": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    "monitor": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
}


@contextmanager
def translated() -> Iterator[None]:
    """Turn whatever a broken link or a damaged answer raises into ``ConnectionLost``."""
    try:
        yield
    except TimeoutError:
        raise ConnectionLost("no answer in time", Quality.BAD_TIMEOUT) from None
    except OSError as exc:
        raise ConnectionLost(reason_of(exc)) from exc
    except BROKEN as exc:
        raise ConnectionLost(str(exc) or type(exc).__name__) from exc
    except AssertionError as exc:
        # The library takes it for granted that the answer to an open channel is one.
        raise ConnectionLost("damaged answer") from exc


class Session:
    """Opened once and closed once; ``on_lost`` is called when it breaks in between."""

    def __init__(
        self, device: OpcUaDevice, security: Security, on_lost: Callable[[ConnectionLost], None]
    ) -> None:
        self._device = device
        self._security = security
        self._on_lost = on_lost
        self._is_closing = False
        self._lost: asyncio.Future[ConnectionLost] = asyncio.get_running_loop().create_future()
        self.limits = Limits()
        self.namespaces: list[str] = []
        self.client = client_of(device)

    async def open(self) -> None:
        """Connect, sign in and ask for limits and namespaces.

        Raises:
            ConnectionLost: unreachable, refused, or not the server that it should be.
        """
        self.client.connection_lost_callback = self._connection_lost
        try:
            with translated():
                async with asyncio.timeout(_CONNECT_REQUESTS * self._device.timeout_s):
                    await self._security.prepare(self.client, client_of(self._device))
                    await self.client.connect()
                    await self._learn()
        except ConnectionLost as lost:
            if lost.quality is Quality.BAD_TIMEOUT:
                raise ConnectionLost("connect timed out", Quality.BAD_TIMEOUT) from None
            raise

    @property
    def timeout_s(self) -> float:
        """Longest wait for one answer."""
        return self._device.timeout_s

    async def close(self) -> None:
        """Close within 0.3 s, also where the server says nothing."""
        self._is_closing = True
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.client.disconnect()
        except TimeoutError:
            pass  # the server does not answer: its session ends by time-out
        finally:
            self.client.disconnect_socket()

    def post(self, kind: ua.NodeId, body: bytes, timeout_s: float = 0) -> "asyncio.Future[Any]":
        """Send an encoded request; the future gives the answer as asyncua's ``Buffer``.

        Args:
            kind: NodeId of the request's binary encoding.
            body: What follows the request header.
            timeout_s: For the server to know, 0 for none.

        Raises:
            ConnectionLost: there is no connection.
        """
        protocol = self.client.uaclient.protocol
        if protocol is None or protocol.transport is None:
            raise ConnectionLost("not connected")
        header = ua.RequestHeader()
        protocol._setup_request_header(header, timeout_s)
        protocol.revolve_security_token()
        request_id = protocol._request_id + 1
        message = nodeid_to_binary(kind) + struct_to_binary(header) + body
        packed = protocol._connection.message_to_binary(message, request_id=request_id)
        protocol._request_id = request_id
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        protocol._callbackmap[request_id] = future
        protocol.transport.write(packed)
        return future

    async def ask(self, kind: ua.NodeId, body: bytes) -> bytes:
        """Send an encoded request and return the whole answer.

        Raises:
            ConnectionLost: no connection, or no answer in time.
        """
        timeout_s = self._device.timeout_s
        with translated():
            async with asyncio.timeout(timeout_s):
                return bytes(await self.post(kind, body, timeout_s))

    async def call(self, request: Any, answer_type: type[_T]) -> _T:
        """Send any of asyncua's requests.

        Raises:
            UaStatusCodeError: the server refuses.
            ConnectionLost: as :meth:`ask`, or the answer is damaged.
        """
        data = await self.ask(request.TypeId, struct_to_binary(request.Parameters))
        try:
            answer = struct_from_binary(answer_type, check_answer(data))
            answer.ResponseHeader.ServiceResult.check()  # type: ignore[attr-defined] # a response
        except UaStatusCodeError:
            raise
        except BROKEN as exc:
            raise ConnectionLost(str(exc) or type(exc).__name__) from exc
        return answer

    async def read(
        self, nodes: Sequence[ua.NodeId], attribute: AttributeIds = AttributeIds.Value
    ) -> list[ua.DataValue]:
        """Return an attribute of each node, in as many requests as the server wants.

        Raises:
            ConnectionLost: as :meth:`call`, or the server refuses.
        """
        values: list[ua.DataValue] = []
        size = self.limits.read
        while len(values) < len(nodes):
            wanted = nodes[len(values) : len(values) + size]
            parameters = ua.ReadParameters(
                NodesToRead=[ua.ReadValueId(NodeId=n, AttributeId=attribute) for n in wanted]
            )
            with translated():
                try:
                    answer = await self.call(ua.ReadRequest(Parameters=parameters), ua.ReadResponse)
                except BadTooManyOperations:
                    if len(wanted) == 1:
                        raise
                    size = len(wanted) // 2
                    continue
            if len(answer.Results) != len(wanted):
                raise ConnectionLost(f"{len(answer.Results)} values instead of {len(wanted)}")
            values += answer.Results
        return values

    async def _learn(self) -> None:
        numbers = (ObjectIds.Server_NamespaceArray, *_LIMIT_NODES.values())
        answers = await self.read([ua.NodeId(ua.Int32(number)) for number in numbers])
        found = [answer.Value.Value if answer.Value else None for answer in answers]
        self.namespaces = [str(uri) for uri in found[0] or ()]
        limits = {
            name: min(limit, MAX_NODES)
            for name, limit in zip(_LIMIT_NODES, found[1:], strict=True)
            if isinstance(limit, int) and limit > 0
        }
        self.limits = Limits(**limits)

    def give_up(self, lost: ConnectionLost) -> None:
        """Tell that the session cannot be used any more; the first call counts."""
        if not self._is_closing and not self._lost.done():
            self._lost.set_result(lost)
            self._on_lost(lost)

    async def wait_for(self, awaited: "asyncio.Future[None]", timeout_s: float) -> bool:
        """Return whether ``awaited`` was done in time.

        Raises:
            ConnectionLost: the session broke before that.
        """
        await asyncio.wait(
            (awaited, self._lost), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if self._lost.done():
            raise self._lost.result()
        return awaited.done()

    async def _connection_lost(self, exc: Exception) -> None:
        reason = reason_of(exc) if isinstance(exc, OSError) else str(exc) or type(exc).__name__
        self.give_up(ConnectionLost(reason))


def url_of(endpoint: str) -> str:
    """Return the endpoint with its port; 4840 is the one assigned to OPC UA."""
    parts = urlsplit(endpoint)
    return endpoint if parts.port else parts._replace(netloc=f"{parts.netloc}:4840").geturl()


def client_of(device: OpcUaDevice) -> Client:
    """Return a client that is not connected."""
    client = Client(
        url_of(device.endpoint), timeout=device.timeout_s, watchdog_intervall=_WATCHDOG_S
    )
    client.name = client.description = "daqplane collector"
    client.application_uri = "urn:daqplane:collector"
    client.session_timeout = _SESSION_TIMEOUT_MS
    client.secure_channel_timeout = CHANNEL_LIFETIME_MS
    return client
