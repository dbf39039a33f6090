"""The keys that every protocol's collector file has: collector, device, poll group, point."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from collectors.contract.addresses import AddressError
from collectors.contract.limits import Checked, Fault, Limits, Prepared, Rejected, Strict

SLUG = re.compile(r"[a-z][a-z0-9_-]{0,47}")
"""Names that also become file names, program names and URL parts."""

_NO_CONTROLS = r"^[^\x00-\x1f\x7f/]{1,64}$"

Slug = Annotated[str, Limits(pattern=rf"^{SLUG.pattern}$")]
Label = Annotated[str, Limits(pattern=_NO_CONTROLS)]
Host = Annotated[str, Limits(pattern=r"^[A-Za-z0-9._:\[\]-]{1,253}$")]
Port = Annotated[int, Limits(ge=1, le=65535)]
Finite = Annotated[float, Limits(allow_inf_nan=False)]
Seconds = Annotated[float, Limits(gt=0, le=86400, allow_inf_nan=False)]

Phase = Annotated[
    Annotated[float, Limits(ge=0, le=86400, allow_inf_nan=False)] | None,
    Prepared(lambda given: None if given == "auto" else given),
]
"""Seconds, or ``"auto"`` for a place within the interval that follows from the device's name."""

NumberType = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"
]  # fmt: skip
BcdType = Literal["bcd16", "bcd32"]
"""Four or eight decimal digits, four bits each, without a sign."""
SmallType = Literal["int8h", "int8l", "uint8h", "uint8l", "float16"]
"""The high or the low byte of a register, and half-precision numbers."""
ByteOrder = Literal["ABCD", "BADC", "CDAB", "DCBA"]
"""Order of the bytes of a 32-bit value on the wire; ABCD is the standard's big-endian order."""

_WORDS = {
    "bool": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2,
    "int64": 4, "uint64": 4, "float64": 4, "bcd16": 1, "bcd32": 2,
    "int8h": 1, "int8l": 1, "uint8h": 1, "uint8l": 1, "float16": 1,
}  # fmt: skip


def address_text(parse: Callable[[str], object]) -> Checked:
    def check(text: str) -> None:
        try:
            parse(text)
        except AddressError as exc:
            raise Rejected(bad_address(text, exc)) from None

    return Checked(check)


def bad_address(text: str, error: AddressError, *key: str | int) -> Fault:
    return Fault("bad_address", {"text": text, "hint": error.hint, **error.params}, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollGroup(Strict):
    """Points that are read together."""

    id: Slug = "default"
    """What points name as their ``group``."""
    interval_s: Annotated[Seconds, Limits(ge=0.01)] = 1.0
    """Every point of the group is read this often."""
    phase_s: Phase = None
    """Place of the cycles within the interval; ``"auto"`` spreads the devices out."""
    frozen_after_s: Seconds | None = None
    """If not one value of the group changes for so long, they are told to be frozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point(Strict):
    """One address to read. ``stored value = raw · scale + offset`` for numbers.

    The runtime applies ``clamp``, ``deadband`` and ``max_silence_s``, the same for each protocol.
    """

    name: Label
    """In the device; the series is ``COLLECTOR/DEVICE/NAME``."""
    group: Slug = "default"
    """The poll group that it is read with."""
    unit: Annotated[str, Limits(max_length=16, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """Shown behind the value; nothing is converted."""
    scale: Finite = 1.0
    """Stored value = raw value · ``scale`` + ``offset``."""
    offset: Finite = 0.0
    """Added after ``scale``, in the unit of the point."""
    description: Annotated[str, Limits(max_length=200)] = ""
    """For people; the panel shows it."""
    deadband: Annotated[float, Limits(ge=0, allow_inf_nan=False)] | None = None
    """Store a number only once it has moved by more than this; without it, store each reading.

    A bool or a text with a deadband is stored when it changes.
    """
    max_silence_s: Seconds = 60.0
    """Store an unchanged good value again after this time; only of interest with a deadband."""
    clamp: Annotated[tuple[Finite, Finite], Limits(strict=False)] | None = None
    """Lowest and highest possible value; what lies outside is ``BAD_RANGE``, never stored as good.
    """
    writable: bool = False
    """Accept writes; they must lie within ``clamp``."""

    def __post_init__(self) -> None:
        if self.clamp is not None and self.clamp[0] >= self.clamp[1]:
            low, high = self.clamp
            raise Rejected(Fault("bad_clamp", {"low": low, "high": high}))


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPoint(Point):
    """A point that fills words of a device's memory, or one bit of it."""

    type: Literal[NumberType, BcdType, SmallType, "bool", "string"] = "uint16"
    """How the words are understood."""
    length: int = 1
    """Words of a string, two characters each."""

    @property
    def words(self) -> int:
        """Words that the value fills; 1 for a bit."""
        return _WORDS.get(self.type, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry(Strict):
    """Full-jitter exponential back-off between connection attempts."""

    base_s: Seconds = 0.5
    """Longest first pause; each next one may be twice as long. The pause itself is random."""
    max_s: Seconds = 1.5
    """Longest pause of all, so that values come again within 2 s after the device does."""
    parked_max_s: Seconds = 30.0
    """The same for a silent unit behind a gateway that answers for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Strict):
    id: Slug
    """Names the device in the panel, in series and in commands."""
    timeout_s: Annotated[Seconds, Limits(le=60)] = 1.0
    """Longest wait for one answer."""
    retry: Retry = Retry()
    """Pauses between attempts to connect."""
    groups: Annotated[tuple[PollGroup, ...], Limits(min_length=1, strict=False)] = (PollGroup(),)
    """Poll groups; without any, one named ``default`` that is read each second."""
    points: tuple[Point, ...]
    """What is read."""

    def __post_init__(self) -> None:
        reject_duplicates("group", "id", [group.id for group in self.groups])
        reject_duplicates("point", "name", [point.name for point in self.points])
        known = [group.id for group in self.groups]
        for index, point in enumerate(self.points):
            if point.group not in known:
                named = {"point": point.name, "group": point.group, "known": ", ".join(known)}
                raise Rejected(Fault("unknown_group", named, ("points", index, "group")))

    def with_points(self, *points: Point) -> Self:
        """Return the device with these points only; thousands of them cost megabytes."""
        return replace(self, points=points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool(Strict):
    """Bounds of the collector's own queue on disk.

    At ``max_bytes``, or on a full disk, the oldest data is dropped, or else, with ``block``, new
    data is not stored until a store has made room. What is older than ``max_age_s`` is dropped.
    """

    max_bytes: Annotated[int, Limits(ge=1_000_000, le=10**12)] = 256_000_000
    """Size of the queue on disk."""
    max_age_s: Annotated[float, Limits(gt=0, le=10**8)] = 7 * 86400.0
    """What no store has taken for so long is dropped and counted."""
    on_full: Literal["drop_oldest", "block"] = "drop_oldest"
    """At the bound, drop the oldest, or refuse the newest; both are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector(Strict):
    name: Slug
    """The file's name without ``.toml``."""
    display_name: Annotated[str, Limits(max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """What people call it, in any script; the panel shows it beside the name."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written to its log."""
    spool: Spool = Spool()
    """Bounds of its queue on disk."""
    devices: tuple[Device, ...]
    """What it reads; one process reads all of them."""

    def __post_init__(self) -> None:
        reject_duplicates("device", "id", [device.id for device in self.devices])


def reject_duplicates(kind: str, key: str, names: list[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            named = {"kind": kind, "name": name}
            raise Rejected(Fault("duplicate", named, (f"{kind}s", index, key)))
        seen.add(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WritablePlace:
    """Where a writable point lies: ``count`` units of ``area`` from ``start`` on.

    Attributes:
        index: Of the point in its device.
    """

    point: str
    index: int
    area: str
    start: int
    count: int


def reject_overlapping_writables(places: Sequence[WritablePlace]) -> None:
    """Refuse two writable points that share a place: writing one would change the other."""
    last: WritablePlace | None = None
    for place in sorted(places, key=lambda place: (place.area, place.start)):
        if last and last.area == place.area and place.start < last.start + last.count:
            named = {"a": last.point, "b": place.point}
            raise Rejected(Fault("overlap", named, ("points", place.index, "address")))
        if last is None or last.area != place.area or _end(place) > _end(last):
            last = place


def _end(place: WritablePlace) -> int:
    return place.start + place.count


def reject_overrun(address: str, last: int, limit: int) -> None:
    if last > limit:
        raise Rejected(Fault("past_end", {"address": address, "last": last, "le": limit}))


def reject_long_points(points: Sequence[WordPoint], key: str, limit: int) -> None:
    for index, point in enumerate(points):
        if point.words > limit:
            named = {"point": point.name, "words": point.words, "limit_key": key, "le": limit}
            raise Rejected(Fault("point_too_long", named, ("points", index)))
