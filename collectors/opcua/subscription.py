"""Have the server tell the changes of a group's nodes, and notice when it no longer does.

A value is repeated as good only on the strength of a message that has come for its subscription
since the last time: changes, or a keep-alive, which says that there are none. Where neither comes,
the subscription is made anew, and if that does not help, the connection.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from collectors.contract.columns import Columns, Runs
from collectors.contract.commands import MAX_FACTOR
from collectors.contract.config_opcua import OpcUaGroup
from collectors.contract.points import Quality
from collectors.opcua.auditing import Auditor
from collectors.opcua.codec import Publication
from collectors.opcua.monitoring import create_items
from collectors.opcua.nodes import Node
from collectors.opcua.plan import MAX_NODES
from collectors.opcua.publishing import Publisher
from collectors.opcua.session import Session
from collectors.opcua.values import OVERFLOW, Reading, columns, joined
from collectors.runtime.driver import ConnectionLost, Traffic

_LIFETIME_S: Final = 60.0
"""A subscription that we could not delete should not burden the server for long."""
_RETRY_S: Final = 60.0
"""Somebody may have loaded a new program into the device meanwhile."""
_SILENT_KEEP_ALIVES: Final = 1.5
_PATIENCE_S: Final = 5.0
"""A server may look for changes less often than it was asked to."""
_MIN_HELD: Final = 10_000
"""Changes that wait to be fetched."""
_WAITING: Final = 0x8032_0000
"""BadWaitingForInitialData."""
_LAST_NUMBER: Final = 0xFFFF_FFFF

_log = logging.getLogger(__name__)


class SubscribedGroup:
    """One subscription in one session."""

    def __init__(
        self,
        group: OpcUaGroup,
        nodes: Sequence[Node],
        session: Session,
        publisher: Publisher,
        traffic: Traffic,
    ) -> None:
        self._group = group
        self._nodes = nodes
        self._session = session
        self._publisher = publisher
        self._traffic = traffic
        self._points = tuple([node.point for node in nodes])
        self._scales = [node.scale for node in nodes]
        self._handles = list(range(len(nodes)))
        # Also while the interval is stretched by a command.
        messages = MAX_FACTOR * math.ceil(group.interval_s / group.publishing_s)
        self._held_limit = max(_MIN_HELD, messages * group.changes_kept * len(nodes))
        self._subscription_id: int | None = None
        self._unsent: list[Columns] = []
        self._patience_factor = 1
        self._start_anew()

    def start_over(self) -> None:
        """Try the nodes again that the server has refused."""
        self._retry_mono = 0.0

    async def read(self) -> Columns:
        """Return what has come since the last call, and the other values if they are proven.

        Raises:
            ConnectionLost: the server does not send what was subscribed, or the session broke.
        """
        gap: list[Columns] = []
        if self._subscription_id is not None and (trouble := await self._find_trouble()):
            facts = {"first": self._points[0], "group": self._group.id, "reason": trouble}
            _log.warning("subscription is made anew", extra=facts)
            self._unsent.append(self._fetched())
            gap.append(self._stale())
            await self.drop()
        try:
            if self._subscription_id is None:
                await self._subscribe()
            elif self._refused and time.monotonic() >= self._retry_mono:
                await self._monitor(list(self._refused))
        except UaStatusCodeError as exc:
            raise ConnectionLost(f"subscription refused: {exc}") from exc
        parts, self._unsent = [*self._unsent, *gap, self._fetched()], []
        return parts[0] if len(parts) == 1 else joined(parts)

    def leftover(self) -> Columns:
        """Return what has come and was not fetched before the session broke."""
        parts, self._unsent = self._unsent, []
        with contextlib.suppress(ConnectionLost):
            parts.append(self._fetched(changes_only=True))
        return joined(parts)

    async def drop(self) -> None:
        """Delete the subscription at the server.

        Raises:
            ConnectionLost: the session broke.
        """
        number, self._subscription_id = self._subscription_id, None
        if number is None:
            return
        self._publisher.remove(number)
        self._traffic.lost_changes += self._held
        self._start_anew()
        request = ua.DeleteSubscriptionsRequest()
        request.Parameters.SubscriptionIds = [ua.UInt32(number)]
        with contextlib.suppress(UaStatusCodeError):  # it is gone already
            await self._session.call(request, ua.DeleteSubscriptionsResponse)

    def _start_anew(self) -> None:
        self._arrived: deque[tuple[Publication, int]] = deque()
        self._held = 0
        self._current: dict[int, Reading] = {}
        self._refused: dict[int, int] = {}
        self._retry_mono = 0.0
        self._next_number: int | None = None
        self._heard_ns: int | None = None
        """Of the newest message since the last fetch."""
        self._heard_mono = 0.0
        self._silence_limit_s = 0.0
        self._trouble = ""
        self._auditor: Auditor | None = None
        self._missing: set[int] = set()
        self._complete: asyncio.Future[None] | None = None

    async def _subscribe(self) -> None:
        interval_ms = self._group.publishing_s * 1000
        keep_alives = max(1, int(self._group.interval_s / self._group.publishing_s))
        lifetime = max(3 * keep_alives, math.ceil(_LIFETIME_S / self._group.publishing_s))
        request = ua.CreateSubscriptionRequest()
        request.Parameters.RequestedPublishingInterval = ua.Double(interval_ms)
        request.Parameters.RequestedMaxKeepAliveCount = ua.UInt32(keep_alives)
        request.Parameters.RequestedLifetimeCount = ua.UInt32(lifetime)
        request.Parameters.MaxNotificationsPerPublish = ua.UInt32(MAX_NODES)
        request.Parameters.PublishingEnabled = True
        made = (await self._session.call(request, ua.CreateSubscriptionResponse)).Parameters
        publishing_s = made.RevisedPublishingInterval / 1000
        patience_s = publishing_s + self._session.timeout_s
        if publishing_s > 1.01 * self._group.publishing_s:
            facts = {"group": self._group.id, "interval_s": publishing_s}
            _log.warning("the server sends less often than asked", extra=facts)
        self._silence_limit_s = (
            _SILENT_KEEP_ALIVES * publishing_s * made.RevisedMaxKeepAliveCount
            + self._session.timeout_s
        )
        self._subscription_id = made.SubscriptionId
        self._missing = set(self._handles)
        self._complete = asyncio.get_running_loop().create_future()
        self._heard_mono = time.monotonic()
        self._publisher.add(made.SubscriptionId, self._take)
        await self._monitor(self._handles)
        self._auditor = Auditor(
            self._nodes,
            self._session,
            max_age_s=self._group.sampling_s,
            patience_s=self._patience_factor
            * max(_PATIENCE_S, 3 * (publishing_s + self._group.sampling_s) + patience_s),
        )
        is_complete = await self._session.wait_for(self._complete, patience_s)
        if not is_complete and not self._arrived:
            raise ConnectionLost("a new subscription sends no values", Quality.BAD_TIMEOUT)

    async def _monitor(self, handles: Sequence[int]) -> None:
        assert self._subscription_id is not None
        items = [(handle, self._nodes[handle]) for handle in handles]
        refused = await create_items(self._session, self._subscription_id, self._group, items)
        self._refused = refused
        self._retry_mono = time.monotonic() + _RETRY_S
        self._note_present(refused)

    def _take(self, publication: Publication, received_ns: int) -> None:
        self._heard_mono, self._heard_ns = time.monotonic(), received_ns
        if publication.ended is not None:
            self._trouble = f"the server has ended it with {publication.ended:#x}"
            return
        number = publication.sequence_number
        if self._next_number is not None and number != self._next_number:
            self._trouble = f"notification {number} came instead of {self._next_number}"
            self._traffic.lost_changes += 1
        if publication.is_keep_alive:
            self._next_number = number
        else:
            self._next_number = 1 if number == _LAST_NUMBER else number + 1
            self._hold(publication, received_ns)

    def _hold(self, publication: Publication, received_ns: int) -> None:
        self._arrived.append((publication, received_ns))
        self._held += len(publication.handles)
        while self._held > self._held_limit and len(self._arrived) > 1:
            dropped, _ = self._arrived.popleft()
            self._held -= len(dropped.handles)
            self._traffic.lost_changes += len(dropped.handles)
        if self._missing:
            self._note_present(publication.handles)

    def _note_present(self, handles: Iterable[int]) -> None:
        self._missing.difference_update(handles)
        if not self._missing and self._complete is not None and not self._complete.done():
            self._missing = set()  # an emptied set keeps its size
            self._complete.set_result(None)

    async def _find_trouble(self) -> str:
        if self._trouble:
            return self._trouble
        silent_s = time.monotonic() - self._heard_mono
        if silent_s > self._silence_limit_s:
            return f"nothing for {silent_s:.1f} s"
        return await self._untold()

    async def _untold(self) -> str:
        if self._auditor is None:
            return ""
        arrived = {handle for publication, _ in self._arrived for handle in publication.handles}
        late = await self._auditor.untold(self._current, arrived)
        if not late:
            return ""
        # A server that cannot do better should not be asked for the same again and again.
        self._patience_factor *= 2
        return f"{late} changes were never told"

    def _fetched(self, *, changes_only: bool = False) -> Columns:
        arrived, self._arrived = self._arrived, deque()
        change_count, self._held = self._held, 0
        handles: list[int] = []
        readings: list[Reading] = []
        received: list[tuple[int, int]] = []
        for publication, received_ns in arrived:
            handles += publication.handles
            # Without a time of its own, a change has that of its message.
            readings += [of if of[2] else (*of[:2], received_ns) for of in publication.readings]
            received.append((received_ns, len(publication.handles)))
            self._current.update(zip(publication.handles, publication.readings, strict=True))
        now_ns = self._heard_ns or time.time_ns()
        if not changes_only:
            self._add_unchanged(handles, readings, received)
        try:
            fetched = self._columns(handles, readings, now_ns, received)
        except IndexError:
            raise ConnectionLost("the server sends an item that was not asked for") from None
        if fetched.codes:
            overflows = [code for code in fetched.codes[:change_count] if _has_overflow(code)]
            self._traffic.lost_changes += len(overflows)
        return fetched

    def _add_unchanged(
        self, handles: list[int], readings: list[Reading], received: list[tuple[int, int]]
    ) -> None:
        heard_ns, self._heard_ns = self._heard_ns, None
        changed = set(handles)
        if heard_ns is not None and len(changed) < len(self._current):
            same = [h for h in self._handles if h in self._current and h not in changed]
            handles += same
            readings += [self._current[handle] for handle in same]
            received.append((heard_ns, len(same)))
        if self._refused or len(self._current) < len(self._handles):
            now_ns = time.time_ns()
            absent = [handle for handle in self._handles if handle not in self._current]
            handles += absent
            readings += [(None, self._refused.get(h, _WAITING), now_ns) for h in absent]
            received.append((now_ns, len(absent)))

    def _columns(
        self,
        handles: list[int],
        readings: list[Reading],
        read_ns: int,
        received: list[tuple[int, int]],
    ) -> Columns:
        if handles == self._handles:
            return columns(self._points, readings, self._scales, read_ns, Runs(received))
        points = tuple([self._points[handle] for handle in handles])
        scales = [self._scales[handle] for handle in handles]
        return columns(points, readings, scales, read_ns, Runs(received))

    def _stale(self) -> Columns:
        now_ns, count = time.time_ns(), len(self._points)
        return Columns(
            points=self._points,
            values=[None] * count,
            qualities=bytes((Quality.STALE,)) * count,
            source_ns=Runs([(now_ns, count)]),
            received_ns=Runs([(now_ns, count)]),
        )


def _has_overflow(status: int) -> bool:
    return status & OVERFLOW == OVERFLOW
