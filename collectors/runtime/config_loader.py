"""Check a collector's file and pack it, in a process that ends; a collector never loads this."""

import hashlib
import pickle
import sys
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from collectors.contract import wire
from collectors.contract.config import AnyCollector, AnyDevice, load_collector, revision_of
from collectors.contract.config_error import ConfigError
from collectors.runtime.packed_config import (
    PackedConfig,
    PackedDevice,
    PackedPoints,
    expected_samples_per_s,
)


def attempt(path: Path) -> bytes:
    """Return a pickle of the packed configuration, or of what is wrong with the file."""
    try:
        return pickle.dumps(_load(path))
    except ConfigError as exc:
        return pickle.dumps(exc.problems)


def pack(config: AnyCollector, revision: str) -> PackedConfig:
    """Return a configuration packed; ``revision`` is the hash of its text."""
    without_points: Any = tuple(device.with_points() for device in config.devices)
    return PackedConfig(
        config=replace(config, devices=without_points),
        revision=revision,
        devices=tuple(_pack_device(device) for device in config.devices),
    )


def _load(path: Path) -> PackedConfig:
    while True:
        before = _revision(path)
        config = load_collector(path)
        if before == _revision(path):
            return pack(config, before)


def _revision(path: Path) -> str:
    try:
        return revision_of(path)
    except OSError:
        return ""  # load_collector says what is wrong with the file


def _pack_device(device: AnyDevice) -> PackedDevice:
    used = {point.group for point in device.points}
    return PackedDevice(
        id=device.id,
        digest=hashlib.blake2b(wire.encode(device), digest_size=16).digest(),
        points=len(device.points),
        intervals_s=tuple(group.interval_s for group in device.groups if group.id in used),
        samples_per_s=expected_samples_per_s(device),
        device=_packed(device),
    )


def _packed(device: AnyDevice) -> AnyDevice:
    packed = copy(device)
    # Past the checks of the class, which the points have passed.
    object.__setattr__(packed, "points", PackedPoints(device.points))
    return packed


if __name__ == "__main__":
    sys.stdout.buffer.write(attempt(Path(sys.argv[1])))
