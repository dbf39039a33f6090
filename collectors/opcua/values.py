"""Turn what an OPC UA server says about a variable into samples. Pure."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from collectors.contract.columns import Columns, Runs
from collectors.contract.points import Quality, Sample, Value

Reading = tuple[Value | None, int, int]
"""Value, StatusCode and time: ns since the Unix epoch, UTC, or 0 if the server gives none.

The value is ``None`` unless it is one number, boolean or text. The time is the source's, or else
the server's: then the value was true, though it may have become so earlier.
"""

BAD_NODE_ID_UNKNOWN: Final = 0x8034_0000
OVERFLOW: Final = 0x0480
"""InfoType DataValue with Overflow: the server's queue has dropped a change (10000-4, 7.39)."""

_SEVERITY: Final = 0xC000_0000
_UNCERTAIN: Final = 0x4000_0000
"""Severity of a StatusCode, OPC 10000-4, 7.39: 00 good, 01 uncertain, 10 and 11 bad."""

# Wrong in the configuration, OPC 10000-6, Annex A.2: BadUserAccessDenied, BadNodeIdInvalid,
# BadNodeIdUnknown, BadAttributeIdInvalid, BadIndexRangeInvalid, BadNotReadable.
_CONFIG_CODES: Final = frozenset(
    {0x801F_0000, 0x8033_0000, BAD_NODE_ID_UNKNOWN, 0x8035_0000, 0x8036_0000, 0x803A_0000}
)
_BAD_OUT_OF_RANGE: Final = 0x803C_0000

# VariantType, OPC 10000-6, 5.1.2: Boolean, SByte to UInt64, Float and Double, String.
_SCALARS: Final = range(1, 13)

_TICKS_1970: Final = 116_444_736_000_000_000
_TICKS_1971: Final = 116_760_096_000_000_000
_TICKS_9000: Final = 2_334_898_656_000_000_000
"""100 ns since 1601. Servers write "no time" as a time before the first or after the last."""

_GOOD: Final = int(Quality.GOOD)
_EXACT: Final = frozenset({int, bool, str})
"""Types of which every value is one that can be kept."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Scale = Callable[[int | float], int | float] | None


def columns(
    points: tuple[str, ...],
    readings: Sequence[Reading],
    scales: Sequence[Scale],
    read_ns: int,
    received_ns: Runs,
) -> Columns:
    """Return readings as columns.

    Args:
        read_ns: Stands in for the time where the server gives none.
    """
    values: list[Value | None] = []
    qualities = bytearray()
    source_ns: list[int] = []
    for (value, status, at_ns), scale in zip(readings, scales, strict=True):
        # Most are good and as they are; x - x is 0 unless x is infinite or no number. (mypy does
        # not see from its type that the value is a float.)
        kind = type(value)
        is_plain = kind in _EXACT or (kind is float and value - value == 0)  # type: ignore[operator]
        if is_plain and status == 0 and scale is None:
            values.append(value)
            qualities.append(_GOOD)
        else:
            usable, quality = _judged(value, status, scale)
            values.append(usable)
            qualities.append(quality)
        source_ns.append(at_ns or read_ns)
    codes = [status for _, status, _ in readings]
    return Columns(
        points=points,
        values=values,
        qualities=bytes(qualities),
        codes=codes if any(codes) else (),
        source_ns=source_ns,
        received_ns=received_ns,
    )


def joined(parts: Sequence[Columns], points: tuple[str, ...] | None = None) -> Columns:
    """Return columns one after the other.

    Args:
        points: The names of all, where the same object can be given each time.
    """
    return Columns(
        points=points or tuple([point for part in parts for point in part.points]),
        values=[value for part in parts for value in part.values],
        qualities=b"".join(part.qualities for part in parts),
        codes=[code for part in parts for code in part.codes or [0] * len(part)],
        source_ns=[at_ns for part in parts for at_ns in part.source_ns],
        received_ns=[at_ns for part in parts for at_ns in part.received_ns],
    )


def sample_of(point: str, of: Reading, scale: Scale, read_ns: int, received_ns: int) -> Sample:
    """Return one reading as a sample; see :func:`columns`."""
    received = Runs([(received_ns, 1)])
    return columns((point,), [of], [scale], read_ns, received).samples()[0]


def _judged(value: Value | None, status: int, scale: Scale) -> tuple[Value | None, Quality]:
    severity = status & _SEVERITY
    if severity not in (0, _UNCERTAIN):
        return None, bad_quality(status)
    if scale is not None and isinstance(value, int | float) and not isinstance(value, bool):
        value = scale(value)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None, Quality.BAD_RANGE
    return value, Quality.UNCERTAIN if severity else Quality.GOOD


def bad_quality(status: int) -> Quality:
    """Return what a bad StatusCode means for the point."""
    # The low half carries flags of the moment, not the reason.
    reason = status & 0xFFFF_0000
    if reason in _CONFIG_CODES:
        return Quality.BAD_CONFIG
    return Quality.BAD_RANGE if reason == _BAD_OUT_OF_RANGE else Quality.BAD_DEVICE


def is_bad_status(status: int) -> bool:
    """Tell whether a StatusCode is neither good nor uncertain."""
    return status & _SEVERITY not in (0, _UNCERTAIN)


def reading_of(data: Any) -> Reading:
    """Return the reading of asyncua's ``DataValue``."""
    # An absent status is a good one (OPC 10000-6, 5.2.2.17).
    status = 0 if data.StatusCode is None else int(data.StatusCode.value)
    source, server = _ticks(data.SourceTimestamp), _ticks(data.ServerTimestamp)
    return _value_of(data.Value), status, time_ns(source, server)


@lru_cache(maxsize=64)
def time_ns(source_ticks: int, server_ticks: int) -> int:
    """Return the first time that is one, in whole µs, as ns since the Unix epoch, or 0."""
    if _TICKS_1971 <= source_ticks < _TICKS_9000:
        return (source_ticks - _TICKS_1970) // 10 * 1000
    if _TICKS_1971 <= server_ticks < _TICKS_9000:
        return (server_ticks - _TICKS_1970) // 10 * 1000
    return 0


def _value_of(variant: Any) -> Value | None:
    """Return a plain scalar, or ``None`` for an array, a structure, a time or nothing."""
    if variant is None or variant.is_array or variant.VariantType.value not in _SCALARS:
        return None
    value = variant.Value
    # The library's own subclasses of str and int must not reach the spool.
    for plain in (bool, int, float):
        if isinstance(value, plain):
            return plain(value)
    return _text_of(value) if isinstance(value, str) else None


def _text_of(text: str) -> str | None:
    # asyncua lets bytes through that are no UTF-8, as lone surrogates.
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        return None


def _ticks(at: datetime | None) -> int:
    if at is None:
        return 0
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 10 + _TICKS_1970
