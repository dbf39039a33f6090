"""A MELSEC CPU that answers MC protocol 3E frames in binary code (SH-080008)."""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from simulators.addresses import MC_DEVICES
from simulators.config import McDevice
from simulators.faults import FaultBoard
from simulators.listener import Listener
from simulators.mc_frames import (
    EndCode,
    Refused,
    Request,
    bits_to_words,
    pack_nibbles,
    require,
    spoil,
    take_frame,
    unpack_nibbles,
    words_to_bits,
)
from simulators.memory import (
    BitArea,
    NoSuchAddress,
    NoSuchSignal,
    NotWritable,
    Values,
    WordArea,
)
from simulators.tcp import TcpDevice
from simulators.truth import TruthLog
from simulators.waveforms import Value
from simulators.wire import Record, Reply

# SH-080008, "Number of device points processed per communication".
_MAX_WORDS = 960
_MAX_BITS = 7168
_MAX_RANDOM = 192
_MAX_RANDOM_WIDE = 96
_MAX_ECHO_BYTES = 960


@dataclass(frozen=True, slots=True)
class _Span:
    """Neighbouring points of one device, counted in bits for a bit device."""

    device: str
    start: int
    points: int


class McCpu:
    """The device memory of one CPU and the commands that read and write it."""

    def __init__(
        self,
        config: McDevice,
        truth: TruthLog,
        *,
        seed: int = 0,
        faults: FaultBoard | None = None,
    ) -> None:
        self.faults = faults or FaultBoard()
        self._id = config.id
        self._truth = truth
        self._record: Record | None = None
        self._model = config.cpu_model.ljust(16).encode() + struct.pack("<H", config.cpu_code)
        self._bits: dict[str, BitArea] = {}
        self._words: dict[str, WordArea] = {}
        for name, device in MC_DEVICES.items():
            inside = [signal for signal in config.signals if signal.place.area == name]
            extent, seeds = range(device.points), (seed, config.id, None)
            if device.is_bit:
                self._bits[name] = BitArea(inside, extent=extent, seed=seeds)
            else:
                self._words[name] = WordArea(inside, extent=extent, seed=seeds)
        self._commands: Mapping[int, tuple[Callable[[Request], bytes], Sequence[int]]] = {
            0x0401: (self._batch_read, (0, 1, 2, 3)),
            0x1401: (self._batch_write, (0, 1, 2, 3)),
            0x0403: (self._random_read, (0, 2)),
            0x0101: (self._read_cpu_model, (0,)),
            0x0619: (self._echo, (0,)),
        }

    def take_frame(self, received: bytearray) -> bytes | None:
        """Remove one frame, see :func:`simulators.mc_frames.take_frame`."""
        return take_frame(received)

    def answer(self, frame: bytes) -> Reply | None:
        """Return the response frame to the request ``frame``."""
        effects = self.faults.take()
        kinds = {effect.kind: effect for effect in effects}
        if "silent" in kinds:
            return None
        request = Request(frame)
        self._record = None
        if "exception" in kinds:
            data = request.refusal(kinds["exception"].fault.code or EndCode.RANGE)
        else:
            data = self._respond(request)
        if effects:
            data = spoil(data, kinds.keys())
        return Reply(data=data, effects=effects, record=self._record)

    def hold(self, signal: str, value: Value | None, unit: int | None) -> None:
        """See :meth:`simulators.tcp.FrameProtocol.hold`."""
        del unit
        for area in (*self._bits.values(), *self._words.values()):
            if area.has(signal):
                area.hold(signal, value)
                return
        raise NoSuchSignal

    def _respond(self, request: Request) -> bytes:
        try:
            return request.response(self._execute(request))
        except Refused as exc:
            code = exc.code
        except NoSuchAddress as exc:
            code = EndCode.RANGE if exc.starts_outside else EndCode.MAX_ADDRESS
        except NotWritable:
            code = EndCode.DEVICE
        return request.refusal(code)

    def _execute(self, request: Request) -> bytes:
        function, subcommands = self._commands.get(request.command, (None, ()))
        if function is None or request.subcommand not in subcommands:
            raise Refused(EndCode.COMMAND)
        return function(request)

    def _batch_read(self, request: Request) -> bytes:
        device, start = request.device()
        count = request.number(2)
        request.expect_end()
        span = _span(device, start, count, in_bits=request.in_bits)
        content = self._read([span])
        points = [content[device, start + n] for n in range(span.points)]
        if request.in_bits:
            return pack_nibbles([bool(point) for point in points])
        return struct.pack(f"<{count}H", *_as_words(device, points))

    def _random_read(self, request: Request) -> bytes:
        words, double_words = request.number(1), request.number(1)
        limit = _MAX_RANDOM_WIDE if request.is_wide else _MAX_RANDOM
        require(1 <= words + double_words <= limit, EndCode.RANDOM_POINTS)
        spans = []
        for size in [1] * words + [2] * double_words:
            device, start = request.device()
            spans.append(_span(device, start, size, in_bits=False))
        request.expect_end()
        for span in spans:
            self._area(span).check(span.start, span.points)
        content = self._read(_merge(spans))
        answer: list[int] = []
        for span in spans:
            points = [content[span.device, span.start + n] for n in range(span.points)]
            answer += _as_words(span.device, points)
        return struct.pack(f"<{len(answer)}H", *answer)

    def _read(self, spans: Sequence[_Span]) -> dict[tuple[str, int], int]:
        """Return every point of ``spans`` at one instant, and log the signals inside them."""
        now = self.faults.now()
        nan = self.faults.find("nan") is not None
        content: dict[tuple[str, int], int] = {}
        logged: Values = {}
        for span in spans:
            points, values = self._area(span).read(span.start, span.points, now.t_s, nan=nan)
            content |= {(span.device, span.start + n): point for n, point in enumerate(points)}
            logged |= values
        self._record = lambda spoilt: self._truth.served(
            t_ns=now.t_ns, device=self._id, unit=None, values=logged, spoilt=spoilt
        )
        return content

    def _area(self, span: _Span) -> BitArea | WordArea:
        return self._bits.get(span.device) or self._words[span.device]

    def _batch_write(self, request: Request) -> bytes:
        device, start = request.device()
        count = request.number(2)
        span = _span(device, start, count, in_bits=request.in_bits)
        if request.in_bits:
            bits = unpack_nibbles(request.take((count + 1) // 2), count)
        else:
            words = struct.unpack(f"<{count}H", request.take(2 * count))
            bits = words_to_bits(words)
        request.expect_end()
        if device in self._bits:
            values = self._bits[device].write(span.start, bits)
        else:
            values = self._words[device].write(span.start, words)
        t_ns = self.faults.now().t_ns
        self._truth.written(t_ns=t_ns, device=self._id, unit=None, values=values)
        return b""

    def _read_cpu_model(self, request: Request) -> bytes:
        request.expect_end()
        return self._model

    def _echo(self, request: Request) -> bytes:
        count = request.number(2)
        require(1 <= count <= _MAX_ECHO_BYTES, EndCode.LENGTH)
        text = request.take(count)
        request.expect_end()
        return struct.pack("<H", count) + text


def device(
    config: McDevice, listener: Listener, *, seed: int, faults: FaultBoard, truth: TruthLog
) -> TcpDevice:
    """Return the device that serves ``config``."""
    return TcpDevice(config.id, McCpu(config, truth, seed=seed, faults=faults), listener)


def _span(device: str, start: int, count: int, *, in_bits: bool) -> _Span:
    """Return the points that ``count`` bits or words from ``start`` cover.

    Raises:
        Refused: too many, none, or bits of a word device.
    """
    is_bit_device = MC_DEVICES[device].is_bit
    if in_bits:
        require(is_bit_device, EndCode.BIT_OR_WORD_UNIT)
        require(1 <= count <= _MAX_BITS, EndCode.BIT_POINTS)
        return _Span(device, start, count)
    require(1 <= count <= _MAX_WORDS, EndCode.WORD_POINTS)
    return _Span(device, start, 16 * count if is_bit_device else count)


def _as_words(device: str, points: Sequence[int]) -> Sequence[int]:
    return bits_to_words([bool(p) for p in points]) if MC_DEVICES[device].is_bit else points


def _merge(spans: Sequence[_Span]) -> list[_Span]:
    """Join spans that touch, so that a signal read as several words is seen whole."""
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda span: (span.device, span.start)):
        last = merged[-1] if merged else None
        if last and last.device == span.device and span.start <= last.start + last.points:
            end = max(last.start + last.points, span.start + span.points)
            merged[-1] = _Span(last.device, last.start, end - last.start)
        else:
            merged.append(span)
    return merged
