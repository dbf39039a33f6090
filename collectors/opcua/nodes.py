"""The nodes of a device as the file names them and as the server knows them now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncua import ua

from collectors.contract.addresses import OpcUaAddress, parse_opcua_node_id
from collectors.contract.config_opcua import OpcUaDevice, OpcUaPoint
from collectors.opcua.plan import points_of
from collectors.opcua.values import Scale
from collectors.runtime.values import scaler


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One point.

    Attributes:
        point: ``DEVICE/POINT``.
        node_id: ``None`` if the server has no namespace of that URI.
        raw_deadband: In the server's units; 0 for none.
    """

    point: str
    node_id: ua.NodeId | None
    scale: Scale
    raw_deadband: float


def nodes_of(device: OpcUaDevice, namespaces: Sequence[str]) -> dict[str, list[Node]]:
    """Return the nodes of each group that has points."""
    return {
        group_id: [_node(device.id, point, namespaces) for point in points]
        for group_id, points in points_of(device).items()
    }


def resolve(address: OpcUaAddress, namespaces: Sequence[str]) -> ua.NodeId | None:
    """Return the NodeId by the server's present namespaces, or ``None`` if it has no such one."""
    if address.namespace_uri is None:
        return ua.NodeId.from_string(address.node_id)
    if address.namespace_uri not in namespaces:
        return None
    index = namespaces.index(address.namespace_uri)
    return ua.NodeId.from_string(f"ns={index};{address.node_id}")


def _node(device_id: str, point: OpcUaPoint, namespaces: Sequence[str]) -> Node:
    deadband = point.deadband or 0.0
    return Node(
        point=f"{device_id}/{point.name}",
        node_id=resolve(parse_opcua_node_id(point.node_id), namespaces),
        scale=scaler(point.scale, point.offset),
        raw_deadband=abs(deadband / point.scale) if point.scale else 0.0,
    )
