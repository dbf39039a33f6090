"""The table of protocols: what a collector file may say for each, for all that serves every one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from collectors.contract.addresses import parse_modbus_address, parse_opcua_node_id
from collectors.contract.addresses_mc import parse_mc_address
from collectors.contract.config_mc import McCollector, McDevice, McPoint
from collectors.contract.config_modbus import ModbusCollector, ModbusDevice, ModbusPoint
from collectors.contract.config_opcua import OpcUaCollector, OpcUaDevice, OpcUaPoint

AnyCollector = ModbusCollector | OpcUaCollector | McCollector
AnyDevice = ModbusDevice | OpcUaDevice | McDevice
AnyPoint = ModbusPoint | OpcUaPoint | McPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolTypes:
    """What belongs to one word for ``protocol``.

    Attributes:
        word: The design document's word, in a heartbeat's ``protocol_type`` and in the API.
        parse_address: Of a point; raises ``AddressError``.
    """

    word: str
    collector: type[AnyCollector]
    point: type[AnyPoint]
    parse_address: Callable[[str], object]


PROTOCOLS: Mapping[str, ProtocolTypes] = {
    "modbus_tcp": ProtocolTypes(
        word="modbus",
        collector=ModbusCollector,
        point=ModbusPoint,
        parse_address=parse_modbus_address,
    ),
    "opcua": ProtocolTypes(
        word="opcua",
        collector=OpcUaCollector,
        point=OpcUaPoint,
        parse_address=parse_opcua_node_id,
    ),
    "mitsubishi_mc": ProtocolTypes(
        word="mitsubishi",
        collector=McCollector,
        point=McPoint,
        parse_address=parse_mc_address,
    ),
}
