"""What a collector file may say about Modbus devices."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from collectors.contract.addresses import parse_modbus_address
from collectors.contract.config_base import (
    ByteOrder,
    Collector,
    Device,
    Host,
    NumberType,
    Port,
    WordPoint,
    address_text,
    reject_long_points,
    reject_overrun,
)


class ModbusPoint(WordPoint):
    """A coil, a discrete input, or one or more registers."""

    address: Annotated[str, address_text(parse_modbus_address)]
    type: Literal[NumberType, "bool", "string"] = "uint16"
    order: ByteOrder = "ABCD"
    length: Annotated[int, Field(ge=1, le=125)] = 1
    """Registers of a string, two characters each."""

    @model_validator(mode="after")
    def _type_fits_table(self) -> Self:
        address = parse_modbus_address(self.address)
        single_bit = address.is_bit_table or address.bit is not None
        if single_bit is not (self.type == "bool"):
            raise PydanticCustomError(
                "type_mismatch",
                "{address} cannot hold {type}",
                {"address": self.address, "type": self.type},
            )
        reject_overrun(self.address, address.offset + self.words - 1, 0xFFFF)
        return self


class ModbusDevice(Device):
    """A Modbus TCP server, or one unit behind a gateway."""

    host: Host
    port: Port = 502
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    max_bits: Annotated[int, Field(ge=1, le=2000)] = 2000
    max_gap: Annotated[int, Field(ge=0, le=125)] = 16
    """Unused registers that one request may span to save a second request."""
    points: Annotated[tuple[ModbusPoint, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _points_fit_one_request(self) -> Self:
        reject_long_points(self.points, "max_registers", self.max_registers)
        return self


class ModbusCollector(Collector):
    """Reads Modbus TCP devices."""

    protocol: Literal["modbus_tcp"]
    devices: Annotated[tuple[ModbusDevice, ...], Field(min_length=1, max_length=200, strict=False)]
