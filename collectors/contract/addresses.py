"""Addresses as engineers write them, parsed once for the API, the command line and the drivers."""

import re
from dataclasses import dataclass
from typing import Literal

from collectors.contract.messages import sentence

ModbusTable = Literal["coil", "discrete", "input", "holding"]

_MODBUS = re.compile(r"(coil|discrete|input|holding):(\d{1,5})(?:\.(\d{1,2}))?")


class AddressError(ValueError):
    """The address cannot be read; the sentence ``address.HINT`` says which forms are accepted."""

    def __init__(self, hint: str, **params: object) -> None:
        self.hint = hint
        self.params = params
        super().__init__(sentence("collectors.contract", f"address.{hint}", params))


@dataclass(frozen=True, slots=True)
class ModbusAddress:
    """A protocol address, 0-based (Modbus Application Protocol V1.1b3, 4.4)."""

    table: ModbusTable
    offset: int
    bit: int | None = None
    """Bit of a register, 0 = least significant."""

    @property
    def is_bit_table(self) -> bool:
        return self.table in ("coil", "discrete")


def parse_modbus_address(text: str) -> ModbusAddress:
    """Read ``holding:100``, ``input:7``, ``holding:100.3`` (a bit), ``coil:0`` or ``discrete:12``.

    Raises:
        AddressError: not one of these forms, or outside 0..65535.
    """
    match = _MODBUS.fullmatch(text)
    if match is None:
        raise AddressError("modbus_form")
    table, offset, bit = match[1], int(match[2]), match[3]
    if offset > 0xFFFF:
        raise AddressError("modbus_offset")
    if bit is not None and (table in ("coil", "discrete") or int(bit) > 15):
        raise AddressError("modbus_bit")
    return ModbusAddress(table, offset, None if bit is None else int(bit))  # type: ignore[arg-type]


# Device codes of the 3E/4E frame: SH-080008, "Accessible devices". Hexadecimal numbering is that
# of the Q, L and iQ-R series.
MC_BIT_DEVICES = {
    "SM": 10, "X": 16, "Y": 16, "M": 10, "L": 10, "F": 10, "V": 10, "B": 16,
    "SB": 16, "DX": 16, "DY": 16, "TS": 10, "TC": 10, "CS": 10, "CC": 10,
}  # fmt: skip
MC_WORD_DEVICES = {
    "SD": 10, "D": 10, "W": 16, "SW": 16, "TN": 10, "CN": 10, "R": 10, "ZR": 10,
}  # fmt: skip

_MC = re.compile(r"([A-Z]{1,2})([0-9A-F]{1,8})(?:\.([0-9A-F]))?")


@dataclass(frozen=True, slots=True)
class McAddress:
    """A MELSEC device and its number, already converted from the device's own radix."""

    device: str
    number: int
    bit: int | None = None
    """Bit of a word device, 0 = least significant."""

    @property
    def is_bit_device(self) -> bool:
        return self.device in MC_BIT_DEVICES


def parse_mc_address(text: str) -> McAddress:
    """Read ``D100``, ``M20``, ``X1F`` (hexadecimal), ``ZR393215`` (decimal) or ``D100.A`` (a bit).

    Raises:
        AddressError: unknown device, wrong digits for its radix, or a number over 24 bits.
    """
    match = _MC.fullmatch(text.upper())
    if match is None:
        raise AddressError("mc_form")
    # "B1F" is device B, but "DX1F" is DX: the longest known device name wins.
    letters, digits, bit = match[1], match[2], match[3]
    while letters and letters not in MC_BIT_DEVICES and letters not in MC_WORD_DEVICES:
        letters, digits = letters[:-1], letters[-1] + digits
    radix = MC_BIT_DEVICES.get(letters) or MC_WORD_DEVICES.get(letters)
    if radix is None:
        known = " ".join(sorted({*MC_BIT_DEVICES, *MC_WORD_DEVICES}))
        raise AddressError("mc_device", known=known)
    try:
        number = int(digits, radix)
    except ValueError:
        raise AddressError("mc_radix", device=letters, radix=radix, digits=digits) from None
    if number > 0xFFFFFF:
        raise AddressError("mc_number")
    if bit is not None and letters in MC_BIT_DEVICES:
        raise AddressError("mc_bit", device=letters)
    return McAddress(letters, number, None if bit is None else int(bit, 16))


_NODE_ID = re.compile(
    r"(?:ns=(\d{1,5});|nsu=([^;\x00-\x1f]{1,512});)?"
    r"(?:i=(\d{1,10})|s=.+|g=[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|b=[!-~]+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class OpcUaAddress:
    """A NodeId whose namespace may be known only once the server has been asked."""

    namespace_uri: str | None
    node_id: str
    """Without the namespace if ``namespace_uri`` names it."""


def parse_opcua_node_id(text: str) -> OpcUaAddress:
    """Read a NodeId such as ``ns=2;s=Line1.Temperature`` or ``nsu=urn:plant:line1;i=1001``.

    A namespace's index may change when the server is configured anew, its URI does not.

    Raises:
        AddressError: not a NodeId (OPC 10000-6, 5.3.1.10).
    """
    match = _NODE_ID.fullmatch(text)
    if match is None:
        raise AddressError("node_id")
    if int(match[1] or 0) > 0xFFFF or int(match[3] or 0) > 0xFFFFFFFF:
        raise AddressError("node_id_number")
    return OpcUaAddress(match[2], text.partition(";")[2] if match[2] else text)
