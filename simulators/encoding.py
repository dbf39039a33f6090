"""How a value becomes 16-bit words and back: types, clamping and the order of bytes and words."""

import math
import struct
from dataclasses import dataclass
from typing import Literal

from simulators.waveforms import Value

NumberType = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"
]  # fmt: skip
SignalType = Literal["bool", NumberType, "string"]
ByteOrder = Literal["ABCD", "BADC", "CDAB", "DCBA"]

_FORMATS = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
    "float32": ">f", "float64": ">d",
}  # fmt: skip
_RANGES = {
    name: (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    for bits in (16, 32, 64)
    for name, signed in ((f"int{bits}", True), (f"uint{bits}", False))
}
FLOAT32_MAX = struct.unpack(">f", b"\x7f\x7f\xff\xff")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The layout of one signal in words.

    Attributes:
        type: What the value is; a ``bool`` is no word and has no encoding of its own.
        length: Words of a string, two bytes each.
        order: Order of the bytes A (most significant) to D on the wire: ``ABCD`` big-endian,
            ``CDAB`` least significant word first, ``BADC`` bytes of each word swapped, ``DCBA``
            both. 64-bit values follow the same rule over four words. Of a string only the two
            bytes of a word are swapped, never its words.
    """

    type: SignalType
    length: int = 1
    order: ByteOrder = "ABCD"

    @property
    def words(self) -> int:
        return self.length if self.type == "string" else struct.calcsize(_FORMATS[self.type]) // 2

    def encode(self, value: Value) -> tuple[int, ...]:
        """Return the words that hold ``value``, clamped to the type."""
        if self.type == "string":
            text = str(value).encode()[: 2 * self.length]
            return self._arrange(text.ljust(2 * self.length, b"\0"))
        return self._arrange(struct.pack(_FORMATS[self.type], fit(value, self.type)))

    def decode(self, words: tuple[int, ...]) -> Value:
        """Return the value that ``words`` hold."""
        raw = struct.pack(f">{len(words)}H", *self._swap(words))
        if self.type == "string":
            return raw.rstrip(b"\0").decode(errors="replace")
        value: Value = struct.unpack(_FORMATS[self.type], raw)[0]
        return value

    def _arrange(self, raw: bytes) -> tuple[int, ...]:
        return self._swap(struct.unpack(f">{len(raw) // 2}H", raw))

    def _swap(self, words: tuple[int, ...]) -> tuple[int, ...]:
        """Reorder words; its own inverse."""
        if self.order in ("BADC", "DCBA"):
            words = tuple((word >> 8) | ((word & 0xFF) << 8) for word in words)
        if self.order in ("CDAB", "DCBA") and self.type != "string":
            words = words[::-1]
        return words


def fit(value: Value, signal_type: SignalType) -> Value:
    """Return the value of ``signal_type`` nearest to ``value``; a float32 is rounded to one."""
    if signal_type == "string":
        return str(value)
    number = float(value) if isinstance(value, str) else value
    if signal_type == "bool":
        return number >= 0.5
    if signal_type == "float64":
        return float(number)
    if signal_type == "float32":
        finite = math.isfinite(number)
        inside = min(max(number, -FLOAT32_MAX), FLOAT32_MAX) if finite else number
        rounded: float = struct.unpack(">f", struct.pack(">f", inside))[0]
        return rounded
    low, high = _RANGES[signal_type]
    if math.isinf(number):
        return high if number > 0 else low
    return min(max(round(number), low), high)


def problem_with(value: Value, signal_type: SignalType, length: int | None) -> str | None:
    """Say why a signal cannot hold ``value``: kind, range or text_too_long; None if it can."""
    if isinstance(value, str) is not (signal_type == "string"):
        return "kind"
    if isinstance(value, str):
        return "text_too_long" if length and len(value.encode()) > 2 * length else None
    if signal_type == "bool":
        return None if value in (0, 1) else "kind"
    if isinstance(value, bool):
        return "kind"
    if signal_type in _RANGES:
        return None if math.isfinite(value) and fit(value, signal_type) == value else "range"
    too_big = signal_type == "float32" and math.isfinite(value) and abs(value) > FLOAT32_MAX
    return "range" if too_big else None
