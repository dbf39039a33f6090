"""What a protocol driver does for the runtime, and the table of drivers."""

import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from collectors.contract.columns import Columns
from collectors.contract.config_types import AnyDevice
from collectors.contract.points import Quality, Sample, Value
from collectors.runtime.planner import Block

_ROUND_TRIPS = 100


class ConnectionLost(Exception):
    """The link to the device is gone or cannot be trusted; connect again."""

    def __init__(self, reason: str, quality: Quality = Quality.BAD_COMM, code: int = 0) -> None:
        self.reason = reason
        self.quality = quality
        """``BAD_TIMEOUT`` if the device was silent, ``BAD_COMM`` otherwise."""
        self.code = code
        """Status that somebody on the way gave, 0 if none."""
        super().__init__(reason)


@dataclass(slots=True)
class Traffic:
    """What became of the requests to one device since the process started."""

    requests: int = 0
    errors: int = 0
    last_good_ns: int | None = None
    lost_changes: int = 0
    """Changes that a server told us it has dropped, or that we had to drop."""
    peer_fingerprint: str | None = None
    """SHA-256 of the certificate that the device showed last, ``AB:CD:…``."""
    _round_trips_s: deque[float] = field(default_factory=lambda: deque(maxlen=_ROUND_TRIPS))

    def answered(self, round_trip_s: float, at_ns: int) -> None:
        """Count a request that the device answered without an error."""
        self.requests += 1
        self.last_good_ns = at_ns
        self._round_trips_s.append(round_trip_s)

    def heard(self, at_ns: int) -> None:
        """Count a message that the device sent when it had something to say."""
        self.requests += 1
        self.last_good_ns = at_ns

    def failed(self) -> None:
        """Count a request that got an error, a wrong answer or none."""
        self.requests += 1
        self.errors += 1

    @property
    def round_trip_ms(self) -> float | None:
        """Median of the last 100 answers."""
        if not self._round_trips_s:
            return None
        # As statistics.median(), which would load a megabyte of fractions and decimals.
        ordered = sorted(self._round_trips_s)
        low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
        return round((low + high) / 2 * 1000, 3)


class NoAnswer(ConnectionLost):
    """Only this device is silent; the way to it, which it shares with others, is good.

    A device that does so three times in a row is parked: asked at growing intervals only.
    """

    def __init__(self, code: int = 0) -> None:
        super().__init__("no answer in time", Quality.BAD_TIMEOUT, code)


class WriteFailed(Exception):
    """The device did not take a value, or gives back another one; the connection is good."""

    def __init__(self, code: str, native_code: int = 0, read_back: Sample | None = None) -> None:
        self.code = code
        """``command.CODE`` is its sentence in the contract's catalogue."""
        self.native_code = native_code
        self.read_back = read_back
        super().__init__(f"{code} {native_code:#x}" if native_code else code)


class WriteRefused(WriteFailed):
    """Nothing was sent to the device."""


class Driver(Protocol):
    """Reads one device. One task owns it, so no two methods run at the same time.

    A fault of one point is a sample with a bad quality and the device's own code, never an
    exception. Anything but ``ConnectionLost`` is a defect: it ends the process.
    """

    async def connect(self) -> None:
        """Open the connection; called only while there is none.

        Raises:
            ConnectionLost: the device cannot be reached or refuses.
        """

    async def read(self, group_id: str) -> Columns | Sequence[Sample]:
        """Read every point of a poll group once.

        Columns cost a tenth of samples: a driver that decodes many points of one answer returns
        them, with the same ``points`` object each time.

        Raises:
            ConnectionLost: the connection broke, or an answer was late or wrong.
        """

    async def write(self, point_name: str, value: Value) -> Sample:
        """Write ``value`` (scaled, as it is read) to a point and read it back from the device.

        The runtime has checked that the point is writable and the value within its clamp.

        Raises:
            WriteRefused: the value is not of the point's type, or does not fit it.
            WriteFailed: the device refuses it.
            ConnectionLost: as for ``read``; the device may have taken the value.
        """

    def adopt(self, device: AnyDevice) -> bool:
        """Take over changed groups and points without touching the connection.

        May come while ``read`` waits for the device; what that returns is thrown away.

        Returns:
            False if this needs another connection; nothing is changed then.
        """

    def forget(self) -> None:
        """Drop what was learned of the device, such as requests that had to be split."""

    async def close(self) -> None:
        """Close the connection within 0.3 s; harmless without one."""


OnLost = Callable[[ConnectionLost], None]
"""Called from the event loop when a connection breaks while no request is in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    package: str
    keeps_files: bool = False
    """The driver keeps some below DAQ_HOME, such as its certificate."""


DRIVERS: Mapping[str, _Entry] = {
    "modbus_tcp": _Entry(package="collectors.modbus_tcp"),
    "opcua": _Entry(package="collectors.opcua", keeps_files=True),
    "mitsubishi_mc": _Entry(package="collectors.mitsubishi_mc"),
}
"""Where each protocol's driver lives. Loaded on demand: a library costs up to 30 MB."""


def create_driver(
    protocol: str,
    device: AnyDevice,
    traffic: Traffic,
    on_lost: OnLost,
    home: Path | None = None,
) -> Driver:
    """Load the protocol's library and return a driver for ``device``.

    Args:
        home: DAQ_HOME; that of the environment unless given.
    """
    entry = DRIVERS[protocol]
    module: Any = import_module(f"{entry.package}.driver")
    arguments: list[object] = [device, traffic, on_lost]
    if entry.keeps_files:
        arguments.append(home_or_default(home))
    driver: Driver = module.create(*arguments)
    return driver


def home_or_default(home: Path | None) -> Path:
    """Return ``home``, or else the DAQ_HOME of the environment."""
    return home or Path(os.environ.get("DAQ_HOME") or "var")


def plan_of(protocol: str, device: AnyDevice) -> dict[str, tuple[Block, ...]]:
    """Return the requests of each poll group of ``device``, without loading the library."""
    module: Any = import_module(f"{DRIVERS[protocol].package}.plan")
    plan: dict[str, tuple[Block, ...]] = module.plan(device)
    return plan


def describe(protocol: str, block: Block) -> str:
    """Return a request in the protocol's own words, such as ``holding 100-117``."""
    module: Any = import_module(f"{DRIVERS[protocol].package}.plan")
    text: str = module.describe(block)
    return text


def reason_of(exc: OSError) -> str:
    """Return the operating system's words for a failed connection."""
    if exc.errno is not None and exc.errno > 0:
        return os.strerror(exc.errno)
    return exc.strerror or str(exc) or type(exc).__name__


def tune_socket(sock: socket.socket) -> None:
    """Send small requests at once, and notice a peer that vanished without a word.

    Keep-alive finds a dead peer after 25 s also where the poll interval is much longer.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
