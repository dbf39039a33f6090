"""Read the nodes of a poll group, with as few Read requests as the server allows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_to_binary
from asyncua.ua.uaerrors import BadTooManyOperations

from collectors.contract.columns import Columns, Runs
from collectors.opcua.codec import read_response
from collectors.opcua.nodes import Node
from collectors.opcua.session import Session, translated
from collectors.opcua.values import BAD_NODE_ID_UNKNOWN, Reading, Scale, columns, joined
from collectors.runtime.driver import ConnectionLost, Traffic

_READ: Final = ua.FourByteNodeId(ua.Int32(ObjectIds.ReadRequest_Encoding_DefaultBinary))
_NO_SUCH_NAMESPACE: Final[Reading] = (None, BAD_NODE_ID_UNKNOWN, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """The nodes of one request, encoded once: that would cost as much as decoding the answer."""

    points: tuple[str, ...]
    scales: list[Scale]
    body: bytes


class PolledGroup:
    """The Read requests of one poll group, for one session."""

    def __init__(self, nodes: Sequence[Node], session: Session, traffic: Traffic) -> None:
        self._session = session
        self._traffic = traffic
        self._known = [node for node in nodes if node.is_known]
        self._unknown = tuple([node.point for node in nodes if not node.is_known])
        self._points = tuple([node.point for node in self._known]) + self._unknown
        self._chunks: list[_Chunk] = []
        self.start_over()

    def start_over(self) -> None:
        """Make the requests as large as the server says it allows."""
        self._split(self._session.limits.read)

    async def read(self) -> Columns:
        """Return the readings of all nodes.

        Raises:
            ConnectionLost: as :meth:`Session.ask`, or the answer is none to this request.
        """
        parts: list[Columns] = []
        done = 0
        while done < len(self._chunks):
            chunk = self._chunks[done]
            part = await self._read_chunk(chunk)
            if part is None:
                parts, done = [], 0
                self._split(len(chunk.points) // 2)
            else:
                parts.append(part)
                done += 1
        if self._unknown:
            parts.append(self._unknown_columns())
        return parts[0] if len(parts) == 1 else joined(parts, self._points)

    async def drop(self) -> None:
        """Nothing is left behind at the server."""

    async def _read_chunk(self, chunk: _Chunk) -> Columns | None:
        """Return ``None`` if the server wants fewer nodes in a request."""
        sent_ns, started = time.time_ns(), time.monotonic()
        try:
            with translated():
                try:
                    readings = read_response(await self._session.ask(_READ, chunk.body))
                except BadTooManyOperations:
                    if len(chunk.points) == 1:
                        raise
                    self._traffic.failed()
                    return None
            if len(readings) != len(chunk.points):
                raise ConnectionLost(f"{len(readings)} values instead of {len(chunk.points)}")
        except ConnectionLost:
            self._traffic.failed()
            raise
        received_ns = time.time_ns()
        self._traffic.answered(time.monotonic() - started, received_ns)
        read_ns = (sent_ns + received_ns) // 2
        received = Runs([(received_ns, len(readings))])
        return columns(chunk.points, readings, chunk.scales, read_ns, received)

    def _split(self, size: int) -> None:
        self._chunks = [
            _chunk(self._known[at : at + size]) for at in range(0, len(self._known), size)
        ]

    def _unknown_columns(self) -> Columns:
        now_ns, count = time.time_ns(), len(self._unknown)
        readings = list(repeat(_NO_SUCH_NAMESPACE, count))
        return columns(self._unknown, readings, [None] * count, now_ns, Runs([(now_ns, count)]))


def _chunk(nodes: Sequence[Node]) -> _Chunk:
    parameters = ua.ReadParameters(
        MaxAge=0,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[
            ua.ReadValueId(NodeId=node.node_id, AttributeId=AttributeIds.Value) for node in nodes
        ],
    )
    return _Chunk(
        points=tuple([node.point for node in nodes]),
        scales=[node.scale for node in nodes],
        body=struct_to_binary(parameters),
    )
