"""A Modbus TCP server (Modbus Application Protocol V1.1b3; Messaging on TCP/IP V1.0b)."""

import enum
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from simulators.clock import Clock
from simulators.config import ModbusSignal, ModbusSimulator, ModbusUnit
from simulators.memory import BitArea, NoSuchAddress, NotWritable, Values, WordArea
from simulators.tcp import BadFrame, listening
from simulators.truth import TruthLog

_MBAP = struct.Struct(">HHH")
"""Transaction id, protocol id, length of the rest, which starts with the unit id."""
_MAX_LENGTH = 254
"""Unit id and a PDU of at most 253 bytes (Application Protocol, 4.1)."""


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


class _Unit:
    """One unit id: four tables, and the functions that read and write them."""

    def __init__(self, config: ModbusUnit, seed: int, clock: Clock, truth: TruthLog) -> None:
        self._id = config.unit_id
        self._clock = clock
        self._truth = truth
        gaps, seeds = config.gaps_readable, (seed, config.unit_id)

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

    def answer(self, pdu: bytes) -> bytes:
        """Return the response PDU to the request ``pdu``."""
        function, body = pdu[0], pdu[1:]
        try:
            return bytes([function]) + self._execute(function, body)
        except ModbusException as exc:
            code = exc.code
        except (NoSuchAddress, NotWritable):
            code = ExceptionCode.ILLEGAL_DATA_ADDRESS
        except struct.error:
            code = ExceptionCode.ILLEGAL_DATA_VALUE
        return bytes([function | 0x80, code])

    def _execute(self, function: int, body: bytes) -> bytes:
        if function in _BIT_READS:
            return self._read_bits(_BIT_READS[function], body)
        if function in _WORD_READS:
            return self._read_words(_WORD_READS[function], body)
        match function:
            case 5:
                return self._write_single_coil(body)
            case 6:
                return self._write_single_register(body)
            case 15:
                return self._write_multiple_coils(body)
            case 16:
                return self._write_multiple_registers(body)
        raise ModbusException(ExceptionCode.ILLEGAL_FUNCTION)

    def _read_bits(self, table: str, body: bytes) -> bytes:
        start, count = _range(body, limit=2000)
        now = self._clock.now()
        bits, values = self._bits[table].read(start, count, now.t_s)
        self._truth.served(t_ns=now.t_ns, unit=self._id, values=values)
        packed = _pack(bits)
        return bytes([len(packed)]) + packed

    def _read_words(self, table: str, body: bytes) -> bytes:
        start, count = _range(body, limit=125)
        now = self._clock.now()
        words, values = self._words[table].read(start, count, now.t_s)
        self._truth.served(t_ns=now.t_ns, unit=self._id, values=values)
        return struct.pack(f">B{count}H", 2 * count, *words)

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

    def _wrote(self, values: Values) -> None:
        self._truth.written(t_ns=self._clock.now().t_ns, unit=self._id, values=values)


class ModbusServer:
    """Every unit behind one TCP port."""

    def __init__(self, config: ModbusSimulator, truth: TruthLog) -> None:
        clock = Clock()
        self._units = {
            unit.unit_id: _Unit(unit, config.seed, clock, truth) for unit in config.units
        }

    def take_frame(self, received: bytearray) -> bytes | None:
        """Remove one MBAP frame, see :class:`simulators.tcp.FrameProtocol`."""
        if len(received) < _MBAP.size:
            return None
        _, protocol, length = _MBAP.unpack_from(received)
        if protocol != 0:
            raise BadFrame(f"protocol id {protocol}, not 0")
        if not 2 <= length <= _MAX_LENGTH:
            raise BadFrame(f"length {length}, not 2 to {_MAX_LENGTH}")
        end = _MBAP.size + length
        if len(received) < end:
            return None
        frame = bytes(received[:end])
        del received[:end]
        return frame

    def answer(self, frame: bytes) -> bytes:
        """Answer like a gateway: a unit that does not exist never responds to it."""
        transaction, unit_id, pdu = _MBAP.unpack_from(frame)[0], frame[6], frame[7:]
        unit = self._units.get(unit_id)
        if unit is None:
            code = ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND
            response = bytes([pdu[0] | 0x80, code])
        else:
            response = unit.answer(pdu)
        return _MBAP.pack(transaction, 0, 1 + len(response)) + bytes([unit_id]) + response


@asynccontextmanager
async def serving(config: ModbusSimulator, truth: TruthLog) -> AsyncIterator[int]:
    """Serve inside the ``with`` block; yields the port.

    Raises:
        CannotListen: the address is taken or does not exist here.
    """
    async with listening(ModbusServer(config, truth), config.host, config.port) as port:
        yield port


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
