"""A Modbus TCP server (Messaging on TCP/IP V1.0b): one device, or a gateway to several units."""

import struct
from collections.abc import Set

from simulators.config import ModbusDevice
from simulators.faults import Effect, FaultBoard
from simulators.listener import Listener
from simulators.memory import NoSuchSignal
from simulators.modbus_unit import Answer, ExceptionCode, Unit, refusal
from simulators.tcp import BadFrame, TcpDevice
from simulators.truth import TruthLog
from simulators.waveforms import Value
from simulators.wire import Reply

_MBAP = struct.Struct(">HHH")
"""Transaction id, protocol id, length of the rest, which starts with the unit id."""
_MAX_LENGTH = 254
"""Unit id and a PDU of at most 253 bytes (Application Protocol, 4.1)."""
_READS = (1, 2, 3, 4, 23)


class ModbusServer:
    """Every unit behind one TCP port."""

    def __init__(
        self,
        config: ModbusDevice,
        truth: TruthLog,
        *,
        seed: int = 0,
        faults: FaultBoard | None = None,
    ) -> None:
        self.faults = faults or FaultBoard()
        self._units = {
            unit.unit_id: Unit(unit, device=config.id, seed=seed, faults=self.faults, truth=truth)
            for unit in config.units
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

    def answer(self, frame: bytes) -> Reply | None:
        """Answer like a gateway: a unit that does not exist never responds to it."""
        transaction, unit_id, pdu = _MBAP.unpack_from(frame)[0], frame[6], frame[7:]
        effects = self.faults.take(unit_id)
        kinds = {effect.kind: effect for effect in effects}
        if "silent" in kinds:
            return None
        response, record = self._respond(unit_id, pdu, kinds.get("exception"))
        if effects:
            response = _spoil(response, kinds.keys())
            transaction += "wrong_id" in kinds
            unit_id += "wrong_unit" in kinds
        header = _MBAP.pack(transaction & 0xFFFF, 0, 1 + len(response))
        data = header + bytes([unit_id & 0xFF]) + response
        return Reply(data=data, effects=effects, record=record)

    def hold(self, signal: str, value: Value | None, unit: int | None) -> None:
        """See :meth:`simulators.tcp.FrameProtocol.hold`; without a unit, the first that has it."""
        for unit_id, content in self._units.items():
            if unit in (None, unit_id):
                try:
                    content.hold(signal, value)
                except NoSuchSignal:
                    continue
                return
        raise NoSuchSignal

    def _respond(self, unit_id: int, pdu: bytes, exception: Effect | None) -> Answer:
        unit = self._units.get(unit_id)
        if unit is None:
            return refusal(pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND), None
        if exception is not None:
            code = exception.fault.code or ExceptionCode.SERVER_DEVICE_FAILURE
            return refusal(pdu[0], code), None
        return unit.answer(pdu)


def device(
    config: ModbusDevice, listener: Listener, *, seed: int, faults: FaultBoard, truth: TruthLog
) -> TcpDevice:
    """Return the device that serves ``config``."""
    return TcpDevice(config.id, ModbusServer(config, truth, seed=seed, faults=faults), listener)


def _spoil(response: bytes, kinds: Set[str]) -> bytes:
    """Return a response with fewer registers than were asked for, or of another function."""
    function, content = response[0], response[1:]
    if function in _READS:
        kept = content[1:][: (len(content) - 1) // 4 * 2]
        if "short" in kinds:
            content = bytes([len(kept)]) + kept
        elif "bad_length" in kinds:
            content = content[:1] + kept
    if "wrong_function" in kinds:
        # The neighbour that answers in the same form: 1 and 2, 3 and 4.
        function = (function - 1 ^ 1) + 1 & 0xFF
    return bytes([function]) + content
