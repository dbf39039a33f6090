"""What a collector file may say about Mitsubishi PLCs."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from collectors.contract.addresses import parse_mc_address
from collectors.contract.config_base import (
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


class McPoint(WordPoint):
    """One bit device, or one or more words of a word device (little-endian word order)."""

    address: Annotated[str, address_text(parse_mc_address)]
    type: Literal[NumberType, "bool", "string"] = "int16"
    length: Annotated[int, Field(ge=1, le=480)] = 1
    """Words of a string, two characters each."""

    @model_validator(mode="after")
    def _type_fits_device(self) -> Self:
        address = parse_mc_address(self.address)
        single_bit = address.is_bit_device or address.bit is not None
        if single_bit is not (self.type == "bool"):
            raise PydanticCustomError(
                "type_mismatch",
                "{address} cannot hold {type}",
                {"address": self.address, "type": self.type},
            )
        reject_overrun(self.address, address.number + self.words - 1, 0xFFFFFF)
        return self


class McDevice(Device):
    """A MELSEC PLC that answers MC protocol 3E frames in binary code."""

    host: Host
    port: Port = 5007
    series: Literal["Q", "L", "QnA", "iQ-L", "iQ-R"] = "Q"
    network: Annotated[int, Field(ge=0, le=255)] = 0
    station: Annotated[int, Field(ge=0, le=255)] = 0xFF
    """PC number of the frame; 255 is the directly connected CPU."""
    max_words: Annotated[int, Field(ge=1, le=960)] = 960
    max_gap: Annotated[int, Field(ge=0, le=480)] = 32
    points: Annotated[tuple[McPoint, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _points_fit_one_request(self) -> Self:
        reject_long_points(self.points, "max_words", self.max_words)
        return self


class McCollector(Collector):
    """Reads Mitsubishi PLCs."""

    protocol: Literal["mitsubishi_mc"]
    devices: Annotated[tuple[McDevice, ...], Field(min_length=1, max_length=200, strict=False)]
