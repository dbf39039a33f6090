"""Turn raw values into samples, the same way for every protocol. Pure."""

import math
from collections.abc import Callable

from collectors.contract.points import Quality, Sample, Value
from collectors.runtime.planner import Decode


def text_of(raw: bytes) -> str | None:
    """Return a PLC's fixed-length text up to its first NUL, without the padding after it.

    Returns:
        ``None`` if the bytes are not UTF-8.
    """
    try:
        return raw.split(b"\0", 1)[0].decode("utf-8").rstrip(" ")
    except UnicodeDecodeError:
        return None


def scaler(scale: float, offset: float) -> Callable[[int | float], int | float] | None:
    """Return ``raw · scale + offset``, or ``None`` where it would change nothing but the type."""
    if scale == 1 and offset == 0:
        return None
    return lambda raw: raw * scale + offset


def scaled(decode: Callable[[bytes, int], int | float], scale: float, offset: float) -> Decode:
    """Return a decoder of scaled numbers; whole numbers stay whole where nothing is scaled."""
    apply = scaler(scale, offset)
    if apply is None:
        return decode
    return lambda payload, index: apply(decode(payload, index))


def reading(point: str, value: Value | None, source_ns: int, received_ns: int) -> Sample:
    """Return a good sample, or ``BAD_RANGE`` for ``None``, not-a-number and infinity."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return fault(point, Quality.BAD_RANGE, 0, source_ns, received_ns)
    return Sample(
        point=point,
        value=value,
        quality=Quality.GOOD,
        source_ns=source_ns,
        received_ns=received_ns,
    )


def fault(point: str, quality: Quality, code: int, source_ns: int, received_ns: int) -> Sample:
    """Return a sample that says why there is no value."""
    return Sample(
        point=point,
        value=None,
        quality=quality,
        code=code,
        source_ns=source_ns,
        received_ns=received_ns,
    )
