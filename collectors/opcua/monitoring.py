"""Create the monitored items of a subscription."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import BadTooManyOperations

from collectors.contract.config_opcua import OpcUaGroup
from collectors.opcua.nodes import Node
from collectors.opcua.session import Session
from collectors.opcua.values import BAD_NODE_ID_UNKNOWN
from collectors.runtime.driver import ConnectionLost

# OPC 10000-4, 7.22.2: BadMonitoredItemFilterInvalid and -Unsupported, BadFilterNotAllowed,
# BadDeadbandFilterInvalid. Some servers have no deadbands, and none has them for text.
_FILTER_CODES: Final = frozenset({0x8043_0000, 0x8044_0000, 0x8045_0000, 0x808E_0000})
_log = logging.getLogger(__name__)

Item = tuple[int, Node]
"""Client handle and node."""


async def create_items(
    session: Session, subscription_id: int, group: OpcUaGroup, items: Sequence[Item]
) -> dict[int, int]:
    """Monitor nodes; return the StatusCode of each one that the server refuses, by handle.

    Raises:
        UaStatusCodeError: the server refuses altogether.
        ConnectionLost: as :meth:`Session.call`.
    """
    known = [item for item in items if item[1].is_known]
    refused = {handle: BAD_NODE_ID_UNKNOWN for handle, node in items if not node.is_known}
    found = await _create(session, subscription_id, group, known)
    if group.server_deadband:
        again = [item for item in known if found.get(item[0]) in _FILTER_CODES]
        plain = replace(group, server_deadband=False)
        found = {handle: code for handle, code in found.items() if code not in _FILTER_CODES}
        found |= await _create(session, subscription_id, plain, again)
    return refused | found


async def _create(
    session: Session, subscription_id: int, group: OpcUaGroup, items: Sequence[Item]
) -> dict[int, int]:
    refused: dict[int, int] = {}
    kept: list[int] = []
    done, size = 0, session.limits.monitor
    while done < len(items):
        part = items[done : done + size]
        request = ua.CreateMonitoredItemsRequest()
        request.Parameters.SubscriptionId = ua.UInt32(subscription_id)
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        request.Parameters.ItemsToCreate = [_item(group, handle, node) for handle, node in part]
        try:
            answer = await session.call(request, ua.CreateMonitoredItemsResponse)
        except BadTooManyOperations:
            if len(part) == 1:
                raise
            size = len(part) // 2
            continue
        if len(answer.Results) != len(part):
            raise ConnectionLost(f"{len(answer.Results)} items instead of {len(part)}")
        for (handle, _), result in zip(part, answer.Results, strict=True):
            if result.StatusCode.is_good():
                kept.append(result.RevisedQueueSize)
            else:
                refused[handle] = int(result.StatusCode.value)
        done += len(part)
    if kept and min(kept) < group.changes_kept:
        facts = {"group": group.id, "asked": group.changes_kept, "kept": min(kept)}
        _log.warning("the server keeps fewer changes than asked", extra=facts)
    return refused


def _item(group: OpcUaGroup, handle: int, node: Node) -> ua.MonitoredItemCreateRequest:
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor.NodeId = node.node_id
    item.ItemToMonitor.AttributeId = AttributeIds.Value
    item.MonitoringMode = ua.MonitoringMode.Reporting
    wanted = item.RequestedParameters
    wanted.ClientHandle = ua.UInt32(handle)
    wanted.SamplingInterval = ua.Double(group.sampling_s * 1000)
    wanted.QueueSize = ua.UInt32(group.changes_kept)
    wanted.DiscardOldest = True
    if group.server_deadband and node.variable.raw_deadband > 0:
        wanted.Filter = ua.DataChangeFilter(
            Trigger=ua.DataChangeTrigger.StatusValue,
            DeadbandType=ua.UInt32(ua.DeadbandType.Absolute),
            DeadbandValue=ua.Double(node.variable.raw_deadband),
        )
    return item
