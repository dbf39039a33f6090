"""A MELSEC CPU that answers MC protocol, 3E and 4E frames in binary and ASCII code (SH-080008)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from simulators.config import McDevice
from simulators.faults import Effect, FaultBoard
from simulators.listener import Listener
from simulators.mc_codes import EndCode, Refused, require
from simulators.mc_coding import (
    AsciiCoding,
    bits_to_words,
    pack_words,
    words_to_bits,
)
from simulators.mc_devices import CPU_MODELS, PROFILES, Limits
from simulators.mc_frames import Request, form_of, forms_of, spoil, take_frame
from simulators.mc_spans import Span, merge
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

_MAX_ECHO_BYTES = 960
_Pair = tuple[str, int]


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
        self._config = config
        self._profile = PROFILES[config.series]
        self._forms = forms_of(config.code, config.frame, zr_hex=config.zr_digits == "hexadecimal")
        self._bits: dict[str, BitArea] = {}
        self._words: dict[str, WordArea] = {}
        for name, device in self._profile.devices.items():
            inside = [signal for signal in config.signals if signal.place.area == name]
            extent, seeds = range(device.size), (seed, config.id, None)
            if device.is_bit:
                self._bits[name] = BitArea(inside, extent=extent, seed=seeds)
            else:
                self._words[name] = WordArea(inside, extent=extent, seed=seeds)
        in_words, all_forms = ((0, 2), (0, 1, 2, 3)) if self._profile.has_wide else ((0,), (0, 1))
        self._commands: Mapping[int, tuple[Callable[[Request], bytes], Sequence[int]]] = {
            0x0401: (self._batch_read, all_forms),
            0x1401: (self._batch_write, all_forms),
            0x0403: (self._random_read, in_words),
            0x1402: (self._random_write, all_forms),
            0x0101: (self._read_cpu_model, (0,)),
            0x0619: (self._echo, (0,)),
        }

    def take_frame(self, received: bytearray) -> bytes | None:
        """Remove one frame, see :func:`simulators.mc_frames.take_frame`."""
        return take_frame(received, self._forms)

    def answer(self, frame: bytes) -> Reply | None:
        """Return the response frame to the request ``frame``."""
        effects = self.faults.take()
        kinds = {effect.kind: effect for effect in effects}
        if "silent" in kinds:
            return None
        form = form_of(frame, self._forms)
        if not form.serial_bytes:
            # A 3E frame carries nothing that could be wrong.
            effects = tuple(effect for effect in effects if effect.kind != "wrong_id")
        request = Request(frame, form)
        self._record = None
        data = self._respond(request, kinds.get("exception"))
        if effects:
            data = spoil(data, form, kinds.keys())
        return Reply(data=data, effects=effects, record=self._record)

    def hold(self, signal: str, value: Value | None, unit: int | None) -> None:
        """See :meth:`simulators.tcp.FrameProtocol.hold`."""
        del unit
        for area in (*self._bits.values(), *self._words.values()):
            if area.has(signal):
                area.hold(signal, value)
                return
        raise NoSuchSignal

    def _respond(self, request: Request, exception: Effect | None) -> bytes:
        try:
            request.read_command()
            if exception is not None:
                return request.refusal(exception.fault.code or EndCode.RANGE)
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

    def _limits(self, request: Request) -> Limits:
        in_ascii = isinstance(request.coding, AsciiCoding)
        limits = self._profile.ascii if in_ascii else self._profile.binary
        if not request.is_wide:
            return limits
        return replace(
            limits,
            random=limits.random // 2,
            random_bits=limits.random_bits // 2,
            random_write_weight=limits.random_write_weight // 2,
        )

    def _batch_read(self, request: Request) -> bytes:
        device, start = request.device(self._profile)
        count = request.number(2)
        request.expect_end()
        if self._profile.devices[device].words > 1:
            return self._batch_read_long(request, device, start, count)
        span = self._span(request, device, start, count)
        content = self._read([span])
        points = [content[device, start + n] for n in range(span.points)]
        if request.in_bits:
            return request.coding.pack_bits([bool(point) for point in points])
        return pack_words(request.coding, self._as_words(device, points))

    def _batch_read_long(self, request: Request, device: str, start: int, count: int) -> bytes:
        size = self._profile.devices[device].batch_words
        require(size > 0 and not request.in_bits, EndCode.DEVICE)
        require(0 < count <= self._limits(request).words and count % size == 0, EndCode.WORD_POINTS)
        span = Span(device, 2 * start, 2 * (count // size))
        content = self._read([span])
        words: list[int] = []
        for at in range(span.start, span.start + span.points, 2):
            words += [content[device, at], content[device, at + 1], *[0] * (size - 2)]
        return pack_words(request.coding, words)

    def _random_read(self, request: Request) -> bytes:
        words, double_words = request.number(1), request.number(1)
        require(1 <= words + double_words <= self._limits(request).random, EndCode.RANDOM_POINTS)
        spans = []
        for size in [1] * words + [2] * double_words:
            device, start = request.device(self._profile)
            spans.append(self._words_span(device, start, size))
        request.expect_end()
        for span in spans:
            self._area(span).check(span.start, span.points)
        content = self._read(merge(spans))
        answer = b""
        for number, span in enumerate(spans):
            points = [content[span.device, span.start + n] for n in range(span.points)]
            found = self._as_words(span.device, points)
            value = found[0] if number < words else found[0] | found[1] << 16
            answer += request.coding.pack(value, 2 if number < words else 4)
        return answer

    def _read(self, spans: Sequence[Span]) -> dict[tuple[str, int], int]:
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

    def _area(self, span: Span) -> BitArea | WordArea:
        return self._bits.get(span.device) or self._words[span.device]

    def _batch_write(self, request: Request) -> bytes:
        device, start = request.device(self._profile)
        count = request.number(2)
        span = self._span(request, device, start, count)
        coding = request.coding
        if request.in_bits:
            bits = coding.unpack_bits(request.take(coding.bits_bytes(count)), count)
            request.expect_end()
            self._write({(device, start + n): bit for n, bit in enumerate(bits)})
            return b""
        words = [request.number(2) for _ in range(count)]
        request.expect_end()
        self._write(self._points_of(span, words))
        return b""

    def _random_write(self, request: Request) -> bytes:
        limits = self._limits(request)
        points: dict[_Pair, int] = {}
        if request.in_bits:
            count = request.number(1)
            require(1 <= count <= limits.random_bits, EndCode.RANDOM_BIT_POINTS)
            for _ in range(count):
                device, start = request.device(self._profile)
                require(device in self._bits, EndCode.BIT_OR_WORD_UNIT)
                state = request.number(2 if request.is_wide else 1)
                require(state in (0, 1), EndCode.BIT_OR_WORD_UNIT)
                points[device, start] = state
        else:
            words, double_words = request.number(1), request.number(1)
            weight = 12 * words + 14 * double_words
            require(0 < weight <= limits.random_write_weight, EndCode.RANDOM_POINTS)
            for size in [1] * words + [2] * double_words:
                device, start = request.device(self._profile)
                value = request.number(2 * size)
                span = self._words_span(device, start, size)
                points |= self._points_of(span, [value & 0xFFFF, value >> 16][:size])
        request.expect_end()
        self._write(points)
        return b""

    def _points_of(self, span: Span, words: Sequence[int]) -> dict[_Pair, int]:
        content = words_to_bits(words) if span.device in self._bits else words
        return {(span.device, span.start + n): point for n, point in enumerate(content)}

    def _write(self, points: Mapping[_Pair, int]) -> None:
        """Write every point, or none of them if one cannot be written."""
        runs = merge([Span(device, number, 1) for device, number in points])
        for span in runs:
            self._area(span).check_writable(span.start, span.points)
        written: Values = {}
        for span in runs:
            content = [points[span.device, span.start + n] for n in range(span.points)]
            if span.device in self._bits:
                bits = [bool(point) for point in content]
                written |= self._bits[span.device].write(span.start, bits)
            else:
                written |= self._words[span.device].write(span.start, content)
        t_ns = self.faults.now().t_ns
        self._truth.written(t_ns=t_ns, device=self._id, unit=None, values=written)

    def _read_cpu_model(self, request: Request) -> bytes:
        request.expect_end()
        common_model, common_code = CPU_MODELS[self._config.series]
        model = (self._config.cpu_model or common_model).ljust(16).encode()
        code = self._config.cpu_code
        return model + request.coding.pack(common_code if code is None else code, 2)

    def _echo(self, request: Request) -> bytes:
        count = request.number(2)
        require(1 <= count <= _MAX_ECHO_BYTES, EndCode.LENGTH)
        text = request.take(count)
        request.expect_end()
        return request.coding.pack(count, 2) + text

    def _span(self, request: Request, device: str, start: int, count: int) -> Span:
        """Return the points that ``count`` bits or words from ``start`` cover.

        Raises:
            Refused: too many, none, or bits of a word device.
        """
        limits = self._limits(request)
        if request.in_bits:
            require(device in self._bits, EndCode.BIT_OR_WORD_UNIT)
            require(1 <= count <= limits.bits, EndCode.BIT_POINTS)
            return Span(device, start, count)
        require(1 <= count <= limits.words, EndCode.WORD_POINTS)
        return self._words_span(device, start, count)

    def _words_span(self, device: str, start: int, count: int) -> Span:
        """Return the points that ``count`` words from ``start`` cover.

        Raises:
            Refused: part of a point, or several, of a device of double words.
        """
        words = self._profile.devices[device].words
        require(words in (1, count), EndCode.DEVICE)
        return Span(device, words * start, 16 * count if device in self._bits else count)

    def _as_words(self, device: str, points: Sequence[int]) -> Sequence[int]:
        return bits_to_words([bool(p) for p in points]) if device in self._bits else points


def device(
    config: McDevice, listener: Listener, *, seed: int, faults: FaultBoard, truth: TruthLog
) -> TcpDevice:
    """Return the device that serves ``config``."""
    return TcpDevice(config.id, McCpu(config, truth, seed=seed, faults=faults), listener)
