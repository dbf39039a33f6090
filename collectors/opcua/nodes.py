"""The nodes of a device as the file names them and as the server knows them now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncua import ua

from collectors.contract.addresses import OpcUaAddress, parse_opcua_node_id
from collectors.contract.config_opcua import OpcUaDevice, OpcUaPoint
from collectors.opcua.values import Scale
from collectors.runtime.values import scaler


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What the file says about one point, without what only the runtime needs.

    Attributes:
        point: ``DEVICE/POINT``.
        factor, offset: ``stored value = raw · factor + offset``.
        raw_deadband: In the server's units; 0 for none.
    """

    point: str
    address: OpcUaAddress
    factor: float
    offset: float
    raw_deadband: float


@dataclass(frozen=True, slots=True)
class Node:
    """A variable in one session, whose server has these namespaces."""

    variable: Variable
    namespaces: Sequence[str]
    scale: Scale

    @property
    def point(self) -> str:
        return self.variable.point

    @property
    def is_known(self) -> bool:
        """Tell whether the server has the namespace."""
        uri = self.variable.address.namespace_uri
        return uri is None or uri in self.namespaces

    @property
    def node_id(self) -> ua.NodeId | None:
        """Made anew each time, as it is needed once; ``None`` if there is no such namespace."""
        return resolve(self.variable.address, self.namespaces)


_UNSCALED = 1.0


def variables_of(device: OpcUaDevice) -> dict[str, list[Variable]]:
    """Return the variables of each group that has points."""
    groups: dict[str, list[Variable]] = {}
    for point in device.points:
        groups.setdefault(point.group, []).append(_variable(device.id, point))
    return groups


def node_of(variable: Variable, namespaces: Sequence[str]) -> Node:
    """Return a variable by the server's present namespaces."""
    return Node(variable, namespaces, scaler(variable.factor, variable.offset))


def resolve(address: OpcUaAddress, namespaces: Sequence[str]) -> ua.NodeId | None:
    """Return the NodeId by the server's present namespaces, or ``None`` if it has no such one."""
    if address.namespace_uri is None:
        return ua.NodeId.from_string(address.node_id)
    if address.namespace_uri not in namespaces:
        return None
    index = namespaces.index(address.namespace_uri)
    return ua.NodeId.from_string(f"ns={index};{address.node_id}")


def index_of(address: OpcUaAddress) -> int:
    """Return the namespace that an address names by its index; 0, which is fixed, if none."""
    if address.namespace_uri is not None or not address.node_id.startswith("ns="):
        return 0
    return int(address.node_id[3:].partition(";")[0])


def _variable(device_id: str, point: OpcUaPoint) -> Variable:
    # The same objects for thousands of points: each number of its own takes 24 bytes.
    deadband = point.deadband and point.scale and abs(point.deadband / point.scale)
    return Variable(
        point=f"{device_id}/{point.name}",
        address=parse_opcua_node_id(point.node_id),
        factor=_UNSCALED if point.scale == _UNSCALED else point.scale,
        offset=point.offset or 0.0,
        raw_deadband=deadband or 0.0,
    )
