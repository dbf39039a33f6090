"""Figures of this machine, through psutil."""

import socket
from dataclasses import dataclass
from pathlib import Path

import psutil


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
