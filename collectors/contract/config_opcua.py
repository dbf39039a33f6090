"""What a collector file may say about OPC UA servers."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from collectors.contract.addresses import check_opcua_node_id
from collectors.contract.config_base import Collector, Device, Point, address_text


class OpcUaPoint(Point):
    """One variable node; its type is the server's."""

    node_id: Annotated[str, address_text(check_opcua_node_id)]


class OpcUaDevice(Device):
    """An OPC UA server."""

    endpoint: Annotated[str, Field(pattern=r"^opc\.tcp://[^\s/@]+(/\S*)?$")]
    points: Annotated[tuple[OpcUaPoint, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _endpoint_has_a_host(self) -> Self:
        try:
            parts = urlsplit(self.endpoint)
            usable = bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise PydanticCustomError(
                "bad_endpoint", "{endpoint} has no host and port", {"endpoint": self.endpoint}
            )
        return self

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.endpoint).port or 4840


class OpcUaCollector(Collector):
    """Reads OPC UA servers."""

    protocol: Literal["opcua"]
    devices: Annotated[tuple[OpcUaDevice, ...], Field(min_length=1, max_length=200, strict=False)]
