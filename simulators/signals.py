"""One simulated value: where it lies in a device, its type and its wave."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from simulators.addresses import AddressError, Place, check_node_id, parse_modbus_address
from simulators.encoding import ByteOrder, Encoding, SignalType, problem_with
from simulators.mc_devices import PROFILES, Series, parse_mc_address, series_with
from simulators.waveforms import Constant, Wave, Writable, texts_of

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


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Signal(Strict):
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
    address: Annotated[str, _address(series_with)]
    _series: Series = PrivateAttr("Q")

    def model_post_init(self, context: Any, /) -> None:
        """Read the address as some series does, until the device tells its own."""
        del context
        self._series = series_with(self.address)

    def belong_to(self, series: Series) -> None:
        """Read the address as CPUs of ``series`` count.

        Raises:
            AddressError: they do not have it.
        """
        parse_mc_address(self.address, series)
        self._series = series

    @property
    def place(self) -> Place:
        return parse_mc_address(self.address, self._series)

    @property
    def is_in_bit_area(self) -> bool:
        return PROFILES[self._series].devices[self.place.area].is_bit

    @property
    def encoding(self) -> Encoding | None:
        """MELSEC keeps the low word first and the first character in the low byte."""
        if self.type == "bool":
            return None
        order: ByteOrder = "BADC" if self.type == "string" else "CDAB"
        return Encoding(type=self.type, length=self.length, order=order)


class OpcUaSignal(Signal):
    address: Annotated[str, _address(check_node_id)]


def seed_of(simulator_seed: int, device: str, unit_id: int | None, name: str) -> int:
    """Return a seed of its own for one signal, so that two signals never move alike."""
    text = f"{simulator_seed}/{device}/{unit_id}/{name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def reject_duplicate_names(signals: Sequence[Signal]) -> None:
    seen: set[str] = set()
    for signal in signals:
        if signal.name in seen:
            raise PydanticCustomError("duplicate_name", "name", {"name": signal.name})
        seen.add(signal.name)


def reject_overlaps(signals: Sequence[RegisterSignal], size_of: Callable[[str], int]) -> None:
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
