"""Where a signal lives in a device: Modbus tables and OPC UA nodes; MELSEC: `mc_devices`."""

import re
from dataclasses import dataclass

_MODBUS = re.compile(r"(coil|discrete|input|holding):([0-9]{1,5})(?:\.([0-9]{1,2}))?")
_NODE_ID = re.compile(
    r"ns=([0-9]{1,5});(?:i=[0-9]{1,9}|s=[^\x00-\x1f]+|g=[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
)


class AddressError(ValueError):
    """The address cannot be used; ``reason`` is the code of the sentence that says why."""

    def __init__(self, reason: str, **params: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.params = params


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A first word or bit: ``area`` is a Modbus table or a MELSEC device, ``start`` counts in it.

    ``bit`` is set for one bit of a word, 0 = least significant.
    """

    area: str
    start: int
    bit: int | None = None


def parse_modbus_address(text: str) -> Place:
    """Read ``holding:100``, ``input:7``, ``holding:100.3`` (a bit), ``coil:0``, ``discrete:12``.

    Raises:
        AddressError: none of these forms, or over 65535.
    """
    match = _MODBUS.fullmatch(text)
    if match is None:
        raise AddressError("modbus_form")
    table, start, bit = match[1], int(match[2]), None if match[3] is None else int(match[3])
    if start > 0xFFFF:
        raise AddressError("modbus_offset")
    if bit is not None and (bit > 15 or table in ("coil", "discrete")):
        raise AddressError("modbus_bit")
    return Place(area=table, start=start, bit=bit)


def check_node_id(text: str, namespaces: range | None = None) -> None:
    """Accept ``ns=2;s=Line1.Temperature``, ``ns=2;i=1001`` or ``ns=2;g=…``.

    Raises:
        AddressError: no node id, or not in one of the ``namespaces``; the first two belong to OPC
            UA and to the server.
    """
    match = _NODE_ID.fullmatch(text)
    if match is None or int(match[1]) < 2:
        raise AddressError("node_id")
    if namespaces is not None and int(match[1]) not in namespaces:
        raise AddressError("namespace", last=namespaces.stop - 1)
