"""One OPC UA connection on asyncua, with the faults of its device on it."""

import asyncio
from typing import Any

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import ServiceError
from asyncua.server.binary_server_asyncio import OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import SessionState
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary

from simulators.config import OperationLimits
from simulators.faults import REQUEST_FAULTS, FaultBoard
from simulators.listener import Listener
from simulators.wire import Reply, Wire

_SERVICE_FAULTS = frozenset({"exception"})
_SESSION_CLOSED = ua.StatusCode(ua.UInt32(StatusCodes.BadSessionClosed))
_MESSAGE_FAULTS = REQUEST_FAULTS - _SERVICE_FAULTS
_CREATE_SESSION = ua.NodeId(ua.Int32(ObjectIds.CreateSessionRequest_Encoding_DefaultBinary))
_LIMITED = {
    ua.NodeId(ua.Int32(getattr(ObjectIds, f"{service}Request_Encoding_DefaultBinary"))): (
        limit,
        parameters,
        entries,
    )
    for service, limit, parameters, entries in (
        ("Read", "max_nodes_per_read", ua.ReadParameters, "NodesToRead"),
        ("Write", "max_nodes_per_write", ua.WriteParameters, "NodesToWrite"),
        ("Browse", "max_nodes_per_browse", ua.BrowseParameters, "NodesToBrowse"),
        (
            "CreateMonitoredItems",
            "max_monitored_items_per_call",
            ua.CreateMonitoredItemsParameters,
            "ItemsToCreate",
        ),
    )
}


class _FaultyTransport:
    """What asyncua writes to: every message meets the faults of the device."""

    def __init__(self, transport: asyncio.Transport, faults: FaultBoard) -> None:
        self._transport = transport
        self._faults = faults
        self.wire = Wire(transport, faults.counters)

    def write(self, data: bytes) -> None:
        effects = self._faults.meet(_MESSAGE_FAULTS)
        if any(effect.kind == "silent" for effect in effects):
            return
        self.wire.put(Reply(data=data, effects=effects))
        self.wire.flush()

    def close(self) -> None:
        self._transport.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


class _Processor(UaProcessor):
    """Answers service calls; may refuse them, and may have lost its session."""

    def __init__(
        self,
        server: InternalServer,
        transport: _FaultyTransport,
        limits: TransportLimits,
        faults: FaultBoard,
        operation_limits: OperationLimits,
    ) -> None:
        super().__init__(server, transport, limits)
        self._faults = faults
        self._operation_limits = operation_limits

    async def _process_message(
        self, typeid: ua.NodeId, requesthdr: Any, seqhdr: Any, body: Any
    ) -> Any:
        self._faults.counters.requests += 1
        for effect in self._faults.meet(_SERVICE_FAULTS):
            raise ServiceError(effect.fault.code or StatusCodes.BadServerHalted)
        session = self.session
        if (
            session is not None
            and session.state is SessionState.Closed
            and typeid != _CREATE_SESSION
        ):
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        self._check_limit(typeid, body)
        return await super()._process_message(typeid, requesthdr, seqhdr, body)  # type: ignore[no-untyped-call]  # asyncua

    def _check_limit(self, typeid: ua.NodeId, body: Any) -> None:
        """Refuse a call that asks for more than one may; asyncua itself has no such limits."""
        limited = _LIMITED.get(typeid)
        if limited is None:
            return
        name, parameters, entries = limited
        limit = getattr(self._operation_limits, name)
        # Decoded a second time, and so only where there is a limit.
        if limit and len(getattr(struct_from_binary(parameters, body.copy()), entries)) > limit:
            raise ServiceError(StatusCodes.BadTooManyOperations)

    async def lose_session(self) -> None:
        """Close the session as a server does that ran out of them: requests in hand end."""
        if self.session is None:
            return
        await self.session.close_session(True)
        while self._publish_requests:
            waiting = self._publish_requests.popleft()
            fault = ua.ServiceFault()
            fault.ResponseHeader.ServiceResult = _SESSION_CLOSED
            self.send_response(waiting.requesthdr.RequestHandle, waiting.seqhdr, fault)  # type: ignore[no-untyped-call]  # asyncua


class Connection(OPCUAProtocol):
    """One client of a simulated server."""

    def __init__(
        self,
        server: InternalServer,
        policies: list[Any],
        limits: TransportLimits,
        *,
        listener: Listener,
        faults: FaultBoard,
        operation_limits: OperationLimits,
    ) -> None:
        super().__init__(server, policies, [], [], limits)
        self._operation_limits = operation_limits
        self._listener = listener
        self._faults = faults
        self._link: asyncio.Transport | None = None
        self._wire: Wire | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._listener.admit(self, transport):
            return
        faulty = _FaultyTransport(transport, self._faults)
        self._link, self._wire = transport, faulty.wire
        super().connection_made(faulty)  # type: ignore[arg-type]  # asyncua only writes and closes
        self.processor = _Processor(
            self.iserver, faulty, self.limits, self._faults, self._operation_limits
        )
        self.processor.set_policies(self.policies)  # type: ignore[no-untyped-call]  # asyncua

    def connection_lost(self, ex: BaseException | None) -> None:
        self._listener.forget(self)
        if self._wire is not None:
            self._wire.close()
        super().connection_lost(ex)

    def abort(self) -> None:
        if self._link is not None:
            self._link.abort()

    async def lose_session(self) -> None:
        """Let the server forget the session of this client, but not its connection."""
        if isinstance(self.processor, _Processor):
            await self.processor.lose_session()
