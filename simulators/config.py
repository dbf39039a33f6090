"""What a simulator serves: one TOML file a process, one protocol a file."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)
from pydantic_core import PydanticCustomError

from simulators.addresses import (
    MC_DEVICES,
    AddressError,
    Place,
    check_node_id,
    parse_mc_address,
    parse_modbus_address,
)
from simulators.encoding import ByteOrder, Encoding, SignalType, problem_with
from simulators.waveforms import Constant, Wave, Writable, texts_of

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
Port = Annotated[int, Field(ge=0, le=65535)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f/]{1,64}$")]


def _address(parse: Callable[[str], object]) -> AfterValidator:
    def validate(text: str) -> str:
        try:
            parse(text)
        except AddressError as exc:
            params = {"value": text, **exc.params}
            raise PydanticCustomError(f"address_{exc.reason}", "bad address", params) from None
        return text

    return AfterValidator(validate)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Signal(_Strict):
    """One value that changes with time as its wave says."""

    name: Name
    type: SignalType
    wave: Wave

    @model_validator(mode="after")
    def _wave_fits_type(self) -> Self:
        length: int | None = getattr(self, "length", None)
        contents: tuple[Any, ...] | None = texts_of(self.wave)
        if contents is None and isinstance(self.wave, Constant | Writable):
            contents = (self.wave.value,)
        if contents is None and self.type == "string":
            raise PydanticCustomError("wave_kind", "wave", {"type": self.type})
        for content in contents or ():
            problem = problem_with(content, self.type, length)
            if problem is not None:
                params = {"type": self.type, "value": repr(content), "length": length or 0}
                raise PydanticCustomError(f"wave_{problem}", "wave", params)
        return self


class RegisterSignal(Signal):
    """A signal in the words and bits of a device."""

    address: str
    length: Annotated[int, Field(ge=1, le=480)] = 1
    """Words of a string, two bytes each."""

    @property
    def place(self) -> Place:
        raise NotImplementedError

    @property
    def is_in_bit_area(self) -> bool:
        raise NotImplementedError

    @property
    def encoding(self) -> Encoding | None:
        """How the words are laid out; ``None`` for a single bit."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _type_fits_place(self) -> Self:
        single_bit = self.is_in_bit_area or self.place.bit is not None
        if single_bit is not (self.type == "bool"):
            params = {"address": self.address, "type": self.type}
            raise PydanticCustomError("type_mismatch", "type", params)
        return self


class ModbusSignal(RegisterSignal):
    address: Annotated[str, _address(parse_modbus_address)]
    order: ByteOrder = "ABCD"

    @property
    def place(self) -> Place:
        return parse_modbus_address(self.address)

    @property
    def is_in_bit_area(self) -> bool:
        return self.place.area in ("coil", "discrete")

    @property
    def encoding(self) -> Encoding | None:
        if self.type == "bool":
            return None
        return Encoding(type=self.type, length=self.length, order=self.order)


class McSignal(RegisterSignal):
    address: Annotated[str, _address(parse_mc_address)]

    @property
    def place(self) -> Place:
        return parse_mc_address(self.address)

    @property
    def is_in_bit_area(self) -> bool:
        return MC_DEVICES[self.place.area].is_bit

    @property
    def encoding(self) -> Encoding | None:
        """MELSEC keeps the low word first and the first character in the low byte."""
        if self.type == "bool":
            return None
        order: ByteOrder = "BADC" if self.type == "string" else "CDAB"
        return Encoding(type=self.type, length=self.length, order=order)


class OpcUaSignal(Signal):
    address: Annotated[str, _address(check_node_id)]


class ModbusUnit(_Strict):
    """One device, or one device behind a gateway."""

    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    gaps_readable: bool = True
    """Registers between the first and the last signal of a table exist and read 0."""
    signals: Annotated[tuple[ModbusSignal, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _signals_are_distinct(self) -> Self:
        _reject_duplicate_names(self.signals)
        _reject_overlaps(self.signals, lambda _area: 0x10000)
        return self


class _Simulator(_Strict):
    host: Host = "127.0.0.1"
    port: Port = 0
    """0 lets the kernel choose a free one."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0


class ModbusSimulator(_Simulator):
    protocol: Literal["modbus_tcp"]
    units: Annotated[tuple[ModbusUnit, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _units_are_distinct(self) -> Self:
        seen: set[int] = set()
        for unit in self.units:
            if unit.unit_id in seen:
                raise PydanticCustomError("duplicate_unit", "unit", {"unit_id": unit.unit_id})
            seen.add(unit.unit_id)
        return self


class OpcUaSimulator(_Simulator):
    protocol: Literal["opcua"]
    update_s: Annotated[float, Field(ge=0.01, le=3600)] = 0.1
    signals: Annotated[tuple[OpcUaSignal, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _signals_are_distinct(self) -> Self:
        _reject_duplicate_names(self.signals)
        seen: dict[str, str] = {}
        for signal in self.signals:
            other = seen.setdefault(signal.address, signal.name)
            if other != signal.name:
                raise PydanticCustomError("overlap", "overlap", {"a": other, "b": signal.name})
        return self


class McSimulator(_Simulator):
    protocol: Literal["mitsubishi_mc"]
    cpu_model: Annotated[str, Field(pattern=r"^[ -~]{1,16}$")] = "Q03UDVCPU"
    cpu_code: Annotated[int, Field(ge=0, le=0xFFFF)] = 0x0366
    signals: Annotated[tuple[McSignal, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _signals_are_distinct(self) -> Self:
        _reject_duplicate_names(self.signals)
        _reject_overlaps(self.signals, lambda area: MC_DEVICES[area].points)
        return self


AnySimulator = ModbusSimulator | OpcUaSimulator | McSimulator
ADAPTER: TypeAdapter[AnySimulator] = TypeAdapter(
    Annotated[AnySimulator, Field(discriminator="protocol")]
)


def seed_of(simulator_seed: int, unit_id: int | None, name: str) -> int:
    """Return a seed of its own for one signal, so that two signals never move alike."""
    text = f"{simulator_seed}/{unit_id}/{name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def _reject_duplicate_names(signals: Sequence[Signal]) -> None:
    seen: set[str] = set()
    for signal in signals:
        if signal.name in seen:
            raise PydanticCustomError("duplicate_name", "name", {"name": signal.name})
        seen.add(signal.name)


def _reject_overlaps(signals: Sequence[RegisterSignal], size_of: Callable[[str], int]) -> None:
    taken: dict[tuple[str, int, int], str] = {}
    for signal in signals:
        place, words = signal.place, 1 if signal.encoding is None else signal.encoding.words
        if place.start + words > size_of(place.area):
            params = {"name": signal.name, "address": signal.address, "words": words}
            raise PydanticCustomError("past_end", "end", params)
        bits = range(16) if signal.encoding is not None else (place.bit or 0,)
        for word in range(place.start, place.start + words):
            for bit in bits:
                other = taken.setdefault((place.area, word, bit), signal.name)
                if other != signal.name:
                    raise PydanticCustomError("overlap", "overlap", {"a": other, "b": signal.name})
