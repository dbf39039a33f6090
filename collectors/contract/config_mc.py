"""What a collector file may say about Mitsubishi PLCs."""

from dataclasses import dataclass
from typing import Annotated, Literal

from collectors.contract.addresses import AddressError
from collectors.contract.addresses_mc import (
    MC_PROFILES,
    McAddress,
    McProfile,
    McSeries,
    parse_mc_address,
)
from collectors.contract.config_base import (
    BcdType,
    ByteOrder,
    Collector,
    Device,
    Host,
    NumberType,
    Port,
    WordPoint,
    WritablePlace,
    address_text,
    bad_address,
    reject_long_points,
    reject_overlapping_writables,
)
from collectors.contract.limits import Fault, Limits, Rejected

_DOUBLE_WORD_TYPES = ("int32", "uint32")


@dataclass(frozen=True, slots=True, kw_only=True)
class McPoint(WordPoint):
    """One bit, or one or more words of a word device."""

    address: Annotated[str, address_text(parse_mc_address)]
    """The device as in the PLC's program: ``D100``, ``M20``, ``X1F``, ``ZR4000``; a bit of a word
    as ``D100.A``."""
    type: Literal[NumberType, BcdType, "bool", "string"] = "int16"
    """How the words are understood; ``bool`` for bit devices and bits of words."""
    order: ByteOrder | None = None
    """Order of the bytes, the high byte of a word first. Without it MELSEC's own: ``CDAB``, the low
    word first, for numbers, and ``BADC``, the first character in the low byte, for text."""
    length: Annotated[int, Limits(ge=1, le=480)] = 1
    """Words of a string, two characters each."""

    def __post_init__(self) -> None:
        WordPoint.__post_init__(self)
        address = parse_mc_address(self.address)
        named = {"address": self.address, "type": self.type}
        if address.is_single_bit is not (self.type == "bool"):
            raise Rejected(Fault("type_mismatch", named))
        if address.kind.unit == "dword" and self.type not in _DOUBLE_WORD_TYPES:
            raise Rejected(Fault("double_word", named))
        if self.writable and address.bit is not None:
            raise Rejected(Fault("bit_not_writable", named))


@dataclass(frozen=True, slots=True, kw_only=True)
class McDevice(Device):
    """A MELSEC PLC that answers MC protocol (SLMP) frames over TCP."""

    host: Host
    """Address or name."""
    port: Port = 5007
    """TCP port as opened in the PLC's parameters, where it may stand in hexadecimal."""
    series: McSeries = "Q"
    """Decides devices, their numbering and the limits of a request."""
    frame: Literal["3e", "4e"] = "3e"
    """4E frames carry a serial number, so that no late answer is taken for another."""
    code: Literal["binary", "ascii", "ascii_xy_hex"] = "binary"
    """As set in the PLC, which is silent if it is another one. ``ascii_xy_hex`` is for an FX5."""
    zr_digits: Literal["hexadecimal", "decimal"] | None = None
    """Of file register numbers in ASCII frames. SH-080008 and SH-080956 say hexadecimal,
    JY997D56001 says decimal, and clients are of both kinds: nobody but the PLC can tell."""
    network: Annotated[int, Limits(ge=0, le=255)] = 0
    """Network number; 0 is the PLC that is connected."""
    station: Annotated[int, Limits(ge=0, le=255)] = 0xFF
    """PC number of the frame; 255 is the directly connected CPU."""
    module_io: Annotated[int, Limits(ge=0, le=0xFFFF)] = 0x3FF
    """Start I/O number of the target module; 0x3FF is the CPU, 0x3E0 to 0x3E3 one of several."""
    module_station: Annotated[int, Limits(ge=0, le=31)] = 0
    """Station behind a multidrop connection."""
    monitoring_timer_s: Annotated[float, Limits(ge=0, le=16383.75, allow_inf_nan=False)] | None = (
        None
    )
    """How long the PLC may wait for a target behind it, in steps of 0.25 s; 0 is for ever.

    Without it a little less than ``timeout_s``: the PLC should say so before we have left.
    """
    max_words: Annotated[int, Limits(ge=1, le=960)] | None = None
    """Words of one batch read; without it what the series allows."""
    max_random_points: Annotated[int, Limits(ge=0, le=192)] | None = None
    """Words and double words of one random read; 0 for PLCs that do not know the command."""
    max_gap: Annotated[int, Limits(ge=0, le=480)] = 32
    """Unused words that one request may span to save a second request."""
    min_request_gap_s: Annotated[float, Limits(ge=0, le=10, allow_inf_nan=False)] = 0.0
    """Pause between an answer and the next request."""
    connect_settle_s: Annotated[float, Limits(ge=0, le=10, allow_inf_nan=False)] | None = None
    """Pause between a close, or a connect, and what follows; without it as the series needs."""
    check_series: bool = True
    """Refuse a PLC whose model says that it numbers X and Y in another way than ``series``."""
    points: Annotated[tuple[McPoint, ...], Limits(min_length=1, strict=False)]
    """What is read of it."""

    @property
    def profile(self) -> McProfile:
        return MC_PROFILES[self.series]

    @property
    def word_limit(self) -> int:
        return self._limit(self.max_words, self.profile.max_words, self.profile.max_words_ascii)

    @property
    def random_limit(self) -> int:
        return self._limit(
            self.max_random_points,
            self.profile.max_random_points,
            self.profile.max_random_points_ascii,
        )

    @property
    def settle_s(self) -> float:
        return self.profile.settle_s if self.connect_settle_s is None else self.connect_settle_s

    def _limit(self, configured: int | None, in_binary: int, in_ascii: int) -> int:
        known = in_binary if self.code == "binary" else in_ascii
        return known if configured is None else min(configured, known)

    def address_of(self, point: McPoint) -> McAddress:
        return parse_mc_address(point.address, self.series)

    def __post_init__(self) -> None:
        Device.__post_init__(self)
        if self.code == "ascii_xy_hex" and self.series != "FX5":
            raise Rejected(Fault("code_needs_fx5", {"series": self.series}))
        faults = [*self._limit_faults(), *self._address_faults()]
        if faults:
            raise Rejected(*faults)
        reject_long_points(self.points, "max_words", self.word_limit)
        reject_overlapping_writables(
            [self._place(i, point) for i, point in enumerate(self.points) if point.writable]
        )

    def _limit_faults(self) -> list[Fault]:
        return [
            Fault("too_big", {"value": configured, "le": limit}, (key,))
            for key, configured, limit in (
                ("max_words", self.max_words, self.word_limit),
                ("max_random_points", self.max_random_points, self.random_limit),
            )
            if configured is not None and configured > limit
        ]

    def _address_faults(self) -> list[Fault]:
        """Return what only the series decides, each with the key of its point."""
        found = (self._address_fault(index, point) for index, point in enumerate(self.points))
        return [fault for fault in found if fault is not None]

    def _address_fault(self, index: int, point: McPoint) -> Fault | None:
        key = ("points", index, "address")
        try:
            address = self.address_of(point)
        except AddressError as exc:
            return bad_address(point.address, exc, *key)
        if address.device == "ZR" and self.code != "binary" and self.zr_digits is None:
            return Fault("zr_in_ascii", {"address": point.address}, key)
        numbers = 1 if address.kind.unit == "dword" else point.words
        last, limit = address.number + numbers - 1, self._last_number_of(address)
        if last <= limit:
            return None
        return Fault("past_end", {"address": point.address, "last": last, "le": limit}, key)

    def _last_number_of(self, address: McAddress) -> int:
        """Return the highest number that a frame of this code can say."""
        if self.code == "binary":
            return self.profile.last_number
        radix = self.profile.ascii_radix_of(
            address.device,
            xy_hex=self.code == "ascii_xy_hex",
            zr_decimal=self.zr_digits == "decimal",
        )
        return self.profile.last_in_digits(radix)

    def _place(self, index: int, point: McPoint) -> WritablePlace:
        address = self.address_of(point)
        return WritablePlace(
            point=point.name,
            index=index,
            area=address.device,
            start=address.number,
            count=1 if address.kind.unit == "dword" else point.words,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class McCollector(Collector):
    """Reads Mitsubishi PLCs."""

    protocol: Literal["mitsubishi_mc"]
    """Decides which keys devices and points have."""
    devices: Annotated[tuple[McDevice, ...], Limits(min_length=1, max_length=200, strict=False)]
    """What it reads; one process reads all of them."""
