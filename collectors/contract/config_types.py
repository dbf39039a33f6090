"""The three kinds of configuration as one type each, for all that serves every protocol."""

from collectors.contract.config_mc import McCollector, McDevice, McPoint
from collectors.contract.config_modbus import ModbusCollector, ModbusDevice, ModbusPoint
from collectors.contract.config_opcua import OpcUaCollector, OpcUaDevice, OpcUaPoint

AnyCollector = ModbusCollector | OpcUaCollector | McCollector
AnyDevice = ModbusDevice | OpcUaDevice | McDevice
AnyPoint = ModbusPoint | OpcUaPoint | McPoint
