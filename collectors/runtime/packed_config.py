"""A configuration as few bytes: what is kept of thousands of points until they are needed."""

import pickle
import zlib
from dataclasses import dataclass

from collectors.contract.config_types import AnyCollector, AnyDevice


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedDevice:
    """A device's configuration as bytes, and what is needed of it without unpacking.

    Attributes:
        digest: Equal for equal configurations.
        intervals_s: Of the poll groups that have points.
        samples_per_s: What the configuration asks for.
    """

    id: str
    digest: bytes
    points: int
    intervals_s: tuple[float, ...]
    samples_per_s: float
    body: bytes

    def unpack(self) -> AnyDevice:
        device: AnyDevice = pickle.loads(zlib.decompress(self.body))
        return device


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedConfig:
    """A configuration file; ``config`` has every device without its points."""

    config: AnyCollector
    revision: str
    devices: tuple[PackedDevice, ...]


def expected_samples_per_s(device: AnyDevice) -> float:
    """Return how many readings a second the configuration asks for."""
    interval_s = {group.id: group.interval_s for group in device.groups}
    return sum(1 / interval_s[point.group] for point in device.points)
