"""Write one value to a node, in the type that the server has for it, and read it back."""

import math
import struct
import time
from typing import Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from collectors.contract.points import Sample, Value
from collectors.opcua.nodes import Variable, resolve
from collectors.opcua.session import Session
from collectors.opcua.values import BAD_NODE_ID_UNKNOWN, is_bad_status, reading_of, sample_of
from collectors.runtime.driver import ConnectionLost, WriteFailed, WriteRefused
from collectors.runtime.values import scaler

# VariantType, OPC 10000-6, 5.1.2.
_BOOLEAN: Final = 1
_INTEGERS: Final = range(2, 10)
_FLOAT: Final = 10
_STRING: Final = 12
_WRITABLE: Final = range(1, 13)
_LIMITS: Final = {
    2: (-(2**7), 2**7 - 1), 3: (0, 2**8 - 1), 4: (-(2**15), 2**15 - 1), 5: (0, 2**16 - 1),
    6: (-(2**31), 2**31 - 1), 7: (0, 2**32 - 1), 8: (-(2**63), 2**63 - 1), 9: (0, 2**64 - 1),
}  # fmt: skip


async def write(session: Session, variable: Variable, value: Value) -> Sample:
    """Write ``value``, given as it is read, and return what the server holds then.

    Raises:
        WriteRefused: nothing was sent, because the value does not fit the node.
        WriteFailed: the server refuses, or gives back another value.
        ConnectionLost: as :meth:`Session.call`; the server may have taken the value.
    """
    node_id = resolve(variable.address, session.namespaces)
    if node_id is None:
        raise WriteRefused("device_refused", BAD_NODE_ID_UNKNOWN)
    kind = await _kind_of(session, node_id)
    raw = encode(value, variable, kind)
    request = ua.WriteRequest()
    # Many servers refuse to take a status or a time (OPC 10000-4, 5.11.4.2).
    data = ua.DataValue(ua.Variant(raw, ua.VariantType(kind)), StatusCode=None)
    request.Parameters.NodesToWrite = [
        ua.WriteValue(NodeId=node_id, AttributeId=AttributeIds.Value, Value=data)
    ]
    try:
        answer = await session.call(request, ua.WriteResponse)
    except UaStatusCodeError as exc:
        raise WriteFailed("device_refused", exc.code) from exc
    if len(answer.Results) != 1:
        raise ConnectionLost(f"{len(answer.Results)} results of one write")
    status = int(answer.Results[0].value)
    if is_bad_status(status):
        raise WriteFailed("device_refused", status)
    return await _read_back(session, variable, node_id, raw)


def encode(value: Value, variable: Variable, kind: int) -> bool | int | float | str:
    """Return the value to send as a variant of ``kind``.

    Raises:
        WriteRefused: ``wrong_type``, or ``does_not_fit`` its range.
    """
    if kind not in _WRITABLE:
        raise WriteRefused("not_supported")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == _BOOLEAN and isinstance(value, bool):
        return value
    if kind == _STRING and isinstance(value, str):
        return _text(value)
    if not is_number or kind in (_BOOLEAN, _STRING):
        raise WriteRefused("wrong_type")
    assert isinstance(value, int | float)
    return _unscaled(value, variable, kind)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WriteRefused("does_not_fit") from None
    return value


def _unscaled(value: int | float, variable: Variable, kind: int) -> int | float:
    if variable.factor == 0:
        raise WriteRefused("does_not_fit")
    is_scaled = (variable.factor, variable.offset) != (1, 0)
    raw = (value - variable.offset) / variable.factor if is_scaled else value
    if kind in _INTEGERS:
        whole = round(raw) if math.isfinite(raw) else 0
        low, high = _LIMITS[kind]
        # What is scaled may have been rounded on its way; a fraction was never meant.
        is_whole = math.isfinite(raw) and math.isclose(raw, whole, rel_tol=1e-9, abs_tol=1e-6)
        if not is_whole or not low <= whole <= high:
            raise WriteRefused("does_not_fit")
        return whole
    try:
        (as_sent,) = struct.unpack(*_packed(kind, raw))
    except (OverflowError, struct.error):
        as_sent = math.inf
    if not math.isfinite(as_sent):
        raise WriteRefused("does_not_fit")
    return float(as_sent)


def _packed(kind: int, raw: float) -> tuple[str, bytes]:
    form = "<f" if kind == _FLOAT else "<d"
    return form, struct.pack(form, raw)


async def _kind_of(session: Session, node_id: ua.NodeId) -> int:
    """Return the built-in type of a node's value.

    A subtype, such as an enumeration, has none of its own: then the value's type is taken.

    Raises:
        WriteRefused: the node is no scalar, or has no value to take the type from.
    """
    (data_type,) = await session.read([node_id], AttributeIds.DataType)
    (current,) = await session.read([node_id])
    status = int(data_type.StatusCode.value) if data_type.StatusCode else 0
    if is_bad_status(status):
        raise WriteRefused("device_refused", status)
    declared = data_type.Value.Value if data_type.Value else None
    variant = current.Value
    if variant is not None and variant.is_array:
        raise WriteRefused("not_supported")
    number = 0
    if isinstance(declared, ua.NodeId) and declared.NamespaceIndex == 0:
        number = int(declared.Identifier)
    if number in _WRITABLE or variant is None:
        return number
    return int(variant.VariantType.value)


async def _read_back(
    session: Session, variable: Variable, node_id: ua.NodeId, raw: bool | int | float | str
) -> Sample:
    (answer,) = await session.read([node_id])
    received_ns = time.time_ns()
    reading = reading_of(answer)
    scale = scaler(variable.factor, variable.offset)
    sample = sample_of(variable.point, reading, scale, received_ns, received_ns)
    if sample.quality.is_bad or reading[0] != raw:
        raise WriteFailed("read_back_differs", reading[1], sample)
    return sample
