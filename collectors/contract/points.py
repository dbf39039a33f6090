"""One measured value, with everything needed to judge whether to believe it."""

import enum
import math
from dataclasses import dataclass

Value = bool | int | float | str
"""What a point can hold after scaling."""


class Quality(enum.IntEnum):
    """How far a value can be trusted. The numbers are stored, so they never change."""

    GOOD = 0
    UNCERTAIN = 1
    BAD_COMM = 2
    """The connection to the device is lost."""
    BAD_TIMEOUT = 3
    """The device did not answer in time."""
    BAD_CONFIG = 4
    """The device does not know this address."""
    BAD_DEVICE = 5
    """The device answered with an error; see the native code."""
    BAD_RANGE = 6
    """The value does not fit its type, or is not a number."""
    STALE = 7
    INIT = 8
    """Never read since the collector started."""

    @property
    def is_bad(self) -> bool:
        """Neither good nor uncertain: the value must not be used."""
        return self not in (Quality.GOOD, Quality.UNCERTAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading of one point.

    Attributes:
        point: ``DEVICE/POINT``, both as in the configuration file.
        value: The scaled value; ``None`` exactly when the quality is bad.
        quality: How far to trust it.
        code: The device's own status, 0 if none: Modbus exception, OPC UA StatusCode, MC end code.
        source_ns: When the value was true at the device, ns since the Unix epoch, UTC. Without a
            device clock this is the middle of request and answer.
        received_ns: When the answer arrived here, ns since the Unix epoch, UTC.
    """

    point: str
    value: Value | None
    quality: Quality
    code: int = 0
    source_ns: int
    received_ns: int

    def __post_init__(self) -> None:
        if (self.value is None) is not self.quality.is_bad:
            raise ValueError(f"{self.point}: a value is present exactly when its quality is usable")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise ValueError(f"{self.point}: {self.value} is not a measurement; use BAD_RANGE")


def series_key(collector: str, point: str) -> str:
    """Return the name under which a point's history is kept: ``COLLECTOR/DEVICE/POINT``."""
    return f"{collector}/{point}"
