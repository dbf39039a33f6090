"""Ask now and then for subscribed values, because a server may forget to tell of some.

A subscription that is alive proves only that the server has something to say about the rest of its
items: one that it has lost, after a download to the device behind it, say, would stay good for
ever. So a few nodes are read each second, one after the other, and what the server gives must be
what it has told, or be told soon.
"""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from collectors.contract.points import Quality
from collectors.opcua.nodes import Node
from collectors.opcua.session import Session
from collectors.opcua.values import Reading, reading_of
from collectors.runtime.driver import ConnectionLost

_PAUSE_S: Final = 1.0
_NODES: Final = 50
"""In one request: 5,000 nodes take 100 s and a thousandth of a processor."""
_REASON: Final = 0xFFFF_0000
"""Of a StatusCode; the other half holds flags of the moment."""


class Auditor:
    """Belongs to one subscription.

    Args:
        max_age_s: How old a value the server may give; its device need not be asked for each.
        patience_s: So long a change may take until it is told.
    """

    def __init__(
        self, nodes: Sequence[Node], session: Session, *, max_age_s: float, patience_s: float
    ) -> None:
        self._nodes = nodes
        self._session = session
        self._max_age_ms = 1000 * max_age_s
        self._patience_s = patience_s
        self._next_mono = time.monotonic() + _PAUSE_S
        self._position = 0
        self._suspects: dict[int, tuple[Reading, float]] = {}
        """What was told of nodes that hold something else, and since when we know it."""
        self._is_refused = False

    async def untold(self, told: Mapping[int, Reading], arrived: Collection[int]) -> int:
        """Read a few nodes; return how many changes should have been told, 0 if it is not time.

        Args:
            told: The newest reading of each handle.
            arrived: Handles of which something newer is there.

        Raises:
            ConnectionLost: as :meth:`Session.call`.
        """
        now = time.monotonic()
        if now < self._next_mono or self._is_refused:
            return 0
        self._next_mono = now + _PAUSE_S
        handles = [handle for handle in self._chosen() if handle in told and handle not in arrived]
        found = await self._read(handles) if handles else []
        late = 0
        for handle, reading in zip(handles, found, strict=False):
            known = told[handle]
            if self._agree(handle, known, reading):
                self._suspects.pop(handle, None)
                continue
            suspected, since_mono = self._suspects.get(handle, (None, now))
            if suspected is not known:
                self._suspects[handle] = (known, now)
            elif now - since_mono > self._patience_s:
                late += 1
        return late

    def _chosen(self) -> list[int]:
        """Return whom we suspect, and the next ones in turn."""
        size = min(_NODES, self._session.limits.read)
        chosen = dict.fromkeys(list(self._suspects)[:size])
        for _ in range(min(size - len(chosen), len(self._nodes))):
            chosen[self._position] = None
            self._position = (self._position + 1) % len(self._nodes)
        return list(chosen)

    async def _read(self, handles: Sequence[int]) -> list[Reading]:
        request = ua.ReadRequest()
        request.Parameters.MaxAge = ua.Double(self._max_age_ms)
        request.Parameters.NodesToRead = [
            ua.ReadValueId(NodeId=self._nodes[handle].node_id, AttributeId=AttributeIds.Value)
            for handle in handles
        ]
        try:
            answer = await self._session.call(request, ua.ReadResponse)
        except UaStatusCodeError:
            self._is_refused = True  # it has subscriptions only
            return []
        except ConnectionLost as lost:
            if lost.quality is not Quality.BAD_TIMEOUT:
                raise
            # Reading is slow there, and telling need not be: whether it lives is seen by that.
            self._is_refused = True
            return []
        return [reading_of(data) for data in answer.Results]

    def _agree(self, handle: int, told: Reading, found: Reading) -> bool:
        (a, told_status, _), (b, status, _) = told, found
        if (told_status ^ status) & _REASON:
            return False
        if a == b or isinstance(a, str) or isinstance(b, str) or a is None or b is None:
            return a == b
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        # What is within a deadband need not be told.
        return abs(a - b) <= self._nodes[handle].variable.raw_deadband
