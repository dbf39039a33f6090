"""What a collector is told to read: one TOML file a collector, validated by one set of types.

The HTTP API, the command line and the collector itself all validate with :func:`load_collector`,
so a file that one of them accepts is accepted by all.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from collectors.contract.addresses import (
    AddressError,
    check_opcua_node_id,
    parse_mc_address,
    parse_modbus_address,
)
from collectors.contract.config_problems import ConfigError, read_toml, translate_problems

SLUG = re.compile(r"[a-z][a-z0-9_-]{0,47}")
"""Names that also become file names, program names and URL parts."""

_NO_CONTROLS = r"^[^\x00-\x1f\x7f/]{1,64}$"

Slug = Annotated[str, Field(pattern=rf"^{SLUG.pattern}$")]
Label = Annotated[str, Field(pattern=_NO_CONTROLS)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:\[\]-]{1,253}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]

NumberType = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"
]  # fmt: skip
ByteOrder = Literal["ABCD", "BADC", "CDAB", "DCBA"]
"""Order of the bytes of a 32-bit value on the wire; ABCD is the standard's big-endian order."""

_WORDS = {
    "bool": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2,
    "int64": 4, "uint64": 4, "float64": 4,
}  # fmt: skip


def _address(parse: Callable[[str], object]) -> AfterValidator:
    def validate(text: str) -> str:
        try:
            parse(text)
        except AddressError as exc:
            raise PydanticCustomError(
                "bad_address",
                "{text} is not an address",
                {"text": text, "hint": exc.hint, **exc.params},
            ) from None
        return text

    return AfterValidator(validate)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PollGroup(_Strict):
    """Points that are read together."""

    id: Slug = "default"
    interval_s: Annotated[Seconds, Field(ge=0.01)] = 1.0


class Point(_Strict):
    """One address to read. ``stored value = raw · scale + offset`` for numbers."""

    name: Label
    group: Slug = "default"
    unit: Annotated[str, Field(max_length=16, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    offset: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    description: Annotated[str, Field(max_length=200)] = ""


class ModbusPoint(Point):
    """A coil, a discrete input, or one or more registers."""

    address: Annotated[str, _address(parse_modbus_address)]
    type: Literal[NumberType, "bool", "string"] = "uint16"
    order: ByteOrder = "ABCD"
    length: Annotated[int, Field(ge=1, le=125)] = 1
    """Registers of a string, two characters each."""

    @property
    def words(self) -> int:
        """Registers that the value fills; 1 for a coil or a bit."""
        return _WORDS.get(self.type, self.length)

    @model_validator(mode="after")
    def _type_fits_table(self) -> Self:
        address = parse_modbus_address(self.address)
        single_bit = address.is_bit_table or address.bit is not None
        if single_bit is not (self.type == "bool"):
            raise PydanticCustomError(
                "type_mismatch",
                "{address} cannot hold {type}",
                {"address": self.address, "type": self.type},
            )
        _reject_overrun(self.address, address.offset + self.words - 1, 0xFFFF)
        return self


class OpcUaPoint(Point):
    """One variable node; its type is the server's."""

    node_id: Annotated[str, _address(check_opcua_node_id)]


class McPoint(Point):
    """One bit device, or one or more words of a word device (little-endian word order)."""

    address: Annotated[str, _address(parse_mc_address)]
    type: Literal[NumberType, "bool", "string"] = "int16"
    length: Annotated[int, Field(ge=1, le=480)] = 1
    """Words of a string, two characters each."""

    @property
    def words(self) -> int:
        """Words that the value fills; 1 for a bit."""
        return _WORDS.get(self.type, self.length)

    @model_validator(mode="after")
    def _type_fits_device(self) -> Self:
        address = parse_mc_address(self.address)
        single_bit = address.is_bit_device or address.bit is not None
        if single_bit is not (self.type == "bool"):
            raise PydanticCustomError(
                "type_mismatch",
                "{address} cannot hold {type}",
                {"address": self.address, "type": self.type},
            )
        _reject_overrun(self.address, address.number + self.words - 1, 0xFFFFFF)
        return self


class Retry(_Strict):
    """Full-jitter exponential back-off between connection attempts."""

    base_s: Seconds = 0.5
    max_s: Seconds = 30.0


class _Device(_Strict):
    id: Slug
    timeout_s: Annotated[Seconds, Field(le=60)] = 1.0
    """Longest wait for one answer."""
    retry: Retry = Retry()
    groups: Annotated[tuple[PollGroup, ...], Field(min_length=1, strict=False)] = (PollGroup(),)

    @model_validator(mode="after")
    def _names_are_consistent(self) -> Self:
        _reject_duplicates("group", [group.id for group in self.groups])
        points: tuple[Point, ...] = getattr(self, "points", ())
        _reject_duplicates("point", [point.name for point in points])
        known = [group.id for group in self.groups]
        for point in points:
            if point.group not in known:
                raise PydanticCustomError(
                    "unknown_group",
                    "point {point} names the group {group}, defined are: {known}",
                    {"point": point.name, "group": point.group, "known": ", ".join(known)},
                )
        return self


class ModbusDevice(_Device):
    """A Modbus TCP server, or one unit behind a gateway."""

    host: Host
    port: Port = 502
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    max_bits: Annotated[int, Field(ge=1, le=2000)] = 2000
    max_gap: Annotated[int, Field(ge=0, le=125)] = 16
    """Unused registers that one request may span to save a second request."""
    points: Annotated[tuple[ModbusPoint, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _points_fit_one_request(self) -> Self:
        _reject_long_points(self.points, "max_registers", self.max_registers)
        return self


class OpcUaDevice(_Device):
    """An OPC UA server."""

    endpoint: Annotated[str, Field(pattern=r"^opc\.tcp://[^\s/@]+(/\S*)?$")]
    points: Annotated[tuple[OpcUaPoint, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _endpoint_has_a_host(self) -> Self:
        try:
            parts = urlsplit(self.endpoint)
            usable = bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise PydanticCustomError(
                "bad_endpoint", "{endpoint} has no host and port", {"endpoint": self.endpoint}
            )
        return self

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.endpoint).port or 4840


class McDevice(_Device):
    """A MELSEC PLC that answers MC protocol 3E frames in binary code."""

    host: Host
    port: Port = 5007
    series: Literal["Q", "L", "QnA", "iQ-L", "iQ-R"] = "Q"
    network: Annotated[int, Field(ge=0, le=255)] = 0
    station: Annotated[int, Field(ge=0, le=255)] = 0xFF
    """PC number of the frame; 255 is the directly connected CPU."""
    max_words: Annotated[int, Field(ge=1, le=960)] = 960
    max_gap: Annotated[int, Field(ge=0, le=480)] = 32
    points: Annotated[tuple[McPoint, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _points_fit_one_request(self) -> Self:
        _reject_long_points(self.points, "max_words", self.max_words)
        return self


class Spool(_Strict):
    """Bounds of the collector's own queue on disk; past either one the oldest data is dropped."""

    max_bytes: Annotated[int, Field(ge=1_000_000, le=10**12)] = 256_000_000
    max_age_s: Annotated[float, Field(gt=0, le=10**8)] = 7 * 86400.0


class _Collector(_Strict):
    name: Slug
    display_name: Annotated[str, Field(max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    spool: Spool = Spool()

    @model_validator(mode="after")
    def _devices_are_distinct(self) -> Self:
        _reject_duplicates("device", [device.id for device in getattr(self, "devices", ())])
        return self


class ModbusCollector(_Collector):
    """Reads Modbus TCP devices."""

    protocol: Literal["modbus_tcp"]
    devices: Annotated[tuple[ModbusDevice, ...], Field(min_length=1, max_length=200, strict=False)]


class OpcUaCollector(_Collector):
    """Reads OPC UA servers."""

    protocol: Literal["opcua"]
    devices: Annotated[tuple[OpcUaDevice, ...], Field(min_length=1, max_length=200, strict=False)]


class McCollector(_Collector):
    """Reads Mitsubishi PLCs."""

    protocol: Literal["mitsubishi_mc"]
    devices: Annotated[tuple[McDevice, ...], Field(min_length=1, max_length=200, strict=False)]


CollectorConfig = Annotated[
    ModbusCollector | OpcUaCollector | McCollector, Field(discriminator="protocol")
]
AnyCollector = ModbusCollector | OpcUaCollector | McCollector
AnyDevice = ModbusDevice | OpcUaDevice | McDevice
AnyPoint = ModbusPoint | OpcUaPoint | McPoint
PROTOCOLS: tuple[str, ...] = tuple(
    get_args(model.model_fields["protocol"].annotation)[0] for model in get_args(AnyCollector)
)

_ADAPTER: TypeAdapter[AnyCollector] = TypeAdapter(CollectorConfig)


def load_collector(path: Path) -> AnyCollector:
    """Read and validate one collector file.

    Raises:
        ConfigError: the file is missing, not TOML, or breaks a rule; lists every problem with
            file, key and remedy.
    """
    config = parse_collector(read_toml(path), file=str(path))
    if config.name != path.stem:
        raise ConfigError.single(
            str(path), "name", "name_is_not_file", {"name": config.name, "stem": path.stem}
        )
    return config


def parse_collector(document: dict[str, Any], *, file: str) -> AnyCollector:
    """Validate a parsed TOML document; ``file`` is named in the problems.

    Raises:
        ConfigError: see :func:`load_collector`.
    """
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as exc:
        raise ConfigError(translate_problems(exc, document, file, known_keys)) from None


def revision_of(path: Path) -> str:
    """Return the first 12 hex digits of the file's SHA-256, the name of this exact text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def known_keys(protocol: str, location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that are allowed at ``location`` of a document of ``protocol``."""
    model: Any = next(
        (m for m in get_args(AnyCollector) if m.__name__ == _MODEL_NAMES.get(protocol)), None
    )
    for part in location:
        if model is None or isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        model = None if field is None else _model_inside(field.annotation)
    return [] if model is None else list(model.model_fields)


_MODEL_NAMES = {
    "modbus_tcp": "ModbusCollector",
    "opcua": "OpcUaCollector",
    "mitsubishi_mc": "McCollector",
}


def _model_inside(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_inside(arg))), None)


def _reject_duplicates(kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise PydanticCustomError(
                "duplicate", "two {kind}s are called {name}", {"kind": kind, "name": name}
            )


def _reject_overrun(address: str, last: int, limit: int) -> None:
    if last > limit:
        raise PydanticCustomError(
            "past_end", "{address} ends at {last}", {"address": address, "last": last, "le": limit}
        )


def _reject_long_points(
    points: tuple[ModbusPoint, ...] | tuple[McPoint, ...], key: str, limit: int
) -> None:
    for point in points:
        if point.words > limit:
            raise PydanticCustomError(
                "point_too_long",
                "point {point} fills {words} words",
                {"point": point.name, "words": point.words, "limit_key": key, "le": limit},
            )
