"""Addresses as engineers write them, parsed once for the API, the command line and the drivers."""

import re
import sys
from dataclasses import dataclass
from typing import Literal

from collectors.contract.messages import sentence

ModbusTable = Literal["coil", "discrete", "input", "holding"]

_MODBUS = re.compile(r"(coil|discrete|input|holding):(\d{1,5})(?:\.(\d{1,2}))?")
_MODBUS_ALIAS = re.compile(r"([0134])(\d{4,5})(?:\.(\d{1,2}))?")
_ALIAS_TABLES = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}


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

    Manuals count from 1 and put a digit for the table in front: their ``40101`` or ``400101`` is
    ``holding:100``, and is read as well.

    Raises:
        AddressError: not one of these forms, or outside 0..65535.
    """
    if match := _MODBUS.fullmatch(text):
        table, offset = match[1], int(match[2])
    elif match := _MODBUS_ALIAS.fullmatch(text):
        table, offset = _ALIAS_TABLES[match[1]], int(match[2]) - 1
    else:
        raise AddressError("modbus_form")
    bit = match[3]
    if not 0 <= offset <= 0xFFFF:
        raise AddressError("modbus_offset")
    if bit is not None and (table in ("coil", "discrete") or int(bit) > 15):
        raise AddressError("modbus_bit")
    return ModbusAddress(table, offset, None if bit is None else int(bit))  # type: ignore[arg-type]


_NODE_ID = re.compile(
    r"(?:ns=(\d{1,5});|nsu=([^;\x00-\x1f]{1,512});)?"
    r"(?:i=(\d{1,10})|s=.+|g=[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|b=(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==))",
    re.DOTALL,
)
"""Bytes are in base64; asyncua takes what is none for the bytes themselves."""


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
    if not match[2]:
        return OpcUaAddress(None, text)
    # A server's thousands of nodes have the same few namespaces.
    return OpcUaAddress(sys.intern(match[2]), text.partition(";")[2])
