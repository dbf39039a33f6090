"""Figures of this machine, through psutil."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from control_plane.domain.observation import FULL_DISK_BYTES

LITTLE_DISK_BYTES = 1_000_000_000
FULL_DISK_PERCENT = 90.0
"""A tenth of a disk, or a gigabyte: below either it is low."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUsage:
    """CPU in per cent of all cores since the previous reading; the disk is DAQ_HOME's."""

    hostname: str
    cpu_percent: float
    memory_percent: float
    disk_percent: float
    disk_free_bytes: int


def sample_host(home: Path) -> HostUsage:
    """Return the reading; never blocks."""
    disk = psutil.disk_usage(str(home))
    return HostUsage(
        hostname=socket.gethostname(),
        cpu_percent=psutil.cpu_percent(interval=None),
        memory_percent=psutil.virtual_memory().percent,
        disk_percent=disk.percent,
        disk_free_bytes=disk.free,
    )


def is_disk_low(home: Path) -> bool:
    """Whether the disk of DAQ_HOME is about to run full; ``False`` if it cannot be asked."""
    try:
        disk = psutil.disk_usage(str(home))
    except OSError:
        return False
    return bool(disk.free < LITTLE_DISK_BYTES or disk.percent > FULL_DISK_PERCENT)


def is_disk_full(home: Path) -> bool:
    """Whether not even a heartbeat can be written; ``False`` if the disk cannot be asked."""
    try:
        disk = os.statvfs(home)
    except OSError:
        return False
    free_blocks = disk.f_bavail if os.geteuid() else disk.f_bfree
    return free_blocks * disk.f_frsize < FULL_DISK_BYTES
