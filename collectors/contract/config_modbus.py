"""What a collector file may say about Modbus devices."""

import ssl
from dataclasses import dataclass
from typing import Annotated, Literal

from collectors.contract.addresses import ModbusAddress, parse_modbus_address
from collectors.contract.config_base import (
    BcdType,
    ByteOrder,
    Collector,
    Device,
    Host,
    NumberType,
    Port,
    SmallType,
    WordPoint,
    WritablePlace,
    address_text,
    reject_long_points,
    reject_overlapping_writables,
    reject_overrun,
)
from collectors.contract.config_files import ReadableFile, SecretFile
from collectors.contract.limits import Fault, Limits, Rejected, Strict

Framing = Literal["tcp", "rtu_over_tcp", "tls"]
LongOrder = Literal[
    "ABCDEFGH", "BADCFEHG", "CDABGHEF", "DCBAHGFE", "EFGHABCD", "FEHGBADC", "GHEFCDAB", "HGFEDCBA"
]
"""Order of the bytes of a 64-bit value on the wire, where the four letters do not say it."""

_BITS_PER_REGISTER = 16
_LONG_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusPoint(WordPoint):
    """A coil, a discrete input, one or more registers, or one bit of a register."""

    address: Annotated[str, address_text(parse_modbus_address)]
    """``coil:``, ``discrete:``, ``input:`` or ``holding:`` and the offset from 0 on; a bit of a
    register as ``holding:7.3``."""
    type: Literal[NumberType, BcdType, SmallType, "bool", "string"] = "uint16"
    """How the registers are understood; ``bool`` for coils, discrete inputs and bits."""
    order: Literal[ByteOrder, LongOrder] = "ABCD"
    """Bytes as they come over the wire, A the most significant; ``CDAB``: low word first."""
    length: Annotated[int, Limits(ge=1, le=125)] = 1
    """Registers of a string, two characters each."""

    @property
    def place(self) -> ModbusAddress:
        return parse_modbus_address(self.address)

    def __post_init__(self) -> None:
        WordPoint.__post_init__(self)
        address = self.place
        named = {"address": self.address, "type": self.type}
        single_bit = address.is_bit_table or address.bit is not None
        if single_bit is not (self.type == "bool"):
            raise Rejected(Fault("type_mismatch", named))
        if self.writable and address.table in ("discrete", "input"):
            raise Rejected(Fault("read_only_table", named))
        if len(self.order) == _LONG_BYTES and 2 * self.words != _LONG_BYTES:
            params = {"order": self.order, "type": self.type, "bytes": 2 * self.words}
            raise Rejected(Fault("long_order", params))
        reject_overrun(self.address, address.offset + self.words - 1, 0xFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles(Strict):
    """Certificates of Modbus/TCP Security, all PEM."""

    ca: ReadableFile
    """Whom the device's certificate must come from."""
    cert: ReadableFile
    """Ours."""
    key: SecretFile
    """Private key of ours."""
    server_name: Host | None = None
    """Name in the device's certificate, where it is not ``host``."""

    def __post_init__(self) -> None:
        try:
            self.context()
        except (ssl.SSLError, OSError) as exc:
            params = {"reason": getattr(exc, "reason", None) or exc.strerror or str(exc)}
            raise Rejected(Fault("bad_certificate", params)) from None

    def context(self) -> ssl.SSLContext:
        """Return what a connection needs; Modbus/TCP Security wants TLS 1.2 or newer (V3.6, 8).

        Raises:
            OSError: a file is missing or no certificate (``ssl.SSLError``), or the key is not its.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.cert, self.key)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusDevice(Device):
    """A Modbus server, or one unit behind a gateway.

    Devices with the same host and port are units behind one gateway and share its connections.
    """

    host: Host
    """Address or name."""
    port: Port = 502
    """TCP port; 802 for Modbus/TCP Security."""
    framing: Framing = "tcp"
    """``rtu_over_tcp`` for serial servers that hand on RTU frames, ``tls`` for Modbus/TCP
    Security."""
    tls: TlsFiles | None = None
    """Certificates, with ``framing = "tls"`` only."""
    unit_id: Annotated[int, Limits(ge=0, le=255)] = 1
    """Station behind a gateway; many devices without units want 1 or 255."""
    accept_any_unit: bool = False
    """Accept answers that carry another unit id, as some devices without units send."""
    connections: Annotated[int, Limits(ge=1, le=8)] = 2
    """TCP connections that a gateway with several units allows. Of two or more the last one is
    kept for units that do not answer, so that they do not delay the others."""
    max_registers: Annotated[int, Limits(ge=1, le=125)] = 125
    """Registers of one request."""
    max_bits: Annotated[int, Limits(ge=1, le=2000)] = 2000
    """Coils or discrete inputs of one request."""
    max_gap: Annotated[int, Limits(ge=0, le=125)] = 16
    """Unused registers that one request may span to save a second request."""
    min_request_gap_s: Annotated[float, Limits(ge=0, le=10, allow_inf_nan=False)] = 0.0
    """Pause between an answer and the next request on the same connection."""
    points: Annotated[tuple[ModbusPoint, ...], Limits(min_length=1, strict=False)]
    """What is read of it."""

    def __post_init__(self) -> None:
        Device.__post_init__(self)
        reject_long_points(self.points, "max_registers", self.max_registers)
        reject_overlapping_writables(
            [_writable_place(i, point) for i, point in enumerate(self.points) if point.writable]
        )
        if self.framing == "tls" and self.tls is None:
            raise Rejected(Fault("tls_needed"))
        if self.framing != "tls" and self.tls is not None:
            raise Rejected(Fault("key_needs", {"key": "tls", "needed": 'framing = "tls"'}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusCollector(Collector):
    """Reads Modbus devices."""

    protocol: Literal["modbus_tcp"]
    """Decides which keys devices and points have."""
    devices: Annotated[tuple[ModbusDevice, ...], Limits(min_length=1, max_length=200, strict=False)]
    """What it reads; one process reads all of them."""

    def __post_init__(self) -> None:
        Collector.__post_init__(self)
        first: dict[tuple[str, int], ModbusDevice] = {}
        for device in self.devices:
            other = first.setdefault((device.host, device.port), device)
            for key in ("framing", "tls", "connections", "min_request_gap_s"):
                if getattr(device, key) != getattr(other, key):
                    params = {"a": other.id, "b": device.id, "key": key}
                    where = {"host": device.host, "port": device.port}
                    raise Rejected(Fault("different_gateway", {**params, **where}))


def _writable_place(index: int, point: ModbusPoint) -> WritablePlace:
    """Return the bits that a write changes, so that two bits of a register do not overlap."""
    address = point.place
    start, count = address.offset, 1
    if not address.is_bit_table:
        start = _BITS_PER_REGISTER * address.offset + (address.bit or 0)
        count = _BITS_PER_REGISTER * point.words if address.bit is None else 1
        if "int8" in point.type:
            start, count = start + (0 if point.type.endswith("l") else 8), 8
    return WritablePlace(
        point=point.name, index=index, area=address.table, start=start, count=count
    )
