"""One socket to one PLC and the thread that uses it, because pymcprotocol blocks."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from typing import Final, TypeVar

from collectors.contract.config_mc import McDevice
from collectors.contract.points import Quality
from collectors.mitsubishi_mc.frames import Access, Coding, Device, EndCode, FrameError
from collectors.mitsubishi_mc.guard import GuardedType3E, GuardedType4E
from collectors.mitsubishi_mc.worker import Worker
from collectors.runtime.driver import ConnectionLost, reason_of

_T = TypeVar("_T")

_TIMER_UNIT_S: Final = 0.25
_KNOWN_MODEL: Final = re.compile(r"FX5|[QLR][0-9]")


def access_of(device: McDevice) -> Access:
    """Return what the frames to a device carry."""
    timer_s = device.monitoring_timer_s
    # The PLC should give up first and say so, rather than answer after we have left.
    own = max(1, int(device.timeout_s / _TIMER_UNIT_S) - 1)
    return Access(
        coding=Coding(device.series, device.code, device.zr_digits or "hexadecimal"),
        network=device.network,
        station=device.station,
        module_io=device.module_io,
        module_station=device.module_station,
        timeout_s=device.timeout_s,
        timer=own if timer_s is None else round(timer_s / _TIMER_UNIT_S),
    )


class OtherSeries(ConnectionLost):
    """The PLC numbers its inputs and outputs in another way than the file says."""


class Connection:
    """Open from :meth:`connect` to :meth:`close`; used once."""

    def __init__(self, device: McDevice) -> None:
        kind = GuardedType4E if device.frame == "4e" else GuardedType3E
        self.plc: GuardedType3E = kind(access_of(device))
        self._device = device
        self._worker = Worker(f"mc-{device.id}")
        self._watched_fd: int | None = None
        self._idle_since_mono = 0.0

    async def connect(self) -> None:
        """Open the socket.

        Raises:
            ConnectionLost: the PLC cannot be reached.
        """
        try:
            await self.call(self.plc.connect, self._device.host, self._device.port)
        except ConnectionLost as lost:
            if lost.quality is not Quality.BAD_TIMEOUT:
                raise
            raise ConnectionLost("no connection in time", Quality.BAD_TIMEOUT) from None
        # A PLC whose connection entry is taken accepts, and hangs up a moment later.
        await asyncio.sleep(self._device.settle_s)

    async def check_series(self) -> None:
        """Ask for the model, because X20 of an FX5 is another input than X20 of all others.

        Raises:
            OtherSeries: the file has to be corrected.
            ConnectionLost: see :meth:`call`.
        """
        try:
            model = await self.call(self.plc.read_model)
        except EndCode:
            return  # The built-in ports of many Q and L CPUs do not know the command.
        is_fx5, known = model.startswith("FX5"), _KNOWN_MODEL.match(model)
        if known and is_fx5 is not (self._device.series == "FX5"):
            radix = "octal" if is_fx5 else "hexadecimal"
            raise OtherSeries(f"the PLC is a {model}, which numbers X and Y in {radix}: set series")

    async def prove_alive(self) -> None:
        """Ask for something that every PLC tells, or refuses.

        Raises:
            ConnectionLost: see :meth:`call`.
        """
        with contextlib.suppress(EndCode):
            await self.call(self.plc.read_words, Device("M", 0), 1)

    async def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run in the thread, and report each kind of broken connection as lost."""
        try:
            return await self._worker.call(function, *arguments)
        except TimeoutError:
            raise ConnectionLost(self._silence(), Quality.BAD_TIMEOUT) from None
        except OSError as exc:
            raise ConnectionLost(reason_of(exc)) from exc
        except FrameError as exc:
            raise ConnectionLost(f"wrong answer: {exc}") from exc
        finally:
            self._idle_since_mono = time.monotonic()

    async def pause(self) -> None:
        """Wait until the PLC may be asked again."""
        gap_s = self._device.min_request_gap_s
        if gap_s:
            await asyncio.sleep(self._idle_since_mono + gap_s - time.monotonic())

    def _silence(self) -> str:
        if self.plc.has_answered:
            return "no answer in time"
        # A PLC that is set to the other code says nothing at all (end code C06F is only logged).
        return "no answer in time, not once: check code and frame against the PLC's settings"

    @property
    def is_watched(self) -> bool:
        return self._watched_fd is not None

    def watch(self, on_readable: Callable[[], None]) -> None:
        """Between requests a readable socket means the end of the connection, or nonsense."""
        self._watched_fd = self.plc.fileno()
        asyncio.get_running_loop().add_reader(self._watched_fd, on_readable)

    def unwatch(self) -> None:
        fd, self._watched_fd = self._watched_fd, None
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)

    def close(self) -> None:
        """Make the thread return and end; it closes the socket that it uses."""
        self.unwatch()
        self.plc.abort()
        self._worker.end(self.plc.close)
