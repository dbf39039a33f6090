"""One Modbus unit: its four tables and the functions that read and write them.

Modbus Application Protocol V1.1b3, chapters 6 and 7.
"""

import enum
import struct
from collections.abc import Sequence

from simulators.clock import Instant
from simulators.config import ModbusUnit
from simulators.faults import FaultBoard
from simulators.memory import (
    Area,
    BitArea,
    NoSuchAddress,
    NoSuchSignal,
    NotWritable,
    Values,
    WordArea,
)
from simulators.signals import ModbusSignal
from simulators.truth import TruthLog
from simulators.waveforms import Value
from simulators.wire import Record

Answer = tuple[bytes, Record | None]
"""A response PDU, and what to call when it is served."""


class ExceptionCode(enum.IntEnum):
    """Application Protocol, 7."""

    ILLEGAL_FUNCTION = 0x01
    ILLEGAL_DATA_ADDRESS = 0x02
    ILLEGAL_DATA_VALUE = 0x03
    SERVER_DEVICE_FAILURE = 0x04
    GATEWAY_TARGET_FAILED_TO_RESPOND = 0x0B


class ModbusException(Exception):
    """The request is answered with an exception response."""

    def __init__(self, code: ExceptionCode) -> None:
        super().__init__(code.name)
        self.code = code


_BIT_READS = {1: "coil", 2: "discrete"}
_WORD_READS = {3: "holding", 4: "input"}


class Unit:
    """The tables of one unit id."""

    def __init__(
        self, config: ModbusUnit, *, device: str, seed: int, faults: FaultBoard, truth: TruthLog
    ) -> None:
        self._id = config.unit_id
        self._faults = faults
        self._truth = truth
        self._device = device
        gaps, seeds = config.gaps_readable, (seed, device, config.unit_id)

        def inside(table: str) -> list[ModbusSignal]:
            return [signal for signal in config.signals if signal.place.area == table]

        self._bits = {
            table: BitArea(inside(table), gaps_readable=gaps, seed=seeds)
            for table in _BIT_READS.values()
        }
        self._words = {
            table: WordArea(inside(table), gaps_readable=gaps, seed=seeds)
            for table in _WORD_READS.values()
        }

    def hold(self, signal: str, value: Value | None) -> None:
        """See :meth:`simulators.tcp.FrameProtocol.hold`."""
        areas: list[Area] = [*self._bits.values(), *self._words.values()]
        for area in areas:
            if area.has(signal):
                area.hold(signal, value)
                return
        raise NoSuchSignal

    def answer(self, pdu: bytes) -> Answer:
        """Return the response to the request ``pdu``."""
        function, body = pdu[0], pdu[1:]
        try:
            content, record = self._execute(function, body)
        except ModbusException as exc:
            code = exc.code
        except (NoSuchAddress, NotWritable):
            code = ExceptionCode.ILLEGAL_DATA_ADDRESS
        except struct.error:
            code = ExceptionCode.ILLEGAL_DATA_VALUE
        else:
            return bytes([function]) + content, record
        return refusal(function, code), None

    def _execute(self, function: int, body: bytes) -> Answer:
        if function in _BIT_READS:
            return self._read_bits(_BIT_READS[function], body)
        if function in _WORD_READS:
            return self._read_words(_WORD_READS[function], *_range(body, limit=125))
        if function == 23:
            return self._write_and_read(body)
        write = {
            5: self._write_single_coil,
            6: self._write_single_register,
            15: self._write_multiple_coils,
            16: self._write_multiple_registers,
            22: self._mask_register,
        }.get(function)
        if write is None:
            raise ModbusException(ExceptionCode.ILLEGAL_FUNCTION)
        return write(body), None

    def _read_bits(self, table: str, body: bytes) -> Answer:
        start, count = _range(body, limit=2000)
        now = self._faults.now(self._id)
        bits, values = self._bits[table].read(start, count, now.t_s)
        packed = _pack(bits)
        return bytes([len(packed)]) + packed, self._record(now, values)

    def _read_words(self, table: str, start: int, count: int) -> Answer:
        now = self._faults.now(self._id)
        nan = self._faults.find("nan", self._id) is not None
        words, values = self._words[table].read(start, count, now.t_s, nan=nan)
        return struct.pack(f">B{count}H", 2 * count, *words), self._record(now, values)

    def _write_single_coil(self, body: bytes) -> bytes:
        start, state = struct.unpack(">HH", body)
        if state not in (0x0000, 0xFF00):
            raise ModbusException(ExceptionCode.ILLEGAL_DATA_VALUE)
        self._wrote(self._bits["coil"].write(start, [state == 0xFF00]))
        return body

    def _write_single_register(self, body: bytes) -> bytes:
        start, word = struct.unpack(">HH", body)
        self._wrote(self._words["holding"].write(start, [word]))
        return body

    def _write_multiple_coils(self, body: bytes) -> bytes:
        start, count = _range(body[:4], limit=1968)
        _require(body[4:5] == bytes([(count + 7) // 8]) and len(body) == 5 + body[4])
        bits = [bool(body[5 + n // 8] >> (n % 8) & 1) for n in range(count)]
        self._wrote(self._bits["coil"].write(start, bits))
        return body[:4]

    def _write_multiple_registers(self, body: bytes) -> bytes:
        start, count = _range(body[:4], limit=123)
        _require(body[4:5] == bytes([2 * count]) and len(body) == 5 + body[4])
        self._wrote(self._words["holding"].write(start, struct.unpack(f">{count}H", body[5:])))
        return body[:4]

    def _mask_register(self, body: bytes) -> bytes:
        """Application Protocol, 6.16."""
        start, and_mask, or_mask = struct.unpack(">HHH", body)
        (word,), _ = self._words["holding"].read(start, 1, self._faults.now(self._id).t_s)
        word = word & and_mask | or_mask & ~and_mask & 0xFFFF
        self._wrote(self._words["holding"].write(start, [word]))
        return body

    def _write_and_read(self, body: bytes) -> Answer:
        """Application Protocol, 6.17: the write comes first."""
        start, count = _range(body[:4], limit=125)
        to, written = _range(body[4:8], limit=121)
        _require(body[8:9] == bytes([2 * written]) and len(body) == 9 + body[8])
        self._words["holding"].check(start, count)
        self._wrote(self._words["holding"].write(to, struct.unpack(f">{written}H", body[9:])))
        return self._read_words("holding", start, count)

    def _record(self, now: Instant, values: Values) -> Record:
        return lambda spoilt: self._truth.served(
            t_ns=now.t_ns, device=self._device, unit=self._id, values=values, spoilt=spoilt
        )

    def _wrote(self, values: Values) -> None:
        t_ns = self._faults.now(self._id).t_ns
        self._truth.written(t_ns=t_ns, device=self._device, unit=self._id, values=values)


def refusal(function: int, code: int) -> bytes:
    """Return an exception response."""
    return bytes([function | 0x80, code])


def _range(body: bytes, *, limit: int) -> tuple[int, int]:
    """Read start and quantity of a request (Application Protocol, figures 11 to 14).

    Raises:
        ModbusException: wrong quantity (3), or a range past address 65535 (2).
        struct.error: too few or too many bytes.
    """
    start, count = struct.unpack(">HH", body)
    _require(1 <= count <= limit)
    if start + count > 0x10000:
        raise ModbusException(ExceptionCode.ILLEGAL_DATA_ADDRESS)
    return start, count


def _require(valid: bool) -> None:
    if not valid:
        raise ModbusException(ExceptionCode.ILLEGAL_DATA_VALUE)


def _pack(bits: Sequence[bool]) -> bytes:
    """Return eight bits a byte, the first one least significant (Application Protocol, 6.1)."""
    number = sum(1 << n for n, bit in enumerate(bits) if bit)
    return number.to_bytes((len(bits) + 7) // 8, "little")
