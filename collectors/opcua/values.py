"""Turn OPC UA data values into samples. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from collectors.contract.points import Quality, Sample, Value
from collectors.runtime.values import fault, reading

_SEVERITY: Final = 0xC000_0000
_UNCERTAIN: Final = 0x4000_0000
"""Severity of a StatusCode, OPC 10000-4, 7.39: 00 good, 01 uncertain, 10 and 11 bad."""

# Wrong in the configuration, OPC 10000-6, Annex A.2: BadUserAccessDenied, BadNodeIdInvalid,
# BadNodeIdUnknown, BadAttributeIdInvalid, BadIndexRangeInvalid, BadNotReadable.
_CONFIG_CODES: Final = frozenset(
    {0x801F_0000, 0x8033_0000, 0x8034_0000, 0x8035_0000, 0x8036_0000, 0x803A_0000}
)
_BAD_OUT_OF_RANGE: Final = 0x803C_0000

# VariantType, OPC 10000-6, 5.1.2: Boolean, SByte to UInt64, Float and Double, String.
_SCALARS: Final = range(1, 13)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Scale = Callable[[int | float], int | float] | None


def sample_of(point: str, data: Any, scale: Scale, read_ns: int, received_ns: int) -> Sample:
    """Return the sample for a ``DataValue``.

    Args:
        read_ns: Stands in for a source timestamp that the server does not give.
    """
    # An absent status is a good one (OPC 10000-6, 5.2.2.17).
    status = 0 if data.StatusCode is None else int(data.StatusCode.value)
    source_ns = _source_ns(data.SourceTimestamp, read_ns)
    severity = status & _SEVERITY
    if severity not in (0, _UNCERTAIN):
        return fault(point, _bad_quality(status), status, source_ns, received_ns)
    value = _value_of(data.Value)
    if scale is not None and isinstance(value, int | float) and not isinstance(value, bool):
        value = scale(value)
    sample = reading(point, value, source_ns, received_ns)
    if sample.quality.is_bad or status == 0:
        return sample
    return Sample(
        point=point,
        value=sample.value,
        quality=Quality.UNCERTAIN if severity else Quality.GOOD,
        code=status,
        source_ns=source_ns,
        received_ns=received_ns,
    )


def _bad_quality(status: int) -> Quality:
    # The low half carries flags of the moment, not the reason.
    reason = status & 0xFFFF_0000
    if reason in _CONFIG_CODES:
        return Quality.BAD_CONFIG
    return Quality.BAD_RANGE if reason == _BAD_OUT_OF_RANGE else Quality.BAD_DEVICE


def _value_of(variant: Any) -> Value | None:
    """Return a plain scalar, or ``None`` for an array, a structure, a time or nothing."""
    if variant is None or variant.is_array or variant.VariantType.value not in _SCALARS:
        return None
    value = variant.Value
    # The library's own subclasses of str and int must not reach the spool.
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    return None


def _source_ns(at: datetime | None, otherwise_ns: int) -> int:
    # 1601 is how OPC UA writes "no time".
    if at is None or not 1970 < at.year < 9000:
        return otherwise_ns
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1000
