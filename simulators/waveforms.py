"""What a simulated sensor measures: pure functions of time and seed.

``wave.at(t_s, seed)`` is the true value at ``t_s`` seconds after the start of the simulator, before
it is fitted into the signal's type. The same time and seed always give the same value, however
often and in whatever order it is asked for.
"""

import bisect
import math
import struct
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from simulators.replay import Recording, ReplayError, read_recording

Value = bool | int | float | str
"""What a signal can hold."""

_MASK = (1 << 64) - 1

Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Duration = Annotated[float, Field(ge=1e-6, le=1e7)]


def _content(value: object) -> Value:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("not_a_value", "not a value")
    if isinstance(value, int) and not -(1 << 63) <= value <= _MASK:
        raise PydanticCustomError("wave_range", "range", {"type": "int64 or uint64"})
    return value


Content = Annotated[Value, PlainValidator(_content)]


def _random(seed: int, key: int) -> float:
    """Return a number in -1..1 that depends on nothing else (SplitMix64, Steele et al. 2014)."""
    x = (seed * 0x9E3779B97F4A7C15 + key * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((x ^ (x >> 31)) >> 11) / (1 << 52) - 1.0


class _Wave(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _NoisyWave(_Wave):
    noise: Annotated[Number, Field(ge=0)] = 0.0
    """Largest random deviation, new at every instant."""

    def at(self, t_s: float, seed: int) -> Value:
        value = self._clean(t_s)
        if self.noise:
            instant: int = struct.unpack("<Q", struct.pack("<d", t_s))[0]
            value += self.noise * _random(seed, instant)
        return value

    def _clean(self, t_s: float) -> float:
        raise NotImplementedError


class Sine(_NoisyWave):
    """``mean + amplitude · sin(2π · (t + phase) / period)``."""

    kind: Literal["sine"]
    mean: Number = 0.0
    amplitude: Number = 1.0
    period_s: Duration
    phase_s: Number = 0.0

    def _clean(self, t_s: float) -> float:
        turns = math.fmod(t_s + self.phase_s, self.period_s) / self.period_s
        return self.mean + self.amplitude * math.sin(math.tau * turns)


class _LowToHigh(_NoisyWave):
    low: Number = 0.0
    high: Number = 1.0
    period_s: Duration

    def _clean(self, t_s: float) -> float:
        phase = (t_s % self.period_s) / self.period_s
        return self.low + (self.high - self.low) * self._shape(phase)

    def _shape(self, phase: float) -> float:
        raise NotImplementedError


class Ramp(_LowToHigh):
    """Climbs from low to high, then starts again at low."""

    kind: Literal["ramp"]

    def _shape(self, phase: float) -> float:
        return phase


class Triangle(_LowToHigh):
    """Climbs from low to high and falls back."""

    kind: Literal["triangle"]

    def _shape(self, phase: float) -> float:
        return 1.0 - abs(2.0 * phase - 1.0)


class Square(_LowToHigh):
    """High for the first ``duty`` of every period, then low."""

    kind: Literal["square"]
    duty: Annotated[Number, Field(gt=0, lt=1)] = 0.5

    def _shape(self, phase: float) -> float:
        return 1.0 if phase < self.duty else 0.0


class Counter(_Wave):
    """Counts ``step`` up from ``start`` every ``step_s`` seconds."""

    kind: Literal["counter"]
    start: Number = 0.0
    step: Number = 1.0
    step_s: Duration = 1.0

    def at(self, t_s: float, seed: int) -> Value:
        del seed
        return self.start + self.step * math.floor(t_s / self.step_s)


_OCTAVES = 12
# Sum over the octaves of the steepest slope, so that a walk never moves more than its step.
_STEEPEST = sum(2.0 * 2 ** (-k / 2) for k in range(_OCTAVES))


class RandomWalk(_Wave):
    """Wanders off from ``start``, at most ``step`` up or down every ``step_s`` seconds.

    Noise of twelve octaves, each twice as slow and √2 as strong as the one before, moves like a
    random walk over up to 4096 steps and, unlike a sum of steps, needs no history.
    """

    kind: Literal["random_walk"]
    start: Number = 0.0
    step: Annotated[Number, Field(gt=0)] = 1.0
    step_s: Duration = 1.0
    low: Number = -1e300
    high: Number = 1e300

    @model_validator(mode="after")
    def _start_is_inside(self) -> Self:
        if not self.low <= self.start <= self.high:
            raise PydanticCustomError("walk_range", "start is not between low and high")
        return self

    def at(self, t_s: float, seed: int) -> Value:
        moved = self._noise(math.floor(t_s / self.step_s), seed) - self._noise(0, seed)
        return min(max(self.start + self.step * moved / _STEEPEST, self.low), self.high)

    @staticmethod
    def _noise(step: int, seed: int) -> float:
        total = 0.0
        for octave in range(_OCTAVES):
            knot, inside = divmod(step, 1 << octave)
            share = inside / (1 << octave)
            before, after = (_random(seed * _OCTAVES + octave, knot + k) for k in (0, 1))
            total += 2 ** (octave / 2) * (before + (after - before) * share)
        return total


class Constant(_Wave):
    """Never changes."""

    kind: Literal["constant"]
    value: Content

    def at(self, t_s: float, seed: int) -> Value:
        del t_s, seed
        return self.value


class TextList(_Wave):
    """Shows each text for ``step_s`` seconds, then starts again."""

    kind: Literal["text_list"]
    values: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    step_s: Duration = 1.0

    def at(self, t_s: float, seed: int) -> Value:
        del seed
        return self.values[math.floor(t_s / self.step_s) % len(self.values)]


class Steps(_Wave):
    """Shows each number for ``step_s`` seconds, then starts again."""

    kind: Literal["steps"]
    values: Annotated[tuple[Number, ...], Field(min_length=1, strict=False)]
    step_s: Duration = 1.0

    def at(self, t_s: float, seed: int) -> Value:
        del seed
        return self.values[math.floor(t_s / self.step_s) % len(self.values)]


class CsvReplay(_Wave):
    """Plays a column of a CSV file; the first column is the time in seconds.

    Each value lasts until the next row. After the last row it starts again, as long after it as
    that row came after the one before.
    """

    kind: Literal["csv"]
    file: str
    """Beside the simulator's file, unless absolute."""
    column: str
    _recording: Recording = PrivateAttr(default_factory=lambda: Recording((0.0,), (0.0,)))
    _duration_s: float = PrivateAttr(1.0)

    @model_validator(mode="after")
    def _can_be_read(self, info: ValidationInfo) -> Self:
        folder = (info.context or {}).get("folder", Path())
        try:
            self._recording = found = read_recording(folder / self.file, self.column)
        except ReplayError as exc:
            params = {name: str(value) for name, value in exc.params.items()}
            raise PydanticCustomError(exc.code, "csv", params) from None
        times = found.times_s
        self._duration_s = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1.0)
        return self

    def at(self, t_s: float, seed: int) -> Value:
        del seed
        index = bisect.bisect_right(self._recording.times_s, t_s % self._duration_s) - 1
        return self._recording.values[index]


class Writable(_Wave):
    """Holds what was written last; ``value`` until then."""

    kind: Literal["writable"]
    value: Content

    def at(self, t_s: float, seed: int) -> Value:
        del t_s, seed
        return self.value


AnyWave = (
    Sine | Ramp | Triangle | Square | Counter | RandomWalk | Steps | CsvReplay
    | Constant | TextList | Writable
)  # fmt: skip
Wave = Annotated[AnyWave, Field(discriminator="kind")]


def texts_of(wave: AnyWave) -> tuple[str, ...] | None:
    """Return every text that ``wave`` can start with; ``None`` if it is a wave of numbers."""
    match wave:
        case TextList():
            return wave.values
        case Constant() | Writable() if isinstance(wave.value, str):
            return (wave.value,)
        case _:
            return None
