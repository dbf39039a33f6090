"""The words and bits of a simulated device, computed anew at the instant of every request.

An area (a Modbus table, a MELSEC device) is asked for a range at one time ``t_s`` and answers with
the raw content and with the value of every signal that lies inside the range, exactly as encoded.
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simulators.encoding import Encoding, SignalType, fit, problem_with
from simulators.signals import RegisterSignal, seed_of
from simulators.waveforms import AnyWave, Value, Writable

Values = dict[str, Value]


class NoSuchAddress(Exception):
    """The range reaches outside of what the device has."""

    def __init__(self, *, starts_outside: bool) -> None:
        super().__init__()
        self.starts_outside = starts_outside


class NotWritable(Exception):
    """Part of the range is not held by a writable signal."""


class NoSuchSignal(Exception):
    """The device has no signal of this name."""


class CannotHold(Exception):
    """A signal cannot hold this value; ``reason`` is one of ``encoding.problem_with``."""

    def __init__(self, signal_type: SignalType, length: int, reason: str) -> None:
        super().__init__(reason)
        self.signal_type = signal_type
        self.length = length
        self.reason = reason


def check_content(value: Value, signal_type: SignalType, length: int) -> None:
    """Accept a ``value`` that a signal of ``signal_type`` can hold.

    Raises:
        CannotHold: it cannot.
    """
    reason = problem_with(value, signal_type, length)
    if reason is not None:
        raise CannotHold(signal_type, length, reason)


@dataclass(slots=True, kw_only=True)
class _Flag:
    """A signal of one bit; ``held`` is what was written, ``None`` if its wave drives it."""

    name: str
    start: int
    bit: int
    wave: AnyWave
    seed: int
    held: bool | None = None

    @property
    def end(self) -> int:
        return self.start + 1

    @property
    def writable(self) -> bool:
        return isinstance(self.wave, Writable)

    def at(self, t_s: float) -> bool:
        return bool(fit(self.wave.at(t_s, self.seed), "bool")) if self.held is None else self.held

    def hold(self, value: Value) -> None:
        check_content(value, "bool", 1)
        self.held = bool(value)


@dataclass(slots=True, kw_only=True)
class _Register:
    """A signal of one or more words; ``held`` is what was written, see :class:`_Flag`."""

    name: str
    start: int
    bit: int
    encoding: Encoding
    wave: AnyWave
    seed: int
    held: tuple[int, ...] | None = None

    @property
    def end(self) -> int:
        return self.start + self.encoding.words

    @property
    def writable(self) -> bool:
        return isinstance(self.wave, Writable)

    def at(self, t_s: float) -> tuple[int, ...]:
        if self.held is not None:
            return self.held
        return self.encoding.encode(self.wave.at(t_s, self.seed))

    def hold(self, value: Value) -> None:
        check_content(value, self.encoding.type, self.encoding.length)
        self.held = self.encoding.encode(value)


def _cell(signal: RegisterSignal, seed: int) -> _Flag | _Register:
    place = signal.place
    if signal.encoding is None:
        return _Flag(
            name=signal.name, start=place.start, bit=place.bit or 0, wave=signal.wave, seed=seed
        )
    return _Register(
        name=signal.name,
        start=place.start,
        bit=0,
        encoding=signal.encoding,
        wave=signal.wave,
        seed=seed,
    )


class Area:
    """The cells of one table or device, in the order of their addresses."""

    def __init__(
        self,
        signals: Sequence[RegisterSignal],
        *,
        extent: range | None = None,
        gaps_readable: bool = True,
        seed: tuple[int, str, int | None] = (0, "", None),
    ) -> None:
        """Place ``signals``; ``extent`` is what exists, by default from the first to the last.

        ``seed`` is that of the simulator, the device and the unit.
        """
        cells = [_cell(signal, seed_of(*seed, signal.name)) for signal in signals]
        self._cells = sorted(cells, key=lambda cell: (cell.start, cell.bit))
        self._by_name = {cell.name: cell for cell in cells}
        self._starts = [cell.start for cell in self._cells]
        self._longest = max((cell.end - cell.start for cell in cells), default=1)
        if extent is None:
            first = self._starts[0] if cells else 0
            extent = range(first, max((cell.end for cell in cells), default=0))
        self._extent = extent
        self._existing = (
            None if gaps_readable else {n for c in cells for n in range(c.start, c.end)}
        )

    def has(self, name: str) -> bool:
        return name in self._by_name

    def hold(self, name: str, value: Value | None) -> None:
        """Let the signal ``name`` hold ``value``; ``None``: follow its wave again.

        Raises:
            NoSuchSignal: it is not in this area.
            CannotHold: not a value of its type.
        """
        cell = self._by_name.get(name)
        if cell is None:
            raise NoSuchSignal
        if value is None:
            cell.held = None
        else:
            cell.hold(value)

    def check(self, start: int, count: int) -> None:
        """Accept a range that can be read.

        Raises:
            NoSuchAddress: part of it does not exist.
        """
        if start not in self._extent:
            raise NoSuchAddress(starts_outside=True)
        if start + count > self._extent.stop:
            raise NoSuchAddress(starts_outside=False)
        if self._existing is not None and not self._existing.issuperset(
            range(start, start + count)
        ):
            raise NoSuchAddress(starts_outside=start not in self._existing)

    def check_writable(self, start: int, count: int) -> None:
        """Accept a range that clients may write.

        Raises:
            NoSuchAddress, NotWritable: see :meth:`_writable`.
        """
        self._writable(start, count)

    def _overlapping(self, start: int, count: int) -> Iterator[_Flag | _Register]:
        first = bisect.bisect_left(self._starts, start - self._longest + 1)
        for index in range(first, len(self._cells)):
            cell = self._cells[index]
            if cell.start >= start + count:
                return
            if cell.end > start:
                yield cell

    def _writable(self, start: int, count: int) -> list[_Flag | _Register]:
        """Return the cells in the range if clients may write all of it.

        Raises:
            NoSuchAddress: part of it does not exist.
            NotWritable: part of it is driven by a wave, or belongs to no signal.
        """
        self.check(start, count)
        cells = list(self._overlapping(start, count))
        covered = {n for cell in cells for n in range(cell.start, cell.end)}
        if not all(c.writable for c in cells) or not covered.issuperset(
            range(start, start + count)
        ):
            raise NotWritable
        return cells


class WordArea(Area):
    """16-bit words."""

    def read(
        self, start: int, count: int, t_s: float, *, nan: bool = False
    ) -> tuple[list[int], Values]:
        """Return ``count`` words as they are at ``t_s``, and the signals inside them.

        With ``nan`` every float is no number.

        Raises:
            NoSuchAddress: part of the range does not exist.
        """
        self.check(start, count)
        words = [0] * count
        values: Values = {}
        for cell in self._overlapping(start, count):
            if isinstance(cell, _Flag):
                values[cell.name] = flag = cell.at(t_s)
                words[cell.start - start] |= flag << cell.bit
                continue
            content = cell.at(t_s)
            if nan and cell.encoding.type in ("float32", "float64"):
                content = cell.encoding.encode(math.nan)
            for address, word in enumerate(content, cell.start):
                if 0 <= address - start < count:
                    words[address - start] = word
            if start <= cell.start and cell.end <= start + count:
                values[cell.name] = cell.encoding.decode(content)
        return words, values

    def write(self, start: int, words: Sequence[int]) -> Values:
        """Hold ``words``; return the signals they belong to with their new values.

        Raises:
            NoSuchAddress, NotWritable: nothing was written.
        """
        values: Values = {}
        for cell in self._writable(start, len(words)):
            if isinstance(cell, _Flag):
                cell.held = bool(words[cell.start - start] >> cell.bit & 1)
                values[cell.name] = cell.held
                continue
            content = list(cell.at(0.0))
            for offset in range(len(content)):
                if 0 <= cell.start + offset - start < len(words):
                    content[offset] = words[cell.start + offset - start]
            cell.held = tuple(content)
            values[cell.name] = cell.encoding.decode(cell.held)
        return values


class BitArea(Area):
    """Single bits."""

    def read(
        self, start: int, count: int, t_s: float, *, nan: bool = False
    ) -> tuple[list[bool], Values]:
        """Return ``count`` bits as they are at ``t_s``, and the signals among them.

        Raises:
            NoSuchAddress: part of the range does not exist.
        """
        del nan
        self.check(start, count)
        bits = [False] * count
        values: Values = {}
        for cell in self._overlapping(start, count):
            if isinstance(cell, _Flag):
                values[cell.name] = bits[cell.start - start] = cell.at(t_s)
        return bits, values

    def write(self, start: int, bits: Sequence[bool]) -> Values:
        """Hold ``bits``; return the signals they belong to with their new values.

        Raises:
            NoSuchAddress, NotWritable: nothing was written.
        """
        values: Values = {}
        for cell in self._writable(start, len(bits)):
            if isinstance(cell, _Flag):
                values[cell.name] = cell.held = bits[cell.start - start]
        return values
