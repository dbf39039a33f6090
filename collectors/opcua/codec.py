"""Decode the answers that carry values, several times as fast as asyncua. Pure.

OPC UA Binary, OPC 10000-6, 5.2. Only what servers send all the time is decoded here: scalars with a
status and times, in a plain ReadResponse or DataChangeNotification. All else, from an array to a
diagnostic, goes through asyncua's own decoder; both give the same readings.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final, TypeVar

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from collectors.opcua.values import Reading, reading_of, time_ns


class DamagedAnswer(ValueError):
    """The bytes are not what OPC 10000-6 says, so none of them can be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What one PublishResponse brings.

    Attributes:
        sequence_number: Of the notifications; of a keep-alive the next one that is to come.
        handles: Client handle of each notification, in the server's order.
        readings: What each of them says.
        ended: StatusCode with which the server gives up the subscription, or ``None``.
        is_keep_alive: There is nothing new, and that is the news.
    """

    subscription_id: int
    sequence_number: int
    handles: array[int] = field(default_factory=lambda: array("I"))
    readings: list[Reading] = field(default_factory=list)
    ended: int | None = None
    is_keep_alive: bool = False


# NodeIds of four bytes (OPC 10000-6, 5.2.2.9) with the numbers of Annex A.
_READ_RESPONSE: Final = b"\x01\x00" + (634).to_bytes(2, "little")
_PUBLISH_RESPONSE: Final = b"\x01\x00" + (829).to_bytes(2, "little")
_DATA_CHANGE: Final = b"\x01\x00" + (811).to_bytes(2, "little") + b"\x01"
_SERVICE_FAULT: Final = ua.NodeId(ua.Int32(397))

# TypeId, time and handle, result, no diagnostics, no strings, no further header (10000-4, 7.33).
_HEADER: Final = Struct("<4s12xIBi3s")
_COUNT: Final = Struct("<i")
_HANDLE: Final = Struct("<I")
_SUBSCRIPTION: Final = Struct("<Ii")
_MESSAGE: Final = Struct("<?I8xi")
_NOTIFICATION: Final = Struct("<5sii")

_FORMATS: Final = {
    1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d",
}  # fmt: skip
"""VariantType and how it is packed: Boolean, SByte to UInt64, Float, Double (10000-6, 5.1.2)."""
_STRING: Final = 12

_VALUE, _STATUS, _SOURCE, _SERVER = 0x01, 0x02, 0x04, 0x08
_TAIL: Final = ((_STATUS, "I"), (_SOURCE, "q"), (0x10, "2x"), (_SERVER, "q"), (0x20, "2x"))
"""What may follow the value, in the order of the wire; picoseconds are skipped (5.2.2.17).
asyncua 2.1.0 expects them after both times, and so reads a wrong server time before them."""

_Unpack = Callable[[bytes, int], tuple[Any, ...]]
_Pick = Callable[[tuple[Any, ...]], Reading]
_Shape = tuple[_Unpack, int, _Pick]
"""How to unpack a DataValue, how long it is, and where its reading is in what was unpacked."""


def _shape(mask: int, form: str) -> _Shape:
    layout = Struct("<" + form + "".join(part for bit, part in _TAIL if mask & bit))
    present = [bit for bit in (_VALUE, _STATUS, _SOURCE, _SERVER) if mask & bit]
    value, status, source, server = (
        present.index(bit) if bit in present else len(present)
        for bit in (_VALUE, _STATUS, _SOURCE, _SERVER)
    )
    nothing = (0,)

    def pick(parts: tuple[Any, ...]) -> Reading:
        parts += nothing
        return parts[value], parts[status], time_ns(parts[source], parts[server])

    def pick_no_value(parts: tuple[Any, ...]) -> Reading:
        parts += nothing
        return None, parts[status], time_ns(parts[source], parts[server])

    return layout.unpack_from, layout.size, pick if mask & _VALUE else pick_no_value


_SHAPES: Final = {
    **{
        mask << 8 | kind: _shape(mask, f"xx{form}")
        for mask in range(_VALUE, 0x40, 2)
        for kind, form in _FORMATS.items()
    },
    **{(mask | _VALUE) << 8: _shape(mask, "xx") for mask in range(0, 0x40, 2)},
    **{mask << 8: _shape(mask, "x") for mask in range(0, 0x40, 2)},
}
"""By the encoding mask and the type of the value; 0 is a null, or no value at all."""
_TAILS: Final = {mask: _shape(mask, "") for mask in range(_VALUE, 0x40, 2)}
"""What follows a text, by the encoding mask."""


def read_response(data: bytes) -> list[Reading]:
    """Return the readings of a ReadResponse.

    Raises:
        UaStatusCodeError: the server refuses the request.
        DamagedAnswer: not a ReadResponse, or cut off.
    """
    return _guarded(_read_response, data)


def publish_response(data: bytes) -> Publication:
    """Return what a PublishResponse brings; errors as :func:`read_response`."""
    return _guarded(_publish_response, data)


def check_answer(data: bytes) -> Buffer:
    """Return ``data`` for asyncua's decoder.

    Raises:
        UaStatusCodeError: it is a ServiceFault.
        DamagedAnswer: it is no answer at all.
    """
    return _guarded(_check_answer, data)


BROKEN: Final = (
    struct.error, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    MemoryError, RecursionError, UaError,
)  # fmt: skip
"""What a damaged answer makes asyncua raise while it decodes it."""


_T = TypeVar("_T")


def _guarded(decode: Callable[[bytes], _T], data: bytes) -> _T:
    try:
        return decode(data)
    except UaStatusCodeError:
        raise
    except BROKEN as exc:
        raise DamagedAnswer(str(exc) or type(exc).__name__) from exc


def _check_answer(data: bytes) -> Buffer:
    kind = nodeid_from_binary(Buffer(data))
    if kind == _SERVICE_FAULT:
        rest = Buffer(data)
        nodeid_from_binary(rest)
        header = struct_from_binary(ua.ResponseHeader, rest)
        header.ServiceResult.check()
        raise DamagedAnswer("a fault without a reason")
    return Buffer(data)


def _has_plain_header(data: bytes, kind: bytes) -> bool:
    if len(data) < _HEADER.size:
        return False
    found, result, diagnostics, strings, more = _HEADER.unpack_from(data)
    return bool(found == kind and result == diagnostics == 0 and strings <= 0 and more == b"\0\0\0")


def _read_response(data: bytes) -> list[Reading]:
    if _has_plain_header(data, _READ_RESPONSE):
        (count,) = _COUNT.unpack_from(data, _HEADER.size)
        pos, readings = _HEADER.size + 4, []
        for _ in range(count):
            reading, pos = _reading(data, pos)
            readings.append(reading)
        if _ends_without_diagnostics(data, pos):
            return readings
    response = struct_from_binary(ua.ReadResponse, _check_answer(data))
    response.ResponseHeader.ServiceResult.check()
    return [reading_of(value) for value in response.Results]


def _ends_without_diagnostics(data: bytes, pos: int) -> bool:
    return bool(len(data) == pos + 4 and _COUNT.unpack_from(data, pos)[0] <= 0)


def _publish_response(data: bytes) -> Publication:
    if _has_plain_header(data, _PUBLISH_RESPONSE):
        subscription_id, available = _SUBSCRIPTION.unpack_from(data, _HEADER.size)
        pos = _HEADER.size + _SUBSCRIPTION.size + 4 * max(available, 0)
        _, sequence_number, parts = _MESSAGE.unpack_from(data, pos)
        pos += _MESSAGE.size
        if parts <= 0:
            return Publication(
                subscription_id=subscription_id,
                sequence_number=sequence_number,
                is_keep_alive=True,
            )
        if parts == 1 and data[pos : pos + 5] == _DATA_CHANGE:
            handles, readings = _changes(data, pos)
            return Publication(
                subscription_id=subscription_id,
                sequence_number=sequence_number,
                handles=handles,
                readings=readings,
            )
    response = struct_from_binary(ua.PublishResponse, _check_answer(data))
    response.ResponseHeader.ServiceResult.check()
    return _publication_of(response.Parameters)


def _changes(data: bytes, pos: int) -> tuple[array[int], list[Reading]]:
    _, length, count = _NOTIFICATION.unpack_from(data, pos)
    end = pos + 9 + length
    pos += _NOTIFICATION.size
    handles, readings = array("I"), []
    for _ in range(count):
        (handle,) = _HANDLE.unpack_from(data, pos)
        reading, pos = _reading(data, pos + 4)
        handles.append(handle)
        readings.append(reading)
    if not pos <= end <= len(data):
        raise DamagedAnswer("notifications past the end")
    return handles, readings


def _publication_of(result: Any) -> Publication:
    message = result.NotificationMessage
    handles, readings = array("I"), []
    ended = None
    for part in message.NotificationData or ():
        if isinstance(part, ua.DataChangeNotification):
            handles.extend([item.ClientHandle for item in part.MonitoredItems])
            readings += [reading_of(item.Value) for item in part.MonitoredItems]
        elif isinstance(part, ua.StatusChangeNotification):
            ended = int(part.Status.value)
    return Publication(
        subscription_id=result.SubscriptionId,
        sequence_number=message.SequenceNumber,
        handles=handles,
        readings=readings,
        ended=ended,
        is_keep_alive=not message.NotificationData,
    )


def _reading(data: bytes, pos: int) -> tuple[Reading, int]:
    """Return the DataValue at ``pos`` and where it ends."""
    mask = data[pos]
    shape = _SHAPES.get(mask << 8 | data[pos + 1] if mask & _VALUE else mask << 8)
    if shape is None:
        return _unusual_reading(data, pos, mask)
    unpack, size, pick = shape
    return pick(unpack(data, pos)), pos + size


def _unusual_reading(data: bytes, pos: int, mask: int) -> tuple[Reading, int]:
    if data[pos + 1] == _STRING and mask in _TAILS:
        text, end = _text(data, pos + 2)
        unpack, size, pick = _TAILS[mask]
        return pick((text, *unpack(data, end))), end + size
    rest = Buffer(data, pos)
    value = struct_from_binary(ua.DataValue, rest)
    return reading_of(value), rest.cur_pos


def _text(data: bytes, pos: int) -> tuple[str | None, int]:
    (length,) = _COUNT.unpack_from(data, pos)
    start = pos + 4
    if length == -1:
        return None, start
    if not 0 <= length <= len(data) - start:
        raise DamagedAnswer("a text past the end")
    try:
        return data[start : start + length].decode(), start + length
    except UnicodeDecodeError:
        return None, start + length
